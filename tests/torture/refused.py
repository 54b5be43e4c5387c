"""R27: calls and fetches that fail in every way, with a kill in the middle of the wait."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import attrs

from tests.torture.drive import make
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.world import World

__all__ = ["CASES", "refusals"]

_SLACK = timedelta(seconds=0.2)  # between Lean's clock and a child's
_STEPS = 40
_WORLDS = 8


@attrs.frozen
class Case:
    """What Lean does in turn, and how the request must end.

    Attributes:
        script: answers, in the words of `Lean`.
        end: the state.
        least: seconds that the first wait must last at least.
    """

    script: tuple[Any, ...]
    end: str = "fetched"
    least: float = 0.0


def _error(status: int, code: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    body = {"status": code, "message": "no", "timestamp": "2026-01-01T00:00:00Z"}
    return status, {"Content-Type": "application/json", **headers}, json.dumps(body).encode()


def _failed(code: str) -> tuple[int, dict[str, str], bytes]:
    body = {"status": "FAILED", "message": "no", "status_detail": {"granular_status_code": code}}
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


_HTML = (502, {"Content-Type": "text/html"}, b"<html>bad gateway</html>")
_UNKNOWN = _error(404, "UNKNOWN_RESULTS_ID")

CASES: Mapping[str, Case] = MappingProxyType(
    {
        "placement times out": Case(("hang",), least=60),
        "placement is cut": Case(("cut",), least=60),
        "placement 401": Case((_error(401, "INVALID_TOKEN"),), "failed"),
        "placement 404": Case((_error(404, "UNKNOWN_ENTITY"),), "failed"),
        "placement 408": Case((_error(408, "TIMEOUT"),), least=5),
        "placement 429": Case((_error(429, "RATE_LIMIT_EXCEEDED"),), least=30),
        "placement 429, told to wait": Case((_error(429, "RATE_LIMIT_EXCEEDED", **{"Retry-After": "400"}),), least=400),
        "placement 500, twice": Case((_error(500, "INTERNAL_SERVER_ERROR"), _HTML), least=5),
        "duplicated": Case((_failed("DUPLICATED_REQUEST"),), least=60),
        "bank issue": Case((_failed("BANK_ISSUE"),), least=900),
        "500 for ever": Case((_HTML,) * 12, "failed", least=5),
        "consent expired": Case((_error(403, "CONSENT_EXPIRED"),), "failed"),
        "fetch 404, then there": Case(("pending", _UNKNOWN, _UNKNOWN)),
        "fetch cut": Case(("pending", "cut", "cut")),
        "fetch times out": Case(("pending", "hang", "hang")),
        "fetch 429, told to wait": Case(("pending", _error(429, "RATE_LIMIT_EXCEEDED", **{"Retry-After": "400"}))),
        "fetch 503": Case(("pending", _error(503, "INTERNAL_SERVER_ERROR"), _HTML)),
        "results failed, placed again": Case(("pending", _failed("UNSEEN_BANK_ERROR"))),
        "results failed for good": Case(("pending", _failed("EU_ACCOUNT_LOCKED")), "failed"),
        "results want the user": Case(("pending", "reconnect", "ok")),
    }
)


async def refusals(run: Run) -> None:
    """R27: every case, `rounds` times: each call comes when its time has come, also if the process dies meanwhile."""
    games = ((number, name) for number in range(run.rounds) for name in CASES)
    await run.each((_case(run, number, name) for number, name in games), _WORLDS)
    run.figure.rounds = run.rounds * len(CASES)
    run.figure.notes = {"cases": len(CASES)}


async def _case(run: Run, number: int, name: str) -> None:
    case = CASES[name]
    policy = {"probes": [30.0, 60.0, 120.0], "idle_probes": [60.0], "lease": 5.0}
    async with run.world(f"{name}.{number}", number, policy=policy, clock="engine", call_timeout=1.0) as world:
        await world.start()
        world.lean.scripts["script-1"] = deque(case.script)
        request_id = await make(world, "script-1")
        problems = await _walk(world, request_id, case)
        problems += await world.settle()
        problems += await world.close()
        run.add(world, [f"R27: {problem}" for problem in problems] + check(world))


async def _walk(world: World, request_id: str, case: Case) -> list[str]:
    """Go from due time to due time, killing the process in every second wait; return what came too early."""
    problems: list[str] = []
    for step in range(_STEPS):
        request = await _rested(world, request_id)
        state = request.get("state", "requested")
        if state in {"fetched", "failed", "expired", "cancelled"}:
            return problems if state == case.end else [*problems, f"ended {state}, not {case.end}"]
        if state == "reconnect_required":
            world.lean.reconnect(request["reconnect_id"])
            await asyncio.sleep(0.1)
            continue
        due = datetime.fromisoformat(request["due_at"])
        calls = len(world.lean.asked)
        if not step and (due - world.lean.now()).total_seconds() < case.least - 1:
            problems.append(f"the first wait is too short: {due - world.lean.now()}, not {case.least} s")
        if step % 2:
            await world.kill(world.children[-1])
            await world.start()
            again = await world.do("get", id=request_id)
            if again["due_at"] != request["due_at"]:
                problems.append("the due time did not outlive the process")
        await world.shift(due - world.lean.now() - _SLACK)
        await asyncio.sleep(0.1)
        if len(world.lean.asked) > calls and world.lean.asked[-1].at < due - _SLACK:
            problems.append(f"a call came at {world.lean.asked[-1].at}, due at {due}")
        await world.shift(_SLACK * 2)
    return [*problems, f"did not end in {_STEPS} steps"]


async def _rested(world: World, request_id: str) -> dict[str, Any]:
    """Return the request once it has ended, needs its user, or waits for a time to come."""
    request: dict[str, Any] = {}
    for _ in range(200):
        request = await world.do("get", id=request_id)
        if request.get("state") in {"fetched", "failed", "expired", "reconnect_required"}:
            return request
        due = request.get("due_at")
        is_placed = len(world.lean.asked) > 0 and request.get("version", 0) > 0
        if is_placed and due is not None and datetime.fromisoformat(due) > world.lean.now() + 2 * _SLACK:
            return request
        await asyncio.sleep(0.05)
    return request
