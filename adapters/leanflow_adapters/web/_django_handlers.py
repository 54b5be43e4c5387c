"""Handlers that use Django's ORM: their threads are none of a request's, so nobody else closes their connections."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections

from leanflow import Handlers

__all__ = ["DjangoHandlers"]


class DjangoHandlers(Handlers):
    """`leanflow.Handlers`, each with `close_old_connections` around it, as Django has it around a request.

    A connection that broke while nothing was to do is replaced when the handler first uses it, whatever
    ``CONN_HEALTH_CHECKS`` says, and one that is past ``CONN_MAX_AGE`` is closed after it.
    """

    def _add(self, sink: Any, function: Callable[..., Any]) -> None:
        super()._add(sink, _async(function) if inspect.iscoroutinefunction(function) else _blocking(function))


def _renew_connections() -> None:
    """Close what is too old; have what is kept looked at before it is used.

    A worker may have had nothing to do for hours, and a server, a pooler or a firewall between them then hangs up.
    """
    close_old_connections()
    for connection in connections.all(initialized_only=True):
        connection.health_check_enabled = True  # which connecting sets as ``CONN_HEALTH_CHECKS`` has it


def _blocking(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def called(*arguments: Any) -> Any:
        _renew_connections()
        try:
            return function(*arguments)
        finally:
            close_old_connections()

    return called


def _async(function: Callable[..., Any]) -> Callable[..., Any]:
    # In the thread where Django's `a…` methods have their connections.
    renew, close = sync_to_async(_renew_connections), sync_to_async(close_old_connections)

    @functools.wraps(function)
    async def called(*arguments: Any) -> Any:
        await renew()
        try:
            return await function(*arguments)
        finally:
            await close()

    return called
