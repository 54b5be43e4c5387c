"""Pools, and what the driver's errors mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Self

import asyncpg

from leanflow._sites import site
from leanflow.errors import StoreUnavailable
from leanflow_adapters.postgres._rows import Row

__all__ = ["Write", "fetch", "is_settled", "make_pool", "named", "translated"]

_CONNECT_TIMEOUT = 10.0  # seconds
_STATEMENT_TIMEOUT = 30.0  # seconds: leanflow's statements take milliseconds, a lock is waited for 2 s


class Write(str):
    """A statement that changes rows; `site` is passed after it."""

    __slots__ = ("site",)
    site: str

    def __new__(cls, site: str, sql: str) -> Self:
        """Make it."""
        made = super().__new__(cls, sql)
        made.site = site
        return made


@cache
def named(sql: str, schema: str) -> str:
    """Return a statement with the store's own schema in it."""
    quoted = schema.replace('"', '""')
    return sql.replace('"leanflow".', f'"{quoted}".')


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into the port's. Messages may hold values: only their class is repeated."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise StoreUnavailable(f"{type(error).__name__} ({error.sqlstate})") from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
        raise StoreUnavailable(type(error).__name__) from error


def is_settled(error: BaseException) -> bool:
    """Return whether the server itself refused a statement, so that nothing of it was committed."""
    if not isinstance(error, asyncpg.PostgresError):
        return False
    state = error.sqlstate or ""
    return not state.startswith(("08", "57P"))  # the connection went, or the server does


async def fetch(connection: Any, schema: str, statement: str, *arguments: Any) -> Sequence[Row]:
    """Run a statement in a schema and return its rows."""
    if isinstance(statement, Write):
        site("postgres.before_write")
    rows: Sequence[Row] = await connection.fetch(named(statement, schema), *arguments)
    if isinstance(statement, Write):
        site(statement.site)
    return rows


async def make_pool(dsn: str, *, size: int, prepared: bool, password: Any) -> asyncpg.Pool:
    """Return an open pool. It does without asyncpg's reset query: nothing is ever left behind on a connection."""
    with translated():
        return await asyncpg.create_pool(
            dsn,
            password=password,
            min_size=1,
            max_size=size,
            reset=_leave_as_it_is,
            timeout=_CONNECT_TIMEOUT,
            command_timeout=_STATEMENT_TIMEOUT,
            max_inactive_connection_lifetime=300.0,
            **({} if prepared else {"statement_cache_size": 0}),
        )


async def _leave_as_it_is(_: Any) -> None:
    """Reset nothing."""
