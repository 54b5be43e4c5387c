"""`leanflow copy`, cut off and started again: each row comes once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import functools
import json
import subprocess
from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from leanflow.errors import StoreUnavailable
from leanflow_adapters._tables import TABLES, Row, Table, Tables
from leanflow_adapters.cli import _copy
from leanflow_adapters.cli._copy import copy
from tests.support import redis
from tests.support.copying import (
    COMMAND,
    KINDS,
    LONG_AGO,
    Place,
    Places,
    copied,
    everything,
    fill,
)

ROUND = [("sqlite", "postgres"), ("postgres", "redis"), ("redis", "sqlite")]
"""Each store as source and as target: where a copy is cut off, neither knows what the other is."""


class Cut(BaseException):
    """The process is gone."""


@attrs.define
class Cutting:
    """A target that is cut off at its n-th write, before or after that is stored."""

    inner: Tables
    at: int
    stored: bool
    writes: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def write(self, table: Table, rows: Sequence[Row], *, before: str | None, mark: str) -> bool:
        """Write, or be cut off."""
        self.writes += 1
        if self.writes == self.at and not self.stored:
            raise Cut
        written = await self.inner.write(table, rows, before=before, mark=mark)
        if self.writes == self.at:
            raise Cut
        return written


@pytest.mark.parametrize(("old", "new"), ROUND)
@pytest.mark.parametrize("stored", [True, False])
async def test_a_copy_that_is_cut_off_anywhere_goes_on(
    places: Places, monkeypatch: pytest.MonkeyPatch, old: str, new: str, stored: bool
) -> None:
    """Cut off at each of its writes in turn, and started again each time, it ends with the same rows."""
    monkeypatch.setattr(_copy, "TABLES", tuple(attrs.evolve(table, slice=3) for table in TABLES))
    source, target = await places.fresh(old), await places.fresh(new)
    await fill(source)
    cuts = 0
    for at in range(1, 10_000):
        async with source.tables() as read, target.tables() as written:
            cutting: Any = Cutting(written, 1 + at % 3, stored)
            try:
                await copy(read, cutting, force=False, told=lambda *_: None)
            except Cut:
                cuts += 1
            else:
                break
    assert cuts > 15
    tags = "redis" not in (old, new)
    assert await everything(target, tags=tags) == await everything(source, tags=tags)
    assert await copied(source, target), "a copy that is there is counted again"


async def test_a_redis_that_is_killed_meanwhile_has_whole_slices(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy fails; with the server back, and all that it had said was written, it goes on to its end."""
    monkeypatch.setattr(_copy, "TABLES", tuple(attrs.evolve(table, slice=3) for table in TABLES))
    source = await places.fresh("sqlite")
    await fill(source)
    with redis.server() as own:
        target = Place("redis", own.url)
        for at in (7, 11, 16):
            async with source.tables() as old, target.tables() as new:
                dying: Any = _Dying(new, own, at)
                with pytest.raises(StoreUnavailable):
                    await copy(old, dying, force=False, told=lambda *_: None)
            await asyncio.to_thread(own.start)
        assert await copied(source, target)
        assert await everything(target, tags=False) == await everything(source, tags=False)


@attrs.define
class _Dying:
    """A target whose server is killed while it does the n-th write."""

    inner: Tables
    server: redis.Server
    at: int
    writes: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def write(self, table: Table, rows: Sequence[Row], *, before: str | None, mark: str) -> bool:
        """Write; the n-th time the server is gone before it has answered, or even read that."""
        self.writes += 1
        if self.writes < self.at:
            return await self.inner.write(table, rows, before=before, mark=mark)
        writing = asyncio.ensure_future(self.inner.write(table, rows, before=before, mark=mark))
        await asyncio.sleep(0)
        self.server.kill()
        return await writing


@pytest.mark.parametrize(("old", "new"), ROUND)
async def test_a_killed_process_is_started_again(places: Places, old: str, new: str) -> None:
    """Killed with SIGKILL as often as it tells of progress, the command ends with the same rows, and exit status 0."""
    source, target = await places.fresh(old), await places.fresh(new)
    await fill(source)
    await _enlarge(source)
    command = [*COMMAND, source.url, target.url]
    far = [await asyncio.to_thread(_killed_after, lines, command) for lines in (3, 12, 7)]
    assert len(set(far)) == 3, far
    run = functools.partial(subprocess.run, capture_output=True, text=True, check=False)
    done = await asyncio.to_thread(run, [*command, "--json"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["inbox"] > 20_000
    tags = "redis" not in (old, new)
    assert await everything(target, tags=tags) == await everything(source, tags=tags)


def _killed_after(lines: int, command: Sequence[str]) -> str:
    """Start a command, kill it once it has said so many lines, and return the last."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    heard = [process.stderr.readline() for _ in range(lines)]
    process.kill()
    process.communicate()
    return heard[-1]


async def _enlarge(place: Place) -> None:
    """Add seen webhooks."""
    inbox = next(table for table in TABLES if table.name == "inbox")
    async with place.tables() as tables:
        [scope, *_] = await tables.scopes()
        rows = [(scope, f"event:{number:06}", "results.ready", LONG_AGO) for number in range(20_000)]
        assert await tables.write(inbox, rows, before=None, mark="a copy into the source, of long ago")


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_written_over_the_mark_of_another(places: Places, kind: str) -> None:
    """A copy that goes on where another went on meanwhile writes neither rows nor its mark."""
    scopes = TABLES[0]
    target = await places.fresh(kind)
    row = (7, "app", "sandbox", "uae")
    async with target.tables() as tables:
        assert await tables.write(scopes, [], before=None, mark="first")
        assert not await tables.write(scopes, [row], before=None, mark="a second first")
        assert not await tables.write(scopes, [row], before="another", mark="second")
        assert await tables.mark() == "first"
        assert await tables.count(scopes, [7]) == 0
        assert await tables.write(scopes, [row], before="first", mark="second")
        assert await tables.count(scopes, [7]) == 1


async def test_two_copies_at_once_do_not_mix(places: Places) -> None:
    """Who meets the other is told, and that may be both; started again it goes on, and no row comes twice."""
    source, target = await places.fresh("sqlite"), await places.fresh("postgres")
    await fill(source)
    both = await asyncio.gather(copied(source, target), copied(source, target), return_exceptions=True)
    errors = [one for one in both if isinstance(one, BaseException)]
    assert all("another process is copying" in str(error) or "has it open" in str(error) for error in errors)
    await copied(source, target)
    assert await everything(target) == await everything(source)
