"""`leanflow copy`: what it refuses, and what it passes over."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from leanflow.testing import FakeClock
from leanflow_adapters._tables import TABLES, Row, Table, Tables
from leanflow_adapters.cli._copy import CannotCopy, copy
from tests.support import redis
from tests.support.copying import (
    COMMAND,
    KINDS,
    SCOPE,
    Places,
    copied,
    everything,
    fill,
    size,
)
from tests.support.engine import engine
from tests.support.lean import Lean


@pytest.mark.parametrize("kind", KINDS)
async def test_a_source_that_is_in_use_is_refused(places: Places, kind: str) -> None:
    """While a process has it open, or a lease is out, nothing is copied; --force does it."""
    source, target = await places.fresh(kind), await places.fresh("sqlite")
    await fill(source)
    async with engine(source.store(), Lean(FakeClock()), FakeClock()) as flows:
        await flows.counts()
        with pytest.raises(CannotCopy, match=r"in use \((another process|\d+ connections|1 processes)"):
            await copied(source, target)
    store = source.store()
    await store.open()
    soon = datetime.now(UTC)
    claimed = await store.claim(SCOPE, owner="dead", now=soon, lease=60.0, limit=1)
    assert len(claimed) == 1
    await store.aclose()
    with pytest.raises(CannotCopy, match=r"1 leases are out"):
        await copied(source, target)
    assert await copied(source, target, force=True)
    store = target.store()
    await store.open()
    again = await store.claim(SCOPE, owner="new", now=soon, lease=60.0, limit=1)
    assert [one.request.id for one in again] == [claimed[0].request.id], "the lease stayed behind"
    await store.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_target_that_is_not_empty_is_refused(places: Places, kind: str) -> None:
    """Rows of the same application are in the way; those of another are not, and stay."""
    source, target = await places.fresh("sqlite"), await places.fresh(kind)
    await fill(source)
    clock = FakeClock()
    async with engine(target.store(), Lean(clock), clock, app="third") as flows:
        kept = await flows.request("accounts", entity_id="of a third")
    await copied(source, target)
    async with engine(target.store(), Lean(clock), clock, app="third") as flows:
        assert (await flows.get(kept.id)).id == kept.id

    other = await places.fresh(kind)
    async with engine(other.store(), Lean(clock), clock, app="app") as flows:
        await flows.request("accounts", entity_id="in the way")
    with pytest.raises(CannotCopy, match="rows of the same application"):
        await copied(source, other)


async def test_a_target_that_was_worked_with_since_is_not_said_to_be_copied(places: Places) -> None:
    """It has rows of its own by now: whoever starts the copy again is told that it is in use."""
    source, target = await places.fresh("sqlite"), await places.fresh("sqlite")
    world = await fill(source)
    await copied(source, target)
    async with engine(target.store(), world.lean, world.clock) as flows:
        await flows.request("accounts", entity_id="new")
    with pytest.raises(CannotCopy, match=r"the target has got other rows in .*requests.* since it was copied"):
        await copied(source, target)


@attrs.frozen
class _With:
    """A target with another way to write."""

    inner: Tables
    write: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.mark.parametrize("kind", ["postgres", "redis"])
async def test_a_source_that_changes_meanwhile_is_refused(places: Places, kind: str) -> None:
    """What was copied before is then not what the source has: the copy does not end well, nor does it go on later."""
    source, target = await places.fresh(kind), await places.fresh("sqlite")
    world = await fill(source)

    async def change() -> None:
        async with engine(source.store(), world.lean, world.clock) as flows:
            await flows.cancel(world.waiting[0])

    changed = False
    async with source.tables() as old, target.tables() as new:
        inner = new.write

        async def write(table: Table, rows: Sequence[Row], *, before: str | None, mark: str) -> bool:
            nonlocal changed
            if table.name == "requests" and not changed:
                changed = True
                await change()
            return await inner(table, rows, before=before, mark=mark)

        changing: Any = _With(new, write)
        with pytest.raises(CannotCopy, match="has changed while it was copied"):
            await copy(old, changing, force=True, told=lambda *_: None)
    with pytest.raises(CannotCopy, match="before it changed"):
        await copied(source, target, force=True)


async def test_what_goes_while_redis_is_read_is_passed_over(places: Places) -> None:
    """An index still names it, and it is there no more: no row is made of it, and nothing fails."""
    source = await places.fresh("redis")
    await fill(source)
    before = await everything(source)
    keys = {key.decode() for key in await redis.do("KEYS", f"{{{source.url.partition('prefix=')[2]}:*")}
    for kind in (":r:", ":p:", ":o:"):
        await redis.do("DEL", min(key for key in keys if kind in key))
    after = await everything(source)
    for name, rows in before.items():
        lost = name in ("requests", "parked", "outbox")
        assert size(after[name]) == size(rows) - lost, name
    parked = next(table for table in TABLES if table.name == "parked")
    async with source.tables() as tables:
        [_], place = await tables.read(parked, None, 1)
        await redis.do("DEL", *(key for key in keys if ":p:" in key))
        assert (await tables.read(parked, place, 100))[0] == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_source_with_nothing_in_it_is_refused(places: Places, kind: str) -> None:
    """A name that was misspelt does not pass for a store without rows; nothing is left in the target."""
    source, target = await places.fresh(kind), await places.fresh(kind)
    with pytest.raises(CannotCopy, match="nothing in the source"):
        await copied(source, target)
    async with target.tables() as tables:
        assert await tables.mark() is None


async def test_a_newer_layout_is_refused(places: Places) -> None:
    """Of a Redis in which a newer version works nothing is copied, nor anything into it."""
    source, target = await places.fresh("redis"), await places.fresh("sqlite")
    await fill(source)
    [key, *_] = await redis.do("KEYS", f"{{{source.url.partition('prefix=')[2]}:*}}:scope")
    await redis.do("HSET", key, "layout", 2)
    for old, new in ((source, target), (target, source)):
        done = await asyncio.to_thread(
            subprocess.run, [*COMMAND, old.url, new.url], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        if old is source:
            assert "written by a newer leanflow" in done.stderr


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("sqlite:///none.db", "sqlite:///new.db", "there is no store at"),
        ("memory:", "sqlite:///new.db", "has no tables"),
        ("sqlite:///new.db", "elsewhere:", "its scheme"),
    ],
)
def test_what_cannot_be_copied_is_told(tmp_path: Path, source: str, target: str, said: str) -> None:
    """In one line, with exit status 1; nothing is made."""
    done = subprocess.run([*COMMAND, source, target], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
