"""Stores that are copied from and into: where they are, what is in them."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs

from leanflow import Change, Handlers, LeanFlow, Policy, State
from leanflow._request import Scope
from leanflow.ports import Store
from leanflow.testing import FakeClock
from leanflow_adapters import open_store
from leanflow_adapters._tables import TABLES, Row, Tables
from leanflow_adapters.cli._copy import copy, tables_of
from leanflow_adapters.postgres import PostgresStore
from leanflow_adapters.redis import RedisStore
from tests.support import redis
from tests.support.engine import deliver, engine, recorder
from tests.support.lean import Lean, webhook
from tests.support.postgres import URL, drop, fresh_schema
from tests.support.redis import URL as REDIS

__all__ = [
    "APPS",
    "COMMAND",
    "KINDS",
    "LONG_AGO",
    "QUICK",
    "SCOPE",
    "Place",
    "Places",
    "World",
    "copied",
    "everything",
    "failing",
    "fill",
    "size",
]

APPS = ("app", "other")
COMMAND = (sys.executable, "-m", "leanflow_adapters.cli", "copy")
KINDS = ("sqlite", "postgres", "redis")
QUICK = Policy(announce_backoff=(timedelta(seconds=1),), announce_tries=2)
SCOPE = Scope(app="app", environment="sandbox", region="uae")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@attrs.frozen
class Place:
    """Where a store is."""

    kind: str
    url: str

    def store(self) -> Store:
        """Return one more handle, on the engine's clock."""
        if self.kind == "sqlite":
            return open_store(self.url)
        if self.kind == "redis":
            return RedisStore(REDIS, prefix=self.url.partition("prefix=")[2], clock="engine")
        return PostgresStore(URL, schema=self.url.partition("schema=")[2], clock="engine")

    def tables(self) -> AbstractAsyncContextManager[Tables]:
        """Return its tables."""
        return tables_of(open_store(self.url))


class Places:
    """Fresh places."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._schemas: list[str] = []
        self._prefixes: list[str] = []

    async def fresh(self, kind: str) -> Place:
        """Return a place with nothing in it."""
        if kind == "sqlite":
            return Place(kind, f"sqlite:///{self._directory}/{uuid4().hex}.db")
        if kind == "redis":
            self._prefixes.append(await redis.fresh_prefix())
            return Place(kind, f"{REDIS}?prefix={self._prefixes[-1]}")
        self._schemas.append(await fresh_schema())
        return Place(kind, f"{URL}?schema={self._schemas[-1]}")

    async def remove(self) -> None:
        """Remove them."""
        for schema in self._schemas:
            await drop(schema)
        for prefix in self._prefixes:
            await redis.empty(prefix)


@attrs.frozen
class World:
    """A source with something in every table."""

    clock: FakeClock
    lean: Lean
    waiting: Sequence[str]


def failing() -> Handlers:
    """Return handlers of which one fails at what waits for its user, and one always."""
    handlers = Handlers()

    @handlers.on(name="broken")
    def broken(change: Change, _flows: LeanFlow) -> None:
        if change.to_state is State.reconnect_required:
            raise ValueError("not this one")

    @handlers.on(State.fetched, resource="accounts", name="never")
    def never(_change: Change, _flows: LeanFlow) -> None:
        raise ValueError("never")

    return handlers


async def fill(place: Place) -> World:
    """Let two applications work until there is something in every table."""
    clock = FakeClock(LONG_AGO)
    lean = Lean(clock)
    lean.pages = 2
    waiting = []
    for app in APPS:
        handlers = [failing(), recorder().handlers]
        async with engine(place.store(), lean, clock, app=app, handlers=handlers, policy=QUICK) as flows:
            lean.will(f"{app}-asleep", "reconnect", "reconnect")
            done = await flows.request("accounts", entity_id=f"{app}-awake", reference="user-1", key=f"{app}-key")
            asked = await flows.request("identity", entity_id=f"{app}-asleep", reference="user-2")
            given_up = await flows.request("accounts", entity_id=f"{app}-asleep", reference="user-2")
            gone = await flows.request("accounts", entity_id=f"{app}-gone")
            for _ in range(6):
                await flows.tick()
                clock.advance(timedelta(seconds=2))
            assert (await flows.get(done.id)).state is State.fetched
            await flows.erase(entity_id=gone.entity_id)
            for number in (3, 1, 2):  # at one time: their order is that in which they came
                nobody = {"id": f"{app}-nobody-knows"}
                await deliver(flows, webhook("results.ready", nobody, event_id=f"{app}-{number}"))
            await flows.store.repark(flows.scope, f"event:{app}-2", due_at=clock.now() + timedelta(hours=1))
            await flows.store.remember(flows.scope, "note", "worth it")
            await flows.store.tally(flows.scope, "number", add=3)
            # undelivered, one behind the other
            await flows.prompt(asked.id)
            await flows.prompt(given_up.id)
            await flows.cancel(given_up.id)
            waiting.append(asked.id)
    return World(clock, lean, waiting)


async def everything(place: Place, *, tags: bool = True) -> dict[str, Any]:
    """Return all rows: as sets where order means nothing, the others in theirs, by request or scope.

    `tags`: whether the inbox has them, which no store reads; one that was in a Redis has them no more.
    """
    found: dict[str, Any] = {}
    async with place.tables() as tables:
        for table in TABLES:
            rows: list[Row] = []
            after: str | None = None
            was: str | None = "nowhere"
            while after != was:
                was = after
                more, after = await tables.read(table, after, 701 if table.name == "inbox" else 7)
                rows += more
            if table.name in ("outbox", "parked", "history"):
                whose = list(table.columns).index("request_id" if table.name == "history" else "scope")
                grouped = defaultdict(list)
                for row in rows:
                    grouped[row[whose]].append(row)
                found[table.name] = dict(grouped)
            elif table.name == "inbox" and not tags:
                found[table.name] = sorted((scope, key, at) for scope, key, _, at in rows)
            else:
                found[table.name] = sorted(rows, key=repr)
    return found


async def copied(source: Place, target: Place, *, force: bool = False) -> dict[str, int]:
    """Copy, as the command does."""
    async with source.tables() as old, target.tables() as new:
        return dict(await copy(old, new, force=force, told=lambda *_: None))


def size(rows: Any) -> int:
    """Return how many rows `everything` found in a table."""
    return sum(map(len, rows.values())) if isinstance(rows, dict) else len(rows)
