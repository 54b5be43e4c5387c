"""Paths under other policies and with other ids: found, played through an engine, and replayed, they agree."""

from __future__ import annotations

import json
import random
from datetime import timedelta

import pytest

from leanflow import Policy, Resource
from leanflow.testing import FakeClock, paths, replay
from leanflow_adapters.memory import MemoryStore
from tests.support.engine import engine
from tests.support.lean import Lean

APART = (1, 2, 5, 10, 30, 60, 121, 300, 600)
"""Minutes that are more than a tenth apart: which of two nearer waits is over first depends on the request's id."""


def some_policy(dice: random.Random) -> Policy:
    """A policy with other waits and budgets."""

    def wait() -> timedelta:
        return timedelta(minutes=dice.choice(APART))

    return Policy(
        reconnect_ttl=timedelta(days=dice.randint(1, 60)),
        expiry_grace=timedelta(hours=dice.choice((0, 4))),
        pending_limit=wait(),
        results_limit=wait(),
        user_timeout=wait(),
        hint_wait=wait(),
        reconnect_grace=wait(),
        probes=tuple(wait() for _ in range(dice.randint(1, 3))),
        idle_probes=tuple(wait() for _ in range(dice.randint(1, 3))),
        max_rounds=dice.randint(1, 4),
        max_hint_errors=dice.randint(1, 5),
        place_siblings=dice.random() < 0.7,
        duplicate_wait=wait(),
    )


@pytest.mark.parametrize("seed", range(8))
async def test_paths_hold_under_any_policy(seed: int) -> None:
    """Each goes through an engine step by step as it was found, and its export comes out the same."""
    dice = random.Random(seed)
    policy = some_policy(dice)
    resource, deadlines = dice.choice((Resource.accounts, Resource.refresh)), dice.random() < 0.5
    for path in paths(resource=resource, deadlines=deadlines, policy=policy):
        clock = FakeClock()
        async with engine(MemoryStore(), Lean(clock), clock, policy=policy, seed=seed) as flows:
            request = await path.play(flows)
            exported = json.loads(json.dumps(await flows.export(request.id)))
        assert replay(exported, policy=policy) is None
        assert replay(path.export(), policy=policy) is None
        assert request.state is path.request.state


@pytest.mark.parametrize("seed", range(1, 5))
async def test_paths_hold_whatever_the_ids_are(seed: int) -> None:
    """Waits are spread by the request's id; with the default policy no path depends on how."""
    for path in paths(covering="decisions"):
        clock = FakeClock()
        async with engine(MemoryStore(), Lean(clock), clock, seed=seed) as flows:
            assert (await path.play(flows)).state is path.request.state
