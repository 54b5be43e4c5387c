"""Replay: recorded histories against today's machine, and against one that was changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import attrs
import pytest

from leanflow import LeanFlow, Policy, State
from leanflow._machine import DEFAULT_POLICY, Rules
from leanflow._table import TABLE, Row
from leanflow.errors import InvalidRequest
from leanflow.testing import FakeClock, paths, travel
from leanflow.testing._replay import Difference, assert_replays, replay, replay_by
from leanflow_adapters.memory import MemoryStore
from tests.support.engine import deliver, engine
from tests.support.lean import Lean, webhook


async def exported(flows: LeanFlow, request_id: str) -> dict[str, Any]:
    """An export that has been a file."""
    read: dict[str, Any] = json.loads(json.dumps(await flows.export(request_id)))
    return read


async def lives() -> list[dict[str, Any]]:
    """Histories with all that histories can have: renewals, wakes, parked and declined events, overtaken calls."""
    clock = FakeClock()
    lean = Lean(clock)
    async with engine(MemoryStore(), lean, clock) as flows:
        first = lean.says("results.ready", {"id": "00000000-0000-0000-0000-000000000002"})
        await deliver(flows, first)  # before the request that it is for
        lean.will("e", "pending", "reconnect", "ok")
        parked = await flows.request("accounts", entity_id="e")
        lean.will("e", "reconnect")
        woken = await flows.request("identity", entity_id="e")
        asked = await flows.request("accounts", entity_id="e", key="own")
        await flows.callback(asked.id, {"status": "SUCCESS"}, prompt=4)
        await travel(flows, clock, timedelta(minutes=2))
        for request in (parked, woken):
            if (await flows.get(request.id)).state.needs_user:
                prompt = await flows.prompt(request.id)
                lean.reconnect(prompt.reconnect_id)
        await deliver(flows, *lean.take())
        await travel(flows, clock, timedelta(hours=1))
        lean.will("f", "reconnect")
        expired = await flows.request("accounts", entity_id="f", give_up_after=timedelta(hours=1))
        await travel(flows, clock, timedelta(days=40))
        renewed = await flows.renew(expired.id)
        await deliver(flows, webhook("results.ready", {"id": expired.results_id}, event_id="late", at=clock.now()))
        lean.will("g", "lost", "DATA_NOT_FOUND")
        failed = await flows.request("accounts", entity_id="g")
        await travel(flows, clock, timedelta(days=1))
        ids = [each.id for each in (parked, woken, asked, expired, renewed, failed)]
        return [await exported(flows, each) for each in dict.fromkeys(ids)]


async def test_what_an_engine_recorded_comes_out_the_same() -> None:
    """Rows and record alike, for every kind of row that a history can have."""
    histories = await lives()
    rows = [row for history in histories for row in history["history"]]
    assert {"renewed", "results_ready", "entity_proved_live", "call_broke", "action_due"} <= {
        row["tag"] for row in rows
    }
    assert {"stale", "late"} <= {row["declined"] for row in rows}
    for history in histories:
        assert replay(history) is None
        assert_replays(history)


def test_every_path_replays() -> None:
    """The export of a path is one of an engine's, and comes out the same."""
    for path in [*paths(covering="decisions"), *paths(api="v1")]:
        assert replay(json.loads(json.dumps(path.export()))) is None


# --- a machine that was changed ----------------------------------------------------------------------------------


def changed(trigger: str, guard: str | None, **fields: Any) -> Rules:
    """The rules of a table with one row changed."""
    [number] = [n for n, row in enumerate(TABLE) if (row.trigger, row.guard_name) == (trigger, guard)]
    row: Row = attrs.evolve(TABLE[number], **fields)
    return Rules.of((*TABLE[:number], row, *TABLE[number + 1 :]))


def the_path(end: str) -> Mapping[str, Any]:
    """The export of the path whose name ends so."""
    [path] = [path for path in paths() if path.name.endswith(end)]
    return path.export()


def differ(rules: Rules, history: Mapping[str, Any]) -> Difference:
    """The difference that there must be."""
    found = replay_by(rules, history, policy=DEFAULT_POLICY)
    assert found is not None
    return found


def test_a_row_that_leads_elsewhere_is_found() -> None:
    """The first row that comes out otherwise is named, with what was recorded and what comes out today."""
    history = the_path("(reconnect,prompt,hint-success)")
    assert replay(history) is None
    found = differ(changed("hinted", None, dest=State.reconnect_required), history)
    assert (found.row, found.version, found.what) == (3, 3, "decision")
    assert found.recorded == "hinted prompt_number=1 status=SUCCESS: awaiting_user stays"
    assert found.today == "hinted prompt_number=1 status=SUCCESS: awaiting_user -> reconnect_required"
    assert str(found).startswith("request 0195-example, row 3 (version 3), decision\n  recorded: hinted ")
    assert str(found).endswith(found.timeline)
    assert repr(found) == str(found)


def test_an_event_that_is_accepted_or_declined_otherwise_is_found() -> None:
    """In both directions, and when another guard is the reason."""
    history = the_path("(reconnect,prompt,hint-success)")
    without = Rules.of(tuple(row for row in TABLE if row.trigger != "hinted"))
    assert differ(without, history).today == "hinted prompt_number=1 status=SUCCESS: declined: late"

    [late] = [path for path in paths(covering="decisions") if path.name.endswith("(reconnect,prompt-too-late)")]
    forgiving = changed("prompted", "may_be_prompted", guards=())
    assert differ(forgiving, late.export()).recorded == "prompted: declined: guard:may_be_prompted"
    assert differ(forgiving, late.export()).today == "prompted: reconnect_required -> awaiting_user"


def test_a_change_that_shows_only_in_the_record_is_found() -> None:
    """The same states by the same triggers, but another field: it is named, with both values."""
    history = the_path("(reconnect,prompt,hint-success)")
    found = differ(changed("hinted", None, change=lambda *_: {}), history)
    assert (found.row, found.version, found.what) == (None, 3, "probe_at")
    assert "the record in the end" in str(found)
    assert found.recorded != found.today


def test_another_policy_is_a_change_too() -> None:
    """Waits that are shorter today would be over already, or end at another time."""
    history = the_path("(reconnect,prompt,hint-success)")
    found = replay(history, policy=Policy(hint_wait=timedelta(minutes=1)))
    assert found is not None
    assert found.what == "probe_at"
    loop = the_path("(reconnect,prompt,reconnect-anew,prompt,reconnect-anew,prompt,reconnect-anew)")
    found = replay(loop, policy=Policy(max_rounds=2))
    assert found is not None
    assert found.today.endswith("awaiting_user -> failed")


def test_a_hole_in_a_history_is_found() -> None:
    """A row that is gone shows in the next."""
    history = {**the_path("(reconnect,prompt,hint-success)")}
    history["history"] = [row for row in history["history"] if row["tag"] != "prompted"]
    found = replay(history)
    assert found is not None
    assert (found.what, found.recorded, found.today) == ("from_state", "awaiting_user", "reconnect_required")
    history = {**the_path("(pending,not-ready)")}
    history["history"] = [row for row in history["history"] if row["version"] != 1]
    assert replay(history) is not None
    with pytest.raises(AssertionError, match="recorded: "):
        assert_replays(history)


def test_an_answer_that_was_overtaken_says_so() -> None:
    """Its row tells which call was the latest; an answer of an older call is declined again."""
    [path] = [
        path for path in paths(covering="decisions") if path.name.endswith("(pending,pending-to-an-older-call)")
    ] or [path for path in paths(covering="decisions") if "-to-an-older-call)" in path.name][:1]
    history = path.export()
    row = history["history"][-1]
    assert row["declined"] == "stale"
    assert row["event"]["overtaken_by"] == row["event"]["call_no"] + 1
    assert replay(history) is None
    del row["event"]["overtaken_by"]
    row["event"]["call_no"] += 1
    assert replay(history) is not None


@pytest.mark.parametrize(
    "broken",
    [
        "text",
        {},
        {"leanflow": 2, "request": {}, "history": []},
        {"leanflow": 1, "request": {}, "history": []},
        {"leanflow": 1, "request": the_path("(pending,not-ready)")["request"], "history": []},
        {"leanflow": 1, "request": the_path("(pending,not-ready)")["request"], "history": [{"tag": "created"}]},
    ],
)
def test_what_is_no_export_is_refused(broken: Any) -> None:
    """With one error that says what it should be, never a bare one."""
    with pytest.raises(InvalidRequest, match="history"):
        replay(broken)


def test_an_event_of_a_later_version_is_told() -> None:
    """A tag that this leanflow does not know is no difference: it cannot be judged."""
    history = the_path("(pending,not-ready)")
    history["history"][1]["event"] = {"event": "teleported"}
    with pytest.raises(InvalidRequest, match="teleported"):
        replay(history)
