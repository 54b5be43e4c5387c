"""`leanflow simulate`: what it plays, what it prints, and how it fails."""

from __future__ import annotations

import re
from typing import Any

import pytest

from leanflow_adapters.memory import MemoryStore
from tests.support.command import run


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_runs_are_played_and_counted(store: str) -> None:
    """It says how many, how fast, and how the requests ended."""
    done = run("simulate", "--seeds", "2", "--steps", "40", "--processes", "2", "--store", store)
    assert done.exit_code == 0
    assert re.fullmatch(r"2 runs in [\d.]+ s \(\d+ a minute\), no rule broken: .*\d+ fetched.*\n", done.stdout)


def test_a_timeline_is_printed_when_asked_for() -> None:
    """All moments of the run, one in each line."""
    done = run("simulate", "--seed", "3", "--steps", "20", "--timeline")
    assert done.exit_code == 0
    assert len([line for line in done.stdout.splitlines() if re.match(r" +\d+ .*p1 .* starts$", line)]) == 1


def test_a_failing_run_is_shown_short_and_can_be_played_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 1, the broken rule, and the command; that command fails by the same rule."""
    load = MemoryStore.load

    async def broken(self: MemoryStore, *args: Any) -> Any:
        request = await load(self, *args)
        if request is not None and request.state.is_end:
            raise KeyError("a mistake in the store")
        return request

    monkeypatch.setattr(MemoryStore, "load", broken)
    done = run("simulate", "--seeds", "3", "--processes", "2", "--storm", "0.5")
    assert done.exit_code == 1
    assert re.search("the store: .*raised KeyError.*: 'a mistake in the store'", done.stdout)
    [again] = re.findall(r"^again: leanflow simulate (.*)$", done.stdout, re.MULTILINE)
    assert re.fullmatch(r"--seed \d+ --processes 2 --storm 0.5 --steps \d+", again)
    once_more = run("simulate", *again.split())
    assert once_more.exit_code == 1
    assert once_more.stdout == done.stdout


@pytest.mark.parametrize(
    "arguments", [("--seed", "-1"), ("--seeds", "0"), ("--store", "paper"), ("--processes", "0"), ("--storm", "-1")]
)
def test_bad_flags_are_refused(arguments: tuple[str, str]) -> None:
    """Exit status 2, and the name of the flag."""
    done = run("simulate", *arguments)
    assert done.exit_code == 2
    assert arguments[0] in done.output
