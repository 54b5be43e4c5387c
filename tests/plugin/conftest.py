"""Runs of pytest within the tests: each in a process of its own, as a user's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_FREE_OF = ("-p", "no:faker", "-p", "no:hypothesispytest")
"""Plugins that take half a second to load, and have no part in these runs."""

HEAD = """
import pytest
from leanflow import Handlers, LeanFlow, Policy, Reply, Resource, State
"""


Run = Callable[..., str]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run test modules, each below a head; hold their outcomes to those given; return what was printed."""

    def run_them(*options: str, modules: list[str], head: str = HEAD, **outcomes: int) -> str:
        for number, source in enumerate(modules):
            pytester.makepyfile(**{f"test_{number}": head + source})
        done = pytester.runpytest_subprocess(
            "-q", "-W", "error", "--strict-markers", "--strict-config", *_FREE_OF, *options
        )
        done.assert_outcomes(**outcomes)
        return done.stdout.str()

    return run_them
