"""Handlers that use Django's ORM, when Postgres ends their connection: the next call has a new one, nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.db.utils import ConnectionHandler

import tests.support.django as _configured  # noqa: F401 - settings are made once for each process
from leanflow import Change, Handlers, State
from leanflow.testing import FakeClock
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.web.django import DjangoHandlers
from tests.support.applications import Database
from tests.support.engine import engine
from tests.support.lean import Lean
from tests.support.postgres import do, drop, fresh_schema

_TERMINATE = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = $1"
Keep = Callable[[Change], None]
Make = Callable[[DjangoHandlers, Keep], None]


def _blocking(handlers: DjangoHandlers, keep: Keep) -> None:
    @handlers.on(State.fetched, name="keep")
    def arrived(change: Change, _flows: object) -> None:
        keep(change)


def _awaiting(handlers: DjangoHandlers, keep: Keep) -> None:
    @handlers.on(State.fetched, name="keep")
    async def arrived(change: Change, _flows: object) -> None:
        await sync_to_async(keep)(change)


class _Orm:
    """A database of Django's, whose connections can be found in Postgres by their name."""

    def __init__(self, schema: str, **settings: Any) -> None:
        self.alias = f"handlers-{uuid4().hex[:8]}"
        self._table = f'"{schema}".arrivals'
        database = {**Database().django, "OPTIONS": {"application_name": self.alias}, **settings}
        connections.settings[self.alias] = ConnectionHandler({"default": database}).settings["default"]

    def keep(self, change: Change) -> None:
        """Store a change's entity, and which of Postgres' processes stored it."""
        self.run(f"INSERT INTO {self._table} VALUES (%s, pg_backend_pid())", change.request.entity_id)

    def run(self, sql: str, *arguments: str) -> None:
        """Run SQL on the thread's connection."""
        with connections[self.alias].cursor() as cursor:
            cursor.execute(sql, arguments)

    async def kept(self) -> list[tuple[str, int]]:
        """Return what was stored, in order."""
        return [tuple(row) for row in await do(f"SELECT * FROM {self._table} WHERE entity <> $1 ORDER BY entity", "")]

    async def terminate(self) -> int:
        """End all its connections; return how many there were."""
        return len(await do(_TERMINATE, self.alias))

    async def forget(self) -> None:
        """Close what is open, in both kinds of threads."""
        await asyncio.to_thread(self._close)
        await sync_to_async(self._close)()
        del connections.settings[self.alias]

    def _close(self) -> None:
        connections[self.alias].close()


@pytest.fixture
async def schema() -> AsyncIterator[str]:
    """A schema with a table of the application's; handlers that block have one thread, so that its connection stays."""
    name = await fresh_schema()
    await do(f'CREATE TABLE "{name}".arrivals (entity text, pid int)')
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    yield name
    await drop(name)


@pytest.mark.parametrize("make", [_blocking, _awaiting])
@pytest.mark.parametrize(("settings", "stay"), [({}, 0), ({"CONN_MAX_AGE": None}, 1)], ids=["closed", "kept"])
async def test_a_connection_that_broke_between_two_calls_is_replaced_before_the_second(
    schema: str, make: Make, settings: dict[str, Any], stay: int
) -> None:
    """No call fails, whether Django closes its connections after use or keeps them without looking at their health."""
    orm, handlers = _Orm(schema, **settings), DjangoHandlers()
    make(handlers, orm.keep)
    async with _engine(handlers) as flows:
        await flows.request("accounts", entity_id="e0")
        await flows.tick()
        assert await orm.terminate() == stay
        await flows.request("accounts", entity_id="e1")
        await flows.tick()
        (first, pid), (second, other) = await orm.kept()
        assert (first, second) == ("e0", "e1")
        assert pid != other
    await orm.forget()


@pytest.mark.parametrize("make", [_blocking, _awaiting])
async def test_a_call_whose_connection_breaks_is_made_again_on_another(schema: str, make: Make) -> None:
    """The call fails, and is made again after its wait."""
    orm, handlers, clock = _Orm(schema, CONN_MAX_AGE=None), DjangoHandlers(), FakeClock()
    broken: list[str] = []

    def keep(change: Change) -> None:
        if not broken:
            broken.append(change.key)
            orm.run("SELECT pg_terminate_backend(pg_backend_pid())")
        orm.keep(change)

    make(handlers, keep)
    async with _engine(handlers, clock) as flows:
        await flows.request("accounts", entity_id="e0")
        await flows.tick()
        assert broken
        assert await orm.kept() == []
        clock.advance(timedelta(minutes=1))
        await flows.tick()
        assert [entity for entity, _ in await orm.kept()] == ["e0"]
    await orm.forget()


def _engine(handlers: Handlers, clock: FakeClock | None = None) -> Any:
    clock = clock or FakeClock()
    return engine(MemoryStore(), Lean(clock), clock, handlers=[handlers])
