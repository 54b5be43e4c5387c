"""The small size of the torture on Redis: workers killed, wires cut, the server killed and started again.

``make torture ARGS="--store redis"`` plays the whole of it; docs/reference/reliability.md says what each proves.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.redis import server
from tests.torture.__main__ import play
from tests.torture.durable import cannot_trace, traced
from tests.torture.figures import Run
from tests.torture.nursery import AMONG_OTHERS, Nursery
from tests.torture.scenarios import SCENARIOS

FAST = {"R1": 6, "R4": 100, "R9": 8, "R25-cut": 30, "R25-restart": 1}
"""Scenarios, and rounds that take a few seconds."""


@pytest.mark.parametrize("name", FAST)
async def test_nothing_is_lost_or_done_twice(name: str, tmp_path: Path) -> None:
    """The scenario's small size shows no violation of what is promised."""
    with server():  # or be skipped, by name
        pass
    seed, rounds = random.SystemRandom().randrange(1_000_000), FAST[name]
    figure = await play(SCENARIOS[name], seed, rounds, tmp_path, is_fast=True, store="redis")
    if figure.skipped is not None:
        pytest.skip(figure.skipped)
    again = f"python -m tests.torture {name} --store redis --fast --seed {seed} --rounds {rounds}"
    assert not figure.violations, "\n".join([again, *figure.violations])
    assert figure.rounds > 0


async def test_the_trace_shows_what_a_server_that_does_not_sync_leaves_open(tmp_path: Path) -> None:
    """With appendfsync everysec, R4's judge finds answers that were too soon."""
    if (problem := cannot_trace()) is not None:
        pytest.skip(problem)
    async with Nursery(AMONG_OTHERS) as nursery:
        verdict = await traced(Run(nursery, tmp_path, 1, 100, store="redis"), is_careful=False)
    assert verdict.answered == 100
    assert len(verdict.too_soon) > 50
