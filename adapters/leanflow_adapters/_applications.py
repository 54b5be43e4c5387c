"""Connections that applications hold through SQLAlchemy or Django, whichever database is beneath.

Never reach through to the driver's connection for a statement: SQLAlchemy begins its transactions lazily, and what is
done behind its back before that is committed at once (tried: the application's rollback left our row).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from leanflow.errors import InvalidRequest

__all__ = ["awaited_sqlalchemy", "blocking_sqlalchemy", "django", "execute", "unjoinable", "unwrapped"]


async def awaited_sqlalchemy(connection: Any, speaks: str) -> Any:
    """Return the AsyncConnection that is, or is behind, what the application handed over; None if it is neither.

    Args:
        connection: what was handed over.
        speaks: its database and driver, as SQLAlchemy's URLs have them.

    Raises:
        InvalidRequest: it is closed, or speaks to another database or by another driver.
    """
    if "sqlalchemy.ext.asyncio" not in sys.modules:
        return None
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session  # noqa: PLC0415

    if isinstance(connection, async_scoped_session):
        connection = connection()
    if isinstance(connection, AsyncSession):
        with unwrapped():
            connection = await connection.connection()
    return _checked(connection, speaks) if isinstance(connection, AsyncConnection) else None


def blocking_sqlalchemy(connection: Any, speaks: str) -> Any:
    """Return the Connection that is, or is behind, what the application handed over; None if it is neither.

    Args:
        connection: what was handed over.
        speaks: its database and driver, as SQLAlchemy's URLs have them.

    Raises:
        InvalidRequest: it is closed, or speaks to another database or by another driver.
    """
    if "sqlalchemy" not in sys.modules:
        return None
    from sqlalchemy import Connection  # noqa: PLC0415
    from sqlalchemy.orm import Session, scoped_session  # noqa: PLC0415

    if isinstance(connection, scoped_session):  # Flask-SQLAlchemy's, too
        connection = connection()
    if isinstance(connection, Session):
        with unwrapped():
            connection = connection.connection()
    return _checked(connection, speaks) if isinstance(connection, Connection) else None


def _checked(connection: Any, speaks: str) -> Any:
    if connection.closed:
        raise InvalidRequest("connection", "it is closed")
    spoken = f"{connection.dialect.name}+{connection.dialect.driver}"
    if spoken != speaks:
        raise InvalidRequest("connection", f"SQLAlchemy must speak {speaks}, and speaks {spoken}")
    return connection


def django(connection: Any, vendor: str) -> Any:
    """Return Django's connection of this thread, in an atomic block; None if it is none of Django's.

    Raises:
        InvalidRequest: it is in no atomic block, in one that can only be rolled back, or to another vendor's database.
    """
    if "django.db" not in sys.modules:
        return None
    from django.db import connections  # noqa: PLC0415
    from django.db.backends.base.base import BaseDatabaseWrapper  # noqa: PLC0415
    from django.utils.connection import ConnectionProxy  # noqa: PLC0415

    if isinstance(connection, ConnectionProxy):
        connection = connections[connection.alias]
    if not isinstance(connection, BaseDatabaseWrapper):
        return None
    if not connection.in_atomic_block:
        raise InvalidRequest("connection", "it is in no transaction: use `with transaction.atomic():`")
    if connection.needs_rollback:
        raise InvalidRequest("connection", "its atomic block has failed and can only be rolled back")
    if connection.vendor != vendor:
        raise InvalidRequest("connection", f"it is to another database than the store's: {connection.vendor}")
    return connection


def unjoinable(connection: Any, expected: str, *, blocks: bool) -> InvalidRequest:
    """Return the error for a connection of a kind that cannot be joined; `blocks`: those that block were expected."""
    kind = type(connection).__name__
    other = "are awaited join through leanflow.LeanFlow" if blocks else "block join through leanflow.blocking"
    return InvalidRequest("connection", f"expected {expected}, got {kind}; connections that {other}")


async def execute(connection: Any, sql: str, arguments: Sequence[Any]) -> Any:
    """Run a statement as it is on SQLAlchemy's Connection or AsyncConnection and return SQLAlchemy's result.

    On the former it never waits.
    """
    result = connection.exec_driver_sql(sql, tuple(arguments))
    return await result if inspect.isawaitable(result) else result


@contextmanager
def unwrapped(*drivers: type[BaseException]) -> Iterator[None]:
    """Raise the driver's own error, which SQLAlchemy and Django wrap.

    Raises:
        InvalidRequest: SQLAlchemy or Django itself refuses. Their messages may hold values: only the class is told.
    """
    try:
        yield
    except Exception as error:  # whatever is not a wrapper is raised as it is
        if isinstance(error, drivers) or not _is_wrapper(error):
            raise
        inner: BaseException | None = error
        while inner is not None and not isinstance(inner, drivers):
            inner = getattr(inner, "orig", None) or inner.__cause__
        if inner is None:
            raise InvalidRequest("connection", f"it cannot be worked with: {type(error).__name__}") from error
        raise inner from error


def _is_wrapper(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in ("sqlalchemy", "django")
