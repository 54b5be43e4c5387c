"""A tiny Lean for tests of the engine: it holds the truth about calls, results and reconnects, and nothing else.

It answers through the `Transport` port, at once and in memory. It does not deliver its webhooks: tests take them from
`sent` and deliver, repeat, reorder or lose them.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import attrs

from leanflow import Answer, Call, sign
from leanflow.errors import CallFailed
from leanflow.ports import Clock

__all__ = ["SECRET", "Lean", "Reaction", "Refusing", "Result", "Sent", "answer", "signed", "webhook"]

SECRET = "the webhook secret"

Reaction = str | Answer | Exception | Callable[[Call], Answer]
"""What Lean does with a placement: a word (``ok``, ``pending``, ``reconnect``, ``lost``, ``unsent``, a failure code),
an answer, an error, or a function of the call."""


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer with a JSON body."""
    return Answer(status=status, body=json.dumps(body).encode(), headers=headers or {})


def webhook(
    kind: str, payload: Mapping[str, Any], *, event_id: str | None = None, at: datetime | None = None, **more: Any
) -> bytes:
    """Return the raw body of a webhook."""
    body: dict[str, Any] = {"type": kind, "payload": dict(payload), "message": "as it is", **more}
    if at is not None:
        body["timestamp"] = _text(at)
    if event_id is not None:
        body["event_id"] = event_id
    return json.dumps(body).encode()


def signed(raw: bytes, secret: str = SECRET) -> dict[str, str]:
    """Return the headers that vouch for a body."""
    return {"Content-Type": "application/json", "Lean-Signature": sign(secret, raw)}


@attrs.define
class Result:
    """What Lean knows of one placement."""

    results_id: str
    reconnect_id: str
    entity_id: str
    status: str
    resource: str = "accounts"
    pages: int = 1


@attrs.frozen
class Sent:
    """A webhook as it was sent, and as the Events API lists it."""

    raw: bytes
    listed: dict[str, Any]
    at: datetime


class Lean:
    """Lean, as far as the engine can tell."""

    is_open = True

    def __init__(self, clock: Clock, *, api: str = "v2") -> None:
        self._clock = clock
        self._api = api
        self.calls: list[Call] = []
        self.placed: Counter[str] = Counter()
        self.fetched: Counter[str] = Counter()
        self.plan: dict[str, deque[Reaction]] = {}
        self.results: dict[str, Result] = {}
        self.refreshes: dict[str, dict[str, Any]] = {}
        self.sent: list[Sent] = []
        self.consent = "ACTIVE"
        self.pages = 1
        self.down = False
        self.tokens = 0
        self.before: Callable[[Call], Any] | None = None
        self.events_page = 100
        self._numbers = 0
        self._taken = 0

    # what the test says

    def will(self, entity_id: str, *reactions: Reaction) -> None:
        """Plan what the next placements for an entity bring; when the plan is empty it is ``ok``."""
        self.plan.setdefault(entity_id, deque()).extend(reactions)

    def finish(self, results_id: str, *, announce: bool = True) -> None:
        """Bring the data of a pending call, and say so."""
        self.results[results_id].status = "OK"
        if announce:
            self.says("results.ready", {"id": results_id})

    def reconnect(self, reconnect_id: str, *, ready: bool = True) -> None:
        """Let the user in at the bank, bring the data if `ready`, and say both."""
        found = [r for r in self.results.values() if r.reconnect_id == reconnect_id]
        for result in found:
            self.says("entity.reconnected", {"id": result.entity_id, "reconnect_id": reconnect_id})
            result.status = "PENDING"
            if ready:
                self.finish(result.results_id)

    def hold(self) -> tuple[asyncio.Event, asyncio.Event]:
        """Keep calls waiting; return what is set once one has come, and what is to be set for them to go on."""
        came, go = asyncio.Event(), asyncio.Event()

        def before(_call: Call) -> object:
            came.set()
            return go.wait()

        self.before = before
        return came, go

    def says(self, kind: str, payload: Mapping[str, Any]) -> bytes:
        """Send a webhook: it is in `sent`, and in the Events API. In v1 it has no event id, but is listed with one."""
        at, event_id = self._clock.now(), self._id()
        raw = webhook(kind, payload, event_id=None if self._api == "v1" else event_id, at=at)
        self.sent.append(Sent(raw=raw, listed={**json.loads(raw), "event_id": event_id}, at=at))
        return raw

    def take(self) -> list[bytes]:
        """Return what was sent since the last time."""
        raws = [sent.raw for sent in self.sent[self._taken :]]
        self._taken = len(self.sent)
        return raws

    # the port

    async def send(self, call: Call) -> Answer:
        """Answer one call."""
        if self.before is not None:
            waiting = self.before(call)
            if waiting is not None:
                await waiting
        if self.down:
            raise CallFailed("connection refused", maybe_sent=False)
        self.calls.append(call)
        return self._answer(call)

    async def token(self, customer_id: str) -> str | None:
        """Return a fresh token each time."""
        if self.down:
            raise CallFailed("connection refused", maybe_sent=False)
        self.tokens += 1
        return f"token {self.tokens} of {customer_id}"

    async def aclose(self) -> None:
        """Close nothing."""

    # the answers

    def _answer(self, call: Call) -> Answer:
        path = call.path
        if path == "/events/v1":
            return self._events(call)
        if path.startswith("/customers/v1/"):
            return self._customers(call)
        if "/results/" in path:
            return self._results(path.rsplit("/", 1)[1], int(call.query.get("page", "0")))
        if path.startswith("/data/v2/refreshes"):
            return self._refreshes(call)
        return self._place(call)

    def _place(self, call: Call) -> Answer:
        entity_id = call.query.get("entity_id") or json.loads(call.body or b"{}")["entity_id"]
        resource = call.path.rsplit("/", 1)[1].replace("-", "_")
        page = int(call.query.get("page", "0"))
        if page:
            return self._data(entity_id, resource, page, None)
        self.placed[entity_id] += 1
        plan = self.plan.get(entity_id)
        reaction = plan.popleft() if plan else "ok"
        if isinstance(reaction, Answer):
            return reaction
        if isinstance(reaction, Exception):
            raise reaction
        if callable(reaction):
            return reaction(call)
        return self._react(entity_id, resource, reaction)

    def _react(self, entity_id: str, resource: str, reaction: str) -> Answer:
        if reaction == "lost":
            raise CallFailed("connection reset", maybe_sent=True)
        if reaction == "unsent":
            raise CallFailed("connection refused", maybe_sent=False)
        if reaction == "ok":
            self.fetched[entity_id] += 1
            return self._data(entity_id, resource, 0, self._id())
        if reaction == "pending":
            result = self._result(entity_id, resource, "PENDING")
            return answer(self._envelope("PENDING", result.results_id), 202)
        if reaction == "reconnect":
            return self._demand(self._result(entity_id, resource, "RECONNECT_REQUIRED"))
        return answer({**self._envelope("FAILED", None), "status_detail": {"granular_status_code": reaction}})

    def _result(self, entity_id: str, resource: str, status: str) -> Result:
        results_id = self._id()
        result = Result(
            results_id=results_id,
            reconnect_id=self._id() if self._api == "v1" else results_id,
            entity_id=entity_id,
            status=status,
            resource=resource,
            pages=self.pages,
        )
        self.results[results_id] = result
        return result

    def _demand(self, result: Result) -> Answer:
        body = self._envelope("RECONNECT_REQUIRED", result.results_id)
        if self._api == "v1":
            body["payload"] = {"reconnect_id": result.reconnect_id, "type": "reconnect"}
        return answer(body)

    def _results(self, results_id: str, page: int) -> Answer:
        result = self.results.get(results_id)
        if result is None:
            return answer({"status": "UNKNOWN_RESULTS_ID", "message": "not recognized or not processed yet"}, 404)
        if result.status == "OK":
            if not page:
                self.fetched[result.entity_id] += 1
            return self._data(result.entity_id, result.resource, page, results_id)
        if result.status == "RECONNECT_REQUIRED":
            return self._demand(result)
        if result.status == "PENDING":
            return answer(self._envelope("PENDING", results_id), 202)
        detail = {"granular_status_code": result.status}
        return answer({**self._envelope("FAILED", results_id), "status_detail": detail})

    def _data(self, entity_id: str, resource: str, page: int, results_id: str | None) -> Answer:
        items = [{"entity": entity_id, "page": page, "amount": 1.5}]
        body = self._envelope("OK", results_id)
        if self._api == "v1":
            body["payload"] = {resource: items}
        else:
            body["data"] = {resource: items, "page": {"number": page, "size": 1, "total_pages": self.pages}}
        return answer(body, 200, {"lean-correlation-id": "a correlation"})

    def _envelope(self, status: str, results_id: str | None) -> dict[str, Any]:
        return {"status": status, "results_id": results_id, "message": status, "timestamp": _text(self._clock.now())}

    def _refreshes(self, call: Call) -> Answer:
        if call.method == "POST":
            entity_id = json.loads(call.body or b"{}")["entity_id"]
            self.placed[entity_id] += 1
            plan = self.plan.get(entity_id)
            reaction = plan.popleft() if plan else "ok"
            if isinstance(reaction, Answer):
                return reaction
            refresh_id = self._id()
            self.refreshes[refresh_id] = {"refresh_id": refresh_id, "entity_id": entity_id, "status": "PENDING"}
            if reaction == "lost":
                raise CallFailed("connection reset", maybe_sent=True)
            if reaction == "reconnect":
                body = {"reconnect_id": refresh_id, "refresh_id": refresh_id, "timestamp": _text(self._clock.now())}
                return answer({**body, "status": "RECONNECT_REQUIRED"})
            return answer({"refresh_id": refresh_id, "status": "OK", "timestamp": _text(self._clock.now())})
        if call.path == "/data/v2/refreshes":
            mine = [r for r in self.refreshes.values() if r["entity_id"] == call.query["entity_id"]]
            return answer({"content": mine, "page": {"number": 0, "total_pages": 1}})
        return answer(self.refreshes[call.path.rsplit("/", 1)[1]])

    def _events(self, call: Call) -> Answer:
        page = int(call.query.get("page", "0"))
        since = datetime.fromisoformat(call.query["from"]) if "from" in call.query else datetime.min.replace(tzinfo=UTC)
        listed = [sent.listed for sent in reversed(self.sent) if sent.at >= since]
        size = self.events_page
        total = max(1, -(-len(listed) // size))
        counts = {"number": page, "size": size, "total_pages": total}
        return answer({"data": listed[page * size : (page + 1) * size], "page": counts})

    def _customers(self, call: Call) -> Answer:
        tail = call.path.removeprefix("/customers/v1/").split("/")
        if call.method == "POST":
            return answer({"status": "CUSTOMER_ALREADY_EXISTS", "message": "there"}, 409)
        if tail[0] == "app-user-id":
            return answer({"customer_id": f"customer of {tail[1]}", "app_user_id": tail[1]})
        return answer({"id": tail[2], "customer_id": tail[0], "consents": [{"consent_status": self.consent}]})

    def _id(self) -> str:
        self._numbers += 1
        return str(UUID(int=self._numbers))


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Refusing:
    """A transport to a Lean that knows nobody."""

    async def send(self, call: Call) -> Answer:
        """Refuse."""
        return Answer(status=404, body=b'{"status":"UNKNOWN_ENTITY"}')

    async def token(self, customer_id: str) -> str | None:
        """None are needed."""
        return None

    async def aclose(self) -> None:
        """Nothing is open."""
