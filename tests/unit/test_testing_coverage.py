"""Counting transitions: what was taken, what was missed, and the counts of other processes."""

from __future__ import annotations

from leanflow._machine import DEFAULT_POLICY
from leanflow.testing import paths
from leanflow.testing._coverage import MISSED, TransitionCoverage

POSSIBLE = 102


def counted(*ends: str) -> TransitionCoverage:
    """What the paths with these names take."""
    coverage = TransitionCoverage()
    for path in paths():
        if path.name.endswith(ends):
            for step in path.steps:
                coverage.see(step.before, step.event, step.decision, DEFAULT_POLICY)
    return coverage


def test_each_accepted_step_counts_once() -> None:
    """By its row and the state that it left; declined ones do not count."""
    coverage = counted("(reconnect,2x-prompt)")
    taken = {str(transition): count for transition, count in coverage.counts.items() if count}
    assert taken == {
        "requested --answered_reconnect [rounds_left]--> reconnect_required": 1,
        "reconnect_required --prompted [may_be_prompted]--> awaiting_user": 1,
        "awaiting_user --prompted [may_be_prompted]--> awaiting_user": 1,
    }
    assert coverage.summary() == f"3 of {POSSIBLE} transitions taken, 2 of 36 rows"
    assert len(coverage.missed) == POSSIBLE - 3
    declined = TransitionCoverage()
    for path in paths(covering="decisions"):
        for step in path.steps:
            if step.transition is None:
                declined.see(step.before, step.event, step.decision, DEFAULT_POLICY)
    assert len(declined.missed) == POSSIBLE


def test_counts_of_processes_are_added() -> None:
    """What a worker of xdist hands over as plain values is what it counted."""
    one, other = counted("(reconnect,2x-prompt)"), counted("(reconnect,2x-prompt)", "(pending,not-ready)")
    one.add(other.dump())
    assert sum(one.counts.values()) == 3 + 5
    assert one.summary() == f"5 of {POSSIBLE} transitions taken, 4 of 36 rows"


def test_the_report_names_what_was_missed() -> None:
    """Row by row with the states; the page has it in table and diagram; nothing is named where nothing was missed."""
    report = counted("(reconnect,2x-prompt)").report().splitlines()
    assert report[1] == "never taken:"
    [line] = [line.split(maxsplit=3) for line in report if "consent_lost" in line]
    assert line[:3] == ["consent_lost", "->", "failed"]
    assert line[3] == "from requested, reconnect_required, awaiting_user, reconnected, results_ready"
    page = counted("(reconnect,2x-prompt)").markdown()
    assert "reconnect_required --> awaiting_user: prompted [may_be_prompted]\n" in page
    assert f"requested --> failed: {MISSED}answered_reconnect | {MISSED}answered_refused | " in page
    everything = counted("")
    assert everything.missed == ()
    assert "never taken" not in everything.report()
    assert MISSED not in everything.markdown().split("```mermaid")[1]
