"""The parent's Lean: answers calls over HTTP, has webhooks to send, and remembers both. It is half of the oracle.

What it does with a call is said by the first word of the entity's name, as in ``pend-17``:

* ``ok``: data, on two pages.
* ``pend``: PENDING, and the results are announced: before the answer has left for some, after it for others.
* ``early``: the same, always before the answer has left, and taken in before it, as a rule.
* ``user``: RECONNECT_REQUIRED, until `reconnect` is told that the user came.
* ``slow``: data, after more than a third of the children's lease.
* ``gate``: data, the first time once its gate is opened.
* ``fail``: DATA_NOT_FOUND for the first placement, data for the second.
* ``hush``, ``gone``: PENDING, and never anything else; ``dumb``: RECONNECT_REQUIRED, for ever.
* ``quiet``: PENDING, and the results come but are not announced.
* ``script``: the answers of `scripts`, one after the other, then data.

A second word (``pend-flaky-3``, ``ok-poison-4``) is for the handlers.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import attrs
from aiohttp import web

from leanflow import sign

__all__ = ["SECRET", "Asked", "Gate", "Lean", "Result", "Sent"]

SECRET = "torture"
PAGES = 2
_PATIENCE = 40  # looks, 5 ms apart, whether an early webhook was answered before its call is
_HANGS = 2.0  # seconds; twice what the children wait in those tests
_SLOW = 0.8  # seconds; a lease is renewed after a third of 2


@attrs.define(eq=False)
class Asked:
    """One call that came: to place, or to collect; by which child, when (on Lean's clock), and for what."""

    kind: str
    entity_id: str
    resource: str
    page: int
    child: str
    at: datetime


@attrs.define(eq=False)
class Result:
    """What one placement led to."""

    results_id: str
    entity_id: str
    resource: str
    status: str


@attrs.define(eq=False)
class Sent:
    """One webhook: its bytes, and how often a child answered 200."""

    event_id: str
    type: str
    raw: bytes
    at: datetime
    oks: int = 0

    @property
    def headers(self) -> dict[str, str]:
        """The headers that vouch for it."""
        return {"Content-Type": "application/json", "lean-signature": sign(SECRET, self.raw)}


@attrs.define(eq=False)
class Gate:
    """Where a call waits for its answer."""

    reached: asyncio.Event = attrs.field(factory=asyncio.Event)
    opened: asyncio.Event = attrs.field(factory=asyncio.Event)


class Lean:
    """Serves one world.

    Args:
        dice: for ids, and for what comes first.
        deliver: called with each webhook that is to be delivered.
    """

    def __init__(self, dice: random.Random, deliver: Callable[[Sent], None]) -> None:
        self.deliver = deliver
        self.offset = 0.0
        self.unsaid = 0  # what it is to say a moment from now
        self.asked: list[Asked] = []
        self.results: dict[str, Result] = {}
        self.sent: dict[str, Sent] = {}
        self.placed: dict[tuple[str, str], int] = {}
        self.scripts: dict[str, deque[Any]] = {}
        self.gates: dict[str, Gate] = defaultdict(Gate)
        self.events_page = 100
        self._dice = dice
        self._runner: web.AppRunner
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/data/v2/results/{id}", self._collect)
        app.router.add_get("/data/v2/{resource}", self._place)
        app.router.add_get("/events/v1", self._events)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=4096).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for gate in self.gates.values():
            gate.opened.set()
        await self._runner.cleanup()

    # what the parent says

    def now(self) -> datetime:
        """Return Lean's time."""
        return datetime.now(UTC) + timedelta(seconds=self.offset)

    def says(self, kind: str, payload: dict[str, Any], *, deliver: bool = True) -> Sent:
        """Send a webhook, or only list it in the Events API."""
        event_id, at = self._id(), self.now()
        body = {"type": kind, "payload": payload, "message": "so it is", "timestamp": _text(at), "event_id": event_id}
        sent = Sent(event_id, kind, json.dumps(body).encode(), at)
        self.sent[event_id] = sent
        if deliver:
            self.deliver(sent)
        return sent

    def ready(self, results_id: str, *, deliver: bool = True) -> Sent:
        """Bring the data, and say so."""
        self.results[results_id].status = "OK"
        return self.says("results.ready", {"id": results_id}, deliver=deliver)

    def reconnect(self, reconnect_id: str, *, deliver: bool = True) -> None:
        """Let the user in: bring the data, and say both things in any order."""
        result = self.results[reconnect_id]
        if result.status != "RECONNECT_REQUIRED":
            return
        result.status = "OK"
        news: list[tuple[str, dict[str, Any]]] = [
            ("entity.reconnected", {"id": result.entity_id, "reconnect_id": reconnect_id}),
            ("results.ready", {"id": reconnect_id}),
        ]
        self._dice.shuffle(news)
        for kind, payload in news:
            self.says(kind, payload, deliver=deliver)

    def _later(self, seconds: float, say: Callable[..., object], *words: Any) -> None:
        def said() -> None:
            self.unsaid -= 1
            say(*words)

        self.unsaid += 1
        asyncio.get_running_loop().call_later(seconds, said)

    # calls

    def _heard(self, http: web.Request, kind: str, entity_id: str, resource: str) -> int:
        page = int(http.query.get("page", "0"))
        child = http.headers.get("x-child", "")
        self.asked.append(Asked(kind, entity_id, resource, page, child, self.now()))
        return page

    async def _place(self, http: web.Request) -> web.StreamResponse:
        entity_id, resource = http.query["entity_id"], http.match_info["resource"]
        page = self._heard(http, "place", entity_id, resource)
        if page:
            return self._data(entity_id, resource, page, None)
        number = self.placed[entity_id, resource] = self.placed.get((entity_id, resource), 0) + 1
        kind = entity_id.split("-")[0]
        if kind == "slow":
            await asyncio.sleep(_SLOW)
        if kind == "gate" and number == 1:
            self.gates[entity_id].reached.set()
            await self.gates[entity_id].opened.wait()
        if kind == "fail" and number == 1:
            return _json({"status": "DATA_NOT_FOUND", "message": "nothing", "timestamp": _text(self.now())}, 404)
        if kind == "script":
            return await self._scripted(http, entity_id, resource)
        if kind in {"pend", "early", "hush", "gone", "quiet"}:
            return await self._pending(entity_id, resource, kind)
        if kind in {"user", "dumb"}:
            result = self._result(entity_id, resource, "RECONNECT_REQUIRED")
            return _json(self._envelope("RECONNECT_REQUIRED", result.results_id))
        return self._data(entity_id, resource, 0, None)

    async def _pending(self, entity_id: str, resource: str, kind: str) -> web.StreamResponse:
        result = self._result(entity_id, resource, "PENDING")
        answer = _json(self._envelope("PENDING", result.results_id), 202)
        if kind == "early":
            sent = self.ready(result.results_id)
            for _ in range(_PATIENCE):
                if sent.oks:
                    break
                await asyncio.sleep(0.005)
        elif kind == "pend":
            self._later(self._dice.choice((0, 0, 0.001, 0.02)), self.ready, result.results_id)
        elif kind == "quiet":
            result.status = "OK"
        return answer

    async def _collect(self, http: web.Request) -> web.StreamResponse:
        result = self.results.get(http.match_info["id"])
        if result is None:
            return _json({"status": "UNKNOWN_RESULTS_ID", "message": "unknown", "timestamp": _text(self.now())}, 404)
        page = self._heard(http, "collect", result.entity_id, result.resource)
        if result.entity_id.startswith("script"):
            return await self._scripted(http, result.entity_id, result.resource, result.results_id)
        if result.status == "OK":
            return self._data(result.entity_id, result.resource, page, result.results_id)
        return _json(self._envelope(result.status, result.results_id), 202 if result.status == "PENDING" else 200)

    async def _scripted(
        self, http: web.Request, entity_id: str, resource: str, results_id: str | None = None
    ) -> web.StreamResponse:
        """Do what comes next: ``ok``, ``cut``, ``hang``, ``pending``, ``reconnect``, or (status, headers, body)."""
        script = self.scripts.get(entity_id)
        word = script.popleft() if script else "ok"
        if word == "hang":
            await asyncio.sleep(_HANGS)
            word = "ok"
        if word == "cut":
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(http)
            await response.write(b'{"status": "O')
            assert http.transport is not None
            http.transport.close()
            return response
        if isinstance(word, str) and word in {"pending", "reconnect"}:
            status = "PENDING" if word == "pending" else "RECONNECT_REQUIRED"
            result = self._result(entity_id, resource, status)
            if word == "pending":
                self._later(0.05, self.says, "results.ready", {"id": result.results_id})
            return _json(self._envelope(status, result.results_id))
        if isinstance(word, tuple):
            status, headers, body = word
            return web.Response(status=status, headers=headers, body=body)
        return self._data(entity_id, resource, int(http.query.get("page", "0")), results_id)

    async def _events(self, http: web.Request) -> web.StreamResponse:
        since = datetime.fromisoformat(http.query["from"]) if "from" in http.query else datetime.min.replace(tzinfo=UTC)
        page, size = int(http.query.get("page", "0")), self.events_page
        listed = [sent for sent in self.sent.values() if sent.at >= since]
        chosen = b",".join(sent.raw for sent in listed[page * size : (page + 1) * size])
        facts = {"number": page, "size": size, "total_pages": max(1, -(-len(listed) // size))}
        body = b'{"data":[' + chosen + b'],"page":' + json.dumps(facts).encode() + b"}"
        return web.Response(body=body, content_type="application/json")

    # answers

    def data(self, entity_id: str, resource: str, page: int, results_id: str | None) -> dict[str, Any]:
        """Return the body of one page of data."""
        items = [{"account_id": f"{entity_id}:{page}", "name": "current"}]
        place = {"number": page, "size": 1, "total_pages": PAGES, "total_elements": PAGES}
        return {**self._envelope("OK", results_id), "data": {resource: items, "page": place}}

    def _data(self, entity_id: str, resource: str, page: int, results_id: str | None) -> web.StreamResponse:
        return _json(self.data(entity_id, resource, page, results_id))

    def _envelope(self, status: str, results_id: str | None) -> dict[str, Any]:
        return {"status": status, "results_id": results_id, "message": status, "timestamp": _text(self.now())}

    def _result(self, entity_id: str, resource: str, status: str) -> Result:
        result = Result(self._id(), entity_id, resource, status)
        self.results[result.results_id] = result
        return result

    def _id(self) -> str:
        return str(UUID(int=self._dice.getrandbits(128)))


def _json(body: Any, status: int = 200) -> web.StreamResponse:
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json")


def _text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
