"""The simulation is worth something: mistakes planted in the engine are found, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.simulation.planted import FAULTS

BOUND = 300
"""Seeds within which each is found: the rarest is found by three in a hundred, half of them by nearly every one."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    """Within the bound, by a rule; the engine without it passes the same seeds (`test_simulation`)."""
    line = [sys.executable, "-m", "tests.simulation.planted", fault, "--seeds", str(BOUND)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stdout.split("  ")[-1].startswith("errors:"), "an error is no finding: the plant is broken"


def test_nothing_is_found_where_nothing_is_planted() -> None:
    """The same way of looking, at the engine as it is."""
    line = [sys.executable, "-m", "tests.simulation.planted", "none", "--seeds", "10"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "not found in 10 seeds" in done.stdout
