"""Django without a project: an application that holds a transaction on a connection of Django's."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import django
from django.conf import settings
from django.db import connections, transaction
from django.db.utils import ConnectionHandler

__all__ = ["Application"]

if not settings.configured:
    settings.configure(USE_TZ=False, TIME_ZONE="Asia/Dubai", DEBUG=True, SECRET_KEY="of tests")
    django.setup()


class Application:
    """A database of a test's own. Its times are naive and its log of queries is on: neither may trouble leanflow."""

    def __init__(self, alias: str, **database: Any) -> None:
        self._alias = alias
        connections.settings[alias] = ConnectionHandler({"default": database}).settings["default"]
        self.own = connections[alias]
        self._atomic: Any = None

    def begin(self) -> None:
        """Enter an atomic block."""
        self._atomic = transaction.atomic(using=self._alias)
        self._atomic.__enter__()

    def commit(self) -> None:
        """Leave it."""
        self._atomic.__exit__(None, None, None)

    def rollback(self) -> None:
        """Leave it, asking for its rollback."""
        transaction.set_rollback(True, using=self._alias)
        self._atomic.__exit__(None, None, None)

    def close(self) -> None:
        """Close the connection and forget the database."""
        self.own.close()
        with suppress(AttributeError):  # the suites run in a loop, for which Django keeps other connections
            del connections[self._alias]
        del connections.settings[self._alias]
