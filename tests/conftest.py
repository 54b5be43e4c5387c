"""What every test has: Hypothesis profiles, byte code for its processes, and a logging that is left as it was found.

``HYPOTHESIS_PROFILE`` names how many examples there are, and whether they are always the same: ``dev`` (the default:
quick, new examples each time), ``ci`` (the same examples each time, so that a red run is red again), ``deep``
(thousands, for `make torture` and for a night).
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# No deadline: two busy cores make any example slow once. Slow generation is a matter of taste, not a failure.
_COMMON: dict[str, Any] = {"deadline": None, "suppress_health_check": (HealthCheck.too_slow,), "print_blob": True}

settings.register_profile("dev", settings(max_examples=100, **_COMMON))
settings.register_profile("ci", settings(max_examples=200, derandomize=True, **_COMMON))
settings.register_profile("deep", settings(max_examples=10_000, **_COMMON))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_configure(config: pytest.Config) -> None:
    """Let all processes of the run share byte code where none may be written: each would compile everything anew."""
    if sys.dont_write_bytecode:
        patch = pytest.MonkeyPatch()
        config.add_cleanup(patch.undo)
        kept = tempfile.TemporaryDirectory(prefix="leanflow-bytecode-", ignore_cleanup_errors=True)
        config.add_cleanup(kept.cleanup)
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("PYTHONPYCACHEPREFIX", kept.name)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Take back what an application gave the root logger: Litestar's handler writes to what pytest closes."""
    before, level = list(logging.root.handlers), logging.root.level
    yield
    for handler in [each for each in logging.root.handlers if each not in before]:
        logging.root.removeHandler(handler)
    logging.root.setLevel(level)
