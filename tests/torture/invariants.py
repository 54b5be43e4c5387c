"""I1 to I7: what must hold of the rows, the diary and Lean's memory, whatever was done to the children."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from leanflow import Accepted, DataRequest, Declined, Policy, State, decide
from leanflow._effects import Announce
from leanflow.events import AnswerEvent, Event, event_from_dict
from tests.torture.bases import Rows
from tests.torture.child import _policy
from tests.torture.lean import PAGES, Sent
from tests.torture.world import World

__all__ = ["check", "check_rest"]

_INBOX_LIFE = timedelta(days=90)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BAD_LOG = re.compile(r" (ERROR|CRITICAL) |never retrieved|never awaited|RuntimeWarning|Fatal")


def check(world: World, *, expected_log: str | None = None, policy: Policy | None = None) -> list[str]:
    """Return every violation, in words that name the invariant; empty if all hold.

    Args:
        world: its children have stopped.
        expected_log: a pattern of log lines that are no violation.
        policy: the children's, if not the quick one.
    """
    rows = world.base.read()
    return [*_calls(world, rows), *_pages(world, rows), *check_rest(world, expected_log=expected_log, policy=policy)]


def check_rest(world: World, *, expected_log: str | None = None, policy: Policy | None = None) -> list[str]:
    """Return the violations of what holds whatever Lean does: all but the count of calls, and what data should be."""
    rows = world.base.read()
    heard = world.heard
    replayer = _Replayer(policy or _quick(world), heard)
    problems = [*_acknowledged(world, rows), *_answered(world, rows), *_events(rows)]
    announced: dict[str, list[str]] = {}
    for request_id, row in rows.requests.items():
        problems.extend(replayer.replay(row, rows.history.get(request_id, []), announced))
        if (request_id in rows.pages) != (row["state"] == State.fetched):
            problems.append(f"pages: {request_id} is {row['state']} and has {len(rows.pages.get(request_id, ()))}")
    problems += [*_announcements(world, announced, heard), *_rest(world, rows)]
    return problems + list(_log(world, expected_log))


def _quick(world: World) -> Policy:
    from tests.torture.child import QUICK

    quick = QUICK if world.settings.get("quick", True) else {}
    return _policy({**quick, **world.settings.get("policy", {})})


def _acknowledged(world: World, rows: Rows) -> Iterator[str]:
    """I1: what was acknowledged exists, in a legal state."""
    for key, request_id in world.acknowledged.items():
        if request_id in world.erased | world.purged:
            continue
        row = rows.requests.get(request_id)
        if row is None:
            yield f"I1: {key} was acknowledged as {request_id} and is gone"
        elif row["state"] not in set(State):
            yield f"I1: {request_id} is in no state: {row['state']}"
    keys = Counter(row["key"] for row in rows.requests.values() if row["key"] is not None)
    yield from (f"I1: {number} requests have the key {key}" for key, number in keys.items() if number > 1)


def _answered(world: World, rows: Rows) -> Iterator[str]:
    """I2: what was answered 200 is in history, inbox, or parked."""
    known = rows.inbox | rows.parked | {row["key"] for entries in rows.history.values() for row in entries}
    for sent in world.lean.sent.values():
        if sent.oks and f"event:{sent.event_id}" not in known and not _may_be_gone(world, sent):
            yield f"I2: {sent.type} {sent.event_id} was answered 200 and is nowhere"


def _may_be_gone(world: World, sent: Sent) -> bool:
    """Return whether nobody needs to know a webhook any more: it is of an erased request, or older than the inbox."""
    payload = json.loads(sent.raw)["payload"]
    result = world.lean.results.get(payload.get("reconnect_id", payload.get("id", "")))
    is_erased = result is not None and result.entity_id in _gone(world)
    return is_erased or sent.at < world.lean.now() - _INBOX_LIFE


def _gone(world: World) -> set[str]:
    """Return the entities whose requests were erased or purged."""
    return {key.split("/")[0] for key, one in world.acknowledged.items() if one in world.erased | world.purged}


def _events(rows: Rows) -> Iterator[str]:
    """I5: no request has accepted one event twice."""
    for request_id, entries in rows.history.items():
        accepted = Counter(row["key"] for row in entries if row["declined"] is None)
        for key, number in accepted.items():
            if number > 1:
                yield f"I5: {request_id} accepted {key} {number} times"


def _calls(world: World, rows: Rows) -> Iterator[str]:
    """I6: each call beyond the recorded answers was cut off by a fault of its own."""
    faults = {child.tag: child.faults for child in world.children}
    calls: Counter[tuple[str, str]] = Counter()
    by: dict[tuple[str, str], set[str]] = defaultdict(set)
    for asked in world.lean.asked:
        if not asked.page:
            calls[asked.entity_id, asked.resource] += 1
            by[asked.entity_id, asked.resource].add(asked.child)
    answers: Counter[tuple[str, str]] = Counter()
    gone = _gone(world)
    for request_id, entries in rows.history.items():
        row = rows.requests.get(request_id)
        if row is not None:
            name = row["entity_id"], row["resource"]
            answers[name] += sum(entry["key"].startswith("answer:") for entry in entries)
    for name, number in calls.items():
        unrecorded = number - answers[name]
        hit = sum(faults[tag] for tag in by[name])
        if name[0] not in gone and unrecorded > hit and not name[0].startswith("script"):
            said = f"I6: {name} was called {number} times, {answers[name]} answers are recorded, {hit} faults hit"
            yield f"{said}; {_tale(world, rows, *name)}"


def _tale(world: World, rows: Rows, entity_id: str, resource: str) -> str:
    """Return what was called and recorded of a request, by the clock: it tells a lost lease from a call too many."""
    moments = [
        (asked.at, f"{asked.kind} by {asked.child}")
        for asked in world.lean.asked
        if (asked.entity_id, asked.resource, asked.page) == (entity_id, resource, 0)
    ]
    for request_id, row in rows.requests.items():
        if (row["entity_id"], row["resource"]) == (entity_id, resource):
            moments += [(_moment(entry["at"]), entry["key"]) for entry in rows.history[request_id]]
    return ", ".join(f"{at:%H:%M:%S.%f} {what}" for at, what in sorted(moments))


def _moment(at: int | str) -> datetime:
    """Return the time of a row: microseconds, or text."""
    return _EPOCH + at * datetime.resolution if isinstance(at, int) else datetime.fromisoformat(at)


@attrs.frozen
class _Replayer:
    """I3: versions without gap, and the same record again from history alone."""

    policy: Policy
    heard: list[dict[str, Any]]
    firsts: dict[str, DataRequest] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        firsts = {}
        for line in self.heard:
            if line["sink"] == "teller" and line["subject"]["request"].get("version", 0) == 0:
                request = DataRequest.from_dict(line["subject"]["request"])
                firsts[request.id] = request
        object.__setattr__(self, "firsts", firsts)

    def replay(
        self, row: Mapping[str, Any], entries: list[dict[str, Any]], announced: dict[str, list[str]]
    ) -> Iterator[str]:
        """Yield what is wrong with one request's history; add what it must have announced to `announced`."""
        request_id = row["id"]
        versions = [entry["version"] for entry in entries if entry["declined"] is None]
        if versions != list(range(row["version"] + 1)):
            yield f"I3: {request_id} is at version {row['version']} and has history {versions}"
            return
        request = self.firsts.get(request_id)
        if request is None:
            yield f"I4: the creation of {request_id} was never announced"
            return
        keys = announced.setdefault(request_id, [f"{request_id}:0:requested"])
        for entry in entries[1:]:
            event = _event(entry)
            if isinstance(event, AnswerEvent) and event.call_no is not None:
                request = request.moved({"call_no": event.call_no})  # claims raise it, outside history
            decision = decide(request, event, self.policy)
            problem = _differs(entry, decision)
            if problem is not None and not (entry["declined"] and isinstance(event, AnswerEvent)):
                yield f"I3: {request_id} at version {entry['version']}: {problem}"
                return
            if entry["declined"] is None:
                assert isinstance(decision, Accepted)
                request = decision.request
                if any(isinstance(effect, Announce) for effect in decision.effects):
                    keys.append(f"{request_id}:{request.version}:{request.state}")
        stored = json.loads(row["record"])
        replayed = json.loads(json.dumps(request.to_dict()))
        for told in (stored, replayed):
            told.pop("call_no", None)
        if stored != replayed:
            names = sorted(n for n in stored.keys() | replayed.keys() if stored.get(n) != replayed.get(n))
            yield f"I3: {request_id} replayed differs from the row in {names}"


def _event(entry: Mapping[str, Any]) -> Event:
    at = _EPOCH + timedelta(microseconds=entry["at"])
    return event_from_dict(json.loads(entry["event"]), at=at, key=entry["key"])


def _differs(entry: Mapping[str, Any], decision: Accepted | Declined) -> str | None:
    if isinstance(decision, Declined):
        return (
            None
            if entry["declined"] == str(decision)
            else f"{entry['tag']} is recorded as accepted, replayed {decision}"
        )
    if entry["declined"] is not None:
        return f"{entry['tag']} is recorded as declined ({entry['declined']}), replayed accepted"
    if decision.request.state.value != entry["to_state"] or decision.trigger != entry["trigger"]:
        return f"{entry['tag']} is recorded to {entry['to_state']}, replayed to {decision.request.state}"
    return None


def _announcements(world: World, announced: dict[str, list[str]], heard: list[dict[str, Any]]) -> Iterator[str]:
    """I4: each change was heard at least once by each sink, under one key, first copies in the order of versions."""
    for sink in ("teller", "bus") if world.settings.get("bus") else ("teller",):
        order: dict[str, list[str]] = defaultdict(list)
        for line in heard:
            if line["sink"] == sink and line["key"].count(":") == 2:
                order[line["key"].split(":")[0]].append(line["key"])
        for request_id, keys in announced.items():
            first = [key for key in dict.fromkeys(order.get(request_id, [])) if key.split(":")[1].isdecimal()]
            if first != keys:
                yield f"I4: {sink} was to hear {keys} and heard {first}"
    listened = Counter(line["key"] for line in heard if line["sink"] == "listener")
    for sent in world.lean.sent.values():
        if sent.oks and not listened[f"event:{sent.event_id}"] and not _may_be_gone(world, sent):
            yield f"I4: the listener never heard {sent.type} {sent.event_id}"


def _rest(world: World, rows: Rows) -> Iterator[str]:
    """I7: everything has ended or waits with a due time, and nothing is undelivered."""
    for request_id, row in rows.requests.items():
        if not State(row["state"]).is_end and row["due_at"] is None:
            yield f"I7: {request_id} is in {row['state']} and waits for nothing"
    left = [row["key"] for row in rows.outbox if row["kind"] != "report"]  # an orphan may be reported at any time
    if left:
        yield f"I7: {len(left)} announcements were never delivered, as {left[0]}"


def _pages(world: World, rows: Rows) -> Iterator[str]:
    """What was fetched was stored whole, once, and is this request's."""
    for request_id, row in rows.requests.items():
        pages = rows.pages.get(request_id, {})
        wanted = list(range(PAGES)) if row["state"] == "fetched" else []
        if sorted(pages) != wanted:
            yield f"pages: {request_id} is {row['state']} and has pages {sorted(pages)}"
        for number, raw in pages.items():
            items = json.loads(raw)["data"][row["resource"]]
            if [item["account_id"] for item in items] != [f"{row['entity_id']}:{number}"]:
                yield f"pages: page {number} of {request_id} is another's"


def _log(world: World, expected: str | None) -> Iterator[str]:
    if not world.log.exists():
        return
    for line in world.log.read_text(errors="replace").splitlines():
        if _BAD_LOG.search(line) and not (expected and re.search(expected, line)):
            yield f"log: {line}"
