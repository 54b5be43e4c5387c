"""The small size of ``python -m tests.torture flask-gunicorn``: real processes, reloaded and stopped in the middle."""

from __future__ import annotations

import random
from pathlib import Path

from tests.torture.__main__ import play
from tests.torture.scenarios import SCENARIOS


async def test_nothing_is_lost_while_gunicorn_is_reloaded_and_stopped(tmp_path: Path) -> None:
    """Every flow that was asked for is fetched and handled, and every webhook was taken in the end."""
    seed, scenario = random.SystemRandom().randrange(1_000_000), SCENARIOS["flask-gunicorn"]
    figure = await play(scenario, seed, scenario.fast, tmp_path, is_fast=True)
    assert not figure.violations, [seed, *figure.violations]
