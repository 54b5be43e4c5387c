"""Runs of pytest within the tests: each in a process of its own, as a user's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

HEAD = """
import pytest
from leanflow import Handlers, LeanFlow, Policy, Reply, Resource, State
"""


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the runs keep byte code: without it each would compile, and rewrite, everything anew."""
    return str(tmp_path_factory.mktemp("bytecode"))


Run = Callable[..., str]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, bytecode: str) -> Run:
    """Run test modules, each below a head; hold their outcomes to those given; return what was printed."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", bytecode)

    def run_them(*options: str, modules: list[str], head: str = HEAD, **outcomes: int) -> str:
        for number, source in enumerate(modules):
            pytester.makepyfile(**{f"test_{number}": head + source})
        done = pytester.runpytest_subprocess("-q", "-W", "error", "--strict-markers", "--strict-config", *options)
        done.assert_outcomes(**outcomes)
        return done.stdout.str()

    return run_them
