"""What tests of the engine work with: a clock moved by hand, a tiny Lean on it, and either store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leanflow.testing import FakeClock
from tests.support.copying import Places
from tests.support.engine import STORES, StoreMaker, maker_of
from tests.support.lean import Lean


@pytest.fixture(params=STORES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> StoreMaker:
    """Either store."""
    return maker_of(request.param, tmp_path)


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def lean(clock: FakeClock) -> Lean:
    """Lean, in v2."""
    return Lean(clock)


@pytest.fixture
async def places(tmp_path: Path) -> AsyncIterator[Places]:
    """Places for stores, which are gone afterwards."""
    made = Places(tmp_path)
    yield made
    await made.remove()
