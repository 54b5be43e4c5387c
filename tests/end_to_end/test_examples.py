"""The examples do what they say, over real sockets where they have some."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not part of the wheel")


def test_reconnect_logic_is_tested_without_network_or_waiting() -> None:
    """The example is a test module that passes, in a pytest of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "reconnect_in_a_test.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=EXAMPLES.parent, check=False)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
