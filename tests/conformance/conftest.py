"""Failures inside the shipped suites are explained like any other test's; and what the buses' suites have alike."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("leanflow.testing")


@pytest.fixture
def timeout(request: pytest.FixtureRequest) -> float:
    """Give the seconds that a bus waits for its broker: few where a test has it wait in vain."""
    if "silent" in request.fixturenames:
        return 0.5  # what is published afterwards is published again and again until it is there
    return 1.0 if "away" in request.fixturenames else 30.0
