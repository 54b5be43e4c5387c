"""R7, R12, R13 and R16 in small through every binding: a real process, real sockets, the invariants afterwards.

The whole of it, R14, R15 and R17 included: ``python -m tests.torture R7 R12 R13 R14 R15 R16 R17 --binding …``.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.torture.bindings import BINDINGS
from tests.torture.figures import Run
from tests.torture.forged import forgeries, replays
from tests.torture.nursery import AMONG_OTHERS, Nursery
from tests.torture.webhooks import duplicates, unknown_types

SMALL = ((duplicates, 2),)
MORE = ((forgeries, 16), (replays, 2), (unknown_types, 3))
ALIKE = {"aiohttp", "django-asgi", "mounted", "starlette"}  # played elsewhere, or but for routes the same as others


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    """Where children come from."""
    async with Nursery(AMONG_OTHERS) as nursery:
        yield nursery


async def test_every_binding_keeps_what_webhooks_are_promised(nursery: Nursery, tmp_path: Path) -> None:
    """Copies through all; forgeries, old and unknown ones through one: right answers, one effect, no trace left."""
    seed = random.SystemRandom().randrange(1_000_000)
    for binding in (each for each in BINDINGS if each not in ALIKE):
        for play, rounds in (*SMALL, *(MORE if binding == "asgi" else ())):
            run = Run(nursery, tmp_path / binding / play.__name__, seed, rounds, is_fast=True, binding=binding)
            await play(run)
            assert not run.figure.violations, [binding, seed, *run.figure.violations]
