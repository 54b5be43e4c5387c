"""The small size of the torture: a real engine on a real file, killed, stopped, crowded and traced.

``make torture`` plays the whole of it; docs/reference/reliability.md says what each scenario proves. What finds the
violations is itself put to the test here: a file, a diary and a trace that were tampered with must be found out.
"""

from __future__ import annotations

import json
import random
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.torture.__main__ import play
from tests.torture.drive import drive
from tests.torture.durable import cannot_trace, traced
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.nursery import AMONG_OTHERS, Nursery
from tests.torture.scenarios import SCENARIOS
from tests.torture.world import World

needs_strace = pytest.mark.skipif(cannot_trace() is not None, reason=f"strace: {cannot_trace()}")

FAST = ("R1", "R2", "R1-storm", "R2-storm", "R5", "R7", "R9", "R16", "R22", "R23", "R24", "R25-full")


@pytest.mark.parametrize("name", FAST)
async def test_nothing_is_lost_or_done_twice(name: str, tmp_path: Path) -> None:
    """The scenario's small size shows no violation of what is promised."""
    seed = random.SystemRandom().randrange(1_000_000)
    scenario = SCENARIOS[name]
    figure = await play(scenario, seed, scenario.fast, tmp_path, is_fast=True)
    if figure.skipped is not None:
        pytest.skip(figure.skipped)
    again = f"python -m tests.torture {name} --fast --seed {seed}"
    assert not figure.violations, "\n".join([again, *figure.violations])
    assert figure.rounds > 0


@needs_strace
async def test_no_200_leaves_before_its_commit_is_on_disk(tmp_path: Path) -> None:
    """Between the write of a webhook's commit and its 200 the log is synced."""
    async with Nursery(AMONG_OTHERS) as nursery:
        verdict = await traced(Run(nursery, tmp_path, 1, 100))
    assert verdict.answered == 100
    assert not verdict.too_soon


@needs_strace
async def test_the_trace_shows_what_a_store_that_does_not_sync_leaves_open(tmp_path: Path) -> None:
    """With synchronous=NORMAL, which syncs at checkpoints alone, the same judge finds answers that were too soon."""
    async with Nursery(AMONG_OTHERS) as nursery:
        verdict = await traced(Run(nursery, tmp_path, 1, 100), is_careful=False)
    assert len(verdict.too_soon) > 50


# --- the invariants find what they are there for -----------------------------------------------------------------


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A world at rest: two requests that went the whole way, without any fault."""
    async with Nursery(AMONG_OTHERS) as nursery, World(nursery, tmp_path, 1) as calm:
        await calm.start()
        assert [await drive(calm, "user-1"), await drive(calm, "early-2")] == ["fetched", "fetched"]
        assert await calm.settle() == []
        assert await calm.close() == []
        yield calm


def _sql(world: World, *statements: str) -> None:
    with sqlite3.connect(world.db) as db:
        for statement in statements:
            assert db.execute(statement).rowcount, f"{statement} changed nothing"
    db.close()


def _retell(world: World, lines: list[str]) -> None:
    (world.directory / "heard.jsonl").write_text("\n".join(lines) + "\n")


TAMPERED: dict[str, tuple[str, ...]] = {
    "I1": ("DELETE FROM leanflow_requests WHERE number = 1",),
    "I2": (
        "DELETE FROM leanflow_inbox WHERE key LIKE 'event:%'",
        "DELETE FROM leanflow_history WHERE key LIKE 'event:%'",
    ),
    "I3: .* has history": ("DELETE FROM leanflow_history WHERE number = (SELECT max(number) FROM leanflow_history)",),
    "I3: .* replayed differs": ("UPDATE leanflow_requests SET record = replace(record, '\"round\":1', '\"round\":2')",),
    "I3: .* recorded to": ("UPDATE leanflow_history SET to_state = 'expired' WHERE tag = 'prompted'",),
    "I5": (
        "CREATE TABLE again AS SELECT * FROM leanflow_history WHERE tag = 'prompted'",
        "UPDATE again SET number = NULL",
        "INSERT INTO leanflow_history SELECT * FROM again",
    ),
    "I6": ("UPDATE leanflow_history SET key = 'lost' || number WHERE key LIKE 'answer:%'",),
    "I7": ("UPDATE leanflow_requests SET state = 'requested', due_at = NULL WHERE number = 1",),
    "pages: .* has pages": ("DELETE FROM leanflow_pages WHERE page = 1",),
    "pages: .* another's": ("UPDATE leanflow_pages SET raw = replace(raw, 'user-1', 'user-9')",),
}


async def test_a_tampered_file_is_found_out(world: World) -> None:
    """Whatever is taken from the file, or put into it, is named by the invariant that it breaks."""
    whole = world.db.read_bytes()
    assert check(world) == []
    for found, statements in TAMPERED.items():
        _sql(world, *statements)
        _assert_found(world, found)
        world.db.write_bytes(whole)


async def test_a_tampered_diary_is_found_out(world: World) -> None:
    """A change that was not heard, or out of order, breaks I4; second copies and halves of lines do not."""
    lines = [line for line in (world.directory / "heard.jsonl").read_text().splitlines() if line]
    ends = [line for line in lines if ":fetched" in line]
    _retell(world, [line for line in lines if line not in ends])
    _assert_found(world, "I4: teller was to hear")
    _retell(world, [ends[0], *lines])
    _assert_found(world, "I4: teller was to hear")
    _retell(world, [line for line in lines if json.loads(line)["sink"] == "teller"])
    _assert_found(world, "I4: the listener never heard")
    _retell(world, [*lines, *lines])
    assert check(world) == []
    _retell(world, [lines[0][:100], *lines])
    assert check(world) == []
    _retell(world, [lines[0][:100], *lines[1:]])
    _assert_found(world, "I4: ")


async def test_calls_and_errors_too_many_are_found_out(world: World) -> None:
    """A call that no fault cut off and no history tells of breaks I6; so does an error in the log, unless expected."""
    world.lean.asked.append(next(asked for asked in world.lean.asked if not asked.page))
    _assert_found(world, "I6")
    world.lean.asked.pop()
    world.log.write_text("2026-01-01 00:00:00 c1 ERROR leanflow.worker: something failed and goes on\n")
    _assert_found(world, "log: ")
    assert check(world, expected_log="leanflow.worker: something") == []


def _assert_found(world: World, found: str) -> None:
    violations = check(world)
    assert any(re.match(found, each) for each in violations), (found, violations)
