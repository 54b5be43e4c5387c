"""Handlers that use Django's ORM: their threads are none of a request's, so nobody else closes their connections."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from leanflow import Handlers

__all__ = ["DjangoHandlers"]


class DjangoHandlers(Handlers):
    """`leanflow.Handlers`, each with `close_old_connections` around it, as Django has it around a request.

    A connection that broke while nothing was to do is replaced before the handler is called, and one that is past
    ``CONN_MAX_AGE`` is closed after it.
    """

    def _add(self, sink: Any, function: Callable[..., Any]) -> None:
        super()._add(sink, _async(function) if inspect.iscoroutinefunction(function) else _blocking(function))


def _blocking(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def called(*arguments: Any) -> Any:
        close_old_connections()
        try:
            return function(*arguments)
        finally:
            close_old_connections()

    return called


def _async(function: Callable[..., Any]) -> Callable[..., Any]:
    close = sync_to_async(close_old_connections)  # in the thread where Django's `a…` methods have their connections

    @functools.wraps(function)
    async def called(*arguments: Any) -> Any:
        await close()
        try:
            return await function(*arguments)
        finally:
            await close()

    return called
