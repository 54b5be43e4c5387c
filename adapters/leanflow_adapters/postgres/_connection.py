"""Pools, and what the driver's errors mean."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Self

import asyncpg

from leanflow._sites import site
from leanflow.errors import InvalidRequest, StoreUnavailable
from leanflow_adapters.postgres._rows import Row

__all__ = ["Write", "connect", "fetch", "is_settled", "let_go", "make_pool", "named", "translated"]

_CONNECT_TIMEOUT = 10.0  # seconds
_GOODBYE = 3.0  # seconds that a server may take to hear that a connection is closed
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


async def connect(dsn: str, *, password: Any) -> asyncpg.Connection:
    """Return a connection of its own, on which statements may take their time.

    Raises:
        InvalidRequest: the DSN is not understood.
    """
    with _understood():
        return await asyncpg.connect(dsn, password=_asked(password))


async def make_pool(dsn: str, *, size: int, prepared: bool, password: Any) -> asyncpg.Pool:
    """Return an open pool. It does without asyncpg's reset query: nothing is ever left behind on a connection.

    Raises:
        InvalidRequest: the DSN is not understood.
    """
    made: list[asyncpg.Pool] = []

    async def connect(*arguments: Any, **settings: Any) -> asyncpg.Connection:
        if made and made[0].is_closing():  # those who waited for a connection when it was terminated get none
            raise asyncpg.InterfaceError("the pool is closed")
        return await asyncpg.connect(*arguments, **settings)

    with translated(), _understood():
        pool = await asyncpg.create_pool(
            dsn,
            connect=connect,
            password=_asked(password),
            min_size=1,
            max_size=size,
            reset=_leave_as_it_is,
            timeout=_CONNECT_TIMEOUT,
            command_timeout=_STATEMENT_TIMEOUT,
            max_inactive_connection_lifetime=300.0,
            **({} if prepared else {"statement_cache_size": 0}),
        )
        made.append(pool)
        return pool


async def let_go(pool: asyncpg.Pool) -> None:
    """Close a pool once nothing runs on it. That a server does not hear of it any more is no error."""
    is_idle = pool.get_idle_size() == pool.get_size()
    try:
        with translated():
            async with asyncio.timeout(_GOODBYE + (0 if is_idle else _STATEMENT_TIMEOUT)):
                await pool.close()
    except StoreUnavailable:
        pool.terminate()


async def _leave_as_it_is(_: Any) -> None:
    """Reset nothing."""


@contextmanager
def _understood() -> Iterator[None]:
    """Refuse a DSN that asyncpg or the server cannot read. asyncpg's words may repeat a password taken for a port."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, OSError):  # a certificate that is not trusted
            raise
        raise InvalidRequest("dsn", "asyncpg does not understand it (it is not repeated here)") from None
    except asyncpg.UndefinedObjectError as error:  # an option that is neither ours nor the driver's is a setting
        raise InvalidRequest("dsn", f"Postgres does not know an option of it: {error.message}") from error


def _asked(password: Any) -> Any:
    """Return a password, or what asks for it whenever a connection is made.

    Raises:
        StoreUnavailable: by what is returned: there is none to be had. Messages may hold secrets: only their class is
            repeated.
    """
    if not callable(password):
        return password

    async def ask() -> Any:
        try:
            found = password()
            return await found if inspect.isawaitable(found) else found
        except Exception as error:
            raise StoreUnavailable(f"no password was to be had: {type(error).__name__}") from error

    return ask
