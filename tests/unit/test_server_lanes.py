"""What the stores on servers send at a time: few enough bodies that neither memory nor the server is overwhelmed."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence

import attrs
import pytest

from leanflow_adapters.postgres import _lane as postgres_lane
from leanflow_adapters.redis import _lane as redis_lane

WEIGHTS = (60, 60, 10, 20, 70, 30, 900, 0, 0, 50, 50, 1)
HEAVIEST = 100


@attrs.frozen(eq=False)
class Wish:
    """One of so many bytes, that bars no other."""

    weight: int

    @property
    def exclusive(self) -> tuple[Hashable, ...]:
        """Nothing."""
        return ()


async def _by_postgres() -> tuple[list[list[int]], list[int]]:
    batches: list[list[int]] = []

    async def run(wishes: Sequence[Wish]) -> list[int]:
        batches.append([wish.weight for wish in wishes])
        await asyncio.sleep(0)
        return batches[-1]

    async def alone(wish: Wish) -> int:
        raise AssertionError(wish)

    lane = postgres_lane.Lane(run, alone, width=1)
    return batches, await asyncio.gather(*(lane.ask(Wish(weight)) for weight in WEIGHTS))


async def _by_redis() -> tuple[list[list[int]], list[int]]:
    batches: list[list[int]] = []

    async def run(commands: Sequence[redis_lane.Command]) -> Sequence[int]:
        batches.append([weight for (weight,) in commands])
        await asyncio.sleep(0)
        return batches[-1]

    lane = redis_lane.Lane(run, width=1)
    return batches, await asyncio.gather(*(lane.ask((weight,), weight) for weight in WEIGHTS))


@pytest.mark.parametrize(("lane", "ask"), [(postgres_lane, _by_postgres), (redis_lane, _by_redis)])
async def test_a_batch_brings_few_bodies(lane: object, ask: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many bytes no other goes along; what is heavier goes alone; all go, in the order of arrival."""
    monkeypatch.setattr(lane, "HEAVIEST", HEAVIEST)
    batches, replies = await ask()  # type: ignore[operator]  # a parameter: one of the two above
    assert tuple(replies) == WEIGHTS
    assert tuple(weight for batch in batches for weight in batch) == WEIGHTS
    assert all(sum(batch) <= HEAVIEST or len(batch) == 1 for batch in batches)
    assert max(map(len, batches)) > 2
