"""What a run of schemathesis did: per operation the cases, the statuses and the failures, from its event file."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

__all__ = ["OTHER_METHODS", "Outcome", "read", "table"]

OTHER_METHODS = "methods that a path does not have"


@attrs.define
class Outcome:
    """What became of one operation.

    Attributes:
        modes: how many cases were valid (``positive``) and how many were not (``negative``).
        statuses: how often each HTTP status came; None: no answer.
        failures: check and message, how often.
    """

    modes: Counter[str] = attrs.field(factory=Counter)
    statuses: Counter[int | None] = attrs.field(factory=Counter)
    failures: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    checks: Counter[str] = attrs.field(factory=Counter)


def _recorders(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            if "ScenarioFinished" in event:
                yield event["ScenarioFinished"]["recorder"]


def read(path: Path, operations: list[str]) -> dict[str, Outcome]:
    """Return what became of each operation (``GET /path``), those without a case included."""
    found: dict[str, Outcome] = defaultdict(Outcome, {name: Outcome() for name in operations})
    for recorder in _recorders(path):
        for name, case in recorder.get("cases", {}).items():
            value = case["value"]
            outcome = found[_named(value, operations)]
            outcome.modes[((value.get("meta") or {}).get("generation") or {}).get("mode", "unknown")] += 1
            response = recorder["interactions"].get(name, {}).get("response")
            outcome.statuses[response["status_code"] if response else None] += 1
            for check in recorder["checks"].get(name, []):
                outcome.checks[check["name"]] += 1
                if check["status"] == "failure":
                    outcome.failures[check["name"], _message(check)] += 1
    return dict(found)


def _named(value: dict[str, Any], operations: list[str]) -> str:
    """Return the operation of a case."""
    name = f"{value['method']} {value['path']}"
    return name if name in operations else OTHER_METHODS


def _message(check: dict[str, Any]) -> str:
    failure = json.dumps(check.get("failure_info") or check.get("failure") or {}, ensure_ascii=False)
    return failure[:600]


def table(outcomes: dict[str, Outcome]) -> str:
    """Return a row per operation."""
    wide = max(map(len, outcomes))
    lines = [f"{'operation':{wide}}  cases  valid  failed  statuses"]
    for name, one in outcomes.items():
        statuses = " ".join(f"{status}:{count}" for status, count in sorted(one.statuses.items(), key=str))
        failed = sum(one.failures.values())
        lines.append(f"{name:{wide}}  {one.modes.total():5}  {one.modes['positive']:5}  {failed:6}  {statuses}")
    return "\n".join(lines)
