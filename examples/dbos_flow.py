"""The reconnect loop inside DBOS: `decide` says what happens, DBOS remembers where we are.

``python -m examples.dbos_flow`` serves it on PORT (8000). DBOS_URL is its database: SQLite, or Postgres by
``postgresql+psycopg://…``. The keys are LEAN_APP, LEAN_SECRET and LEAN_WEBHOOK_SECRET; LEAN_URL is where Lean is, if
it is not Lean's own sandbox (``leanflow mockbank``, say).

leanflow's core is pure: a record, an event, a decision. So whoever runs a durable-execution engine needs no store and
no worker of leanflow's. This is the whole of it: a workflow for each request, whose id is the request's.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs
from dbos import DBOS, SetWorkflowID

from leanflow import (
    Accepted,
    DataRequest,
    Event,
    Resource,
    calls,
    decide,
    next_action,
    parse_answer,
    parse_webhook,
    verify,
)
from leanflow.errors import CallFailed, MalformedBody
from leanflow.events import ActionDue, AnsweredOk, CallBroke, EntityReconnected, Prompted, ResultsReady
from leanflow_adapters.http import LeanTransport

EVENTS, RECORD = "events", "record"


# --- the loop ----------------------------------------------------------------------------------------------------


@DBOS.workflow()
def reconnect_loop(record: dict[str, Any]) -> dict[str, Any]:
    """Hold one request from its placement to its end; return its record, and Lean's pages if it was fetched."""
    request = DataRequest.from_dict(record)
    pages: list[str] = []
    while not request.state.is_end:
        number, now = f"{request.version}:{request.call_no}", the_time()
        event: Event
        match next_action(request, now):
            case None:
                assert request.due_at is not None
                told = DBOS.recv(EVENTS, timeout_seconds=(request.due_at - now).total_seconds())
                if told is None:
                    continue
                event = Prompted() if told == "prompted" else parse_webhook(told)
            case "place" | "fetch" | "probe" as action:
                request = attrs.evolve(request, call_no=request.call_no + 1)
                event = ask_lean(request.to_dict(), action).numbered(request.call_no)
            case action:
                event = ActionDue(action=action.value)
        decision = decide(request, event.stamped(the_time(), number))
        for kind, value in decision.ids:  # the ids by which Lean names this request from now on
            with SetWorkflowID(f"{kind}:{value}"):
                DBOS.start_workflow(whose, request.id)
        if isinstance(decision, Accepted):
            request = decision.request
            pages = [page.raw.decode() for page in event.pages] if isinstance(event, AnsweredOk) else pages
            DBOS.set_event(RECORD, request.to_dict())
    return {"request": request.to_dict(), "pages": pages}


@DBOS.workflow()
def whose(request_id: str) -> str:
    """Remember whom an id of Lean's names: it is this workflow's own id."""
    return request_id


@DBOS.step()
def the_time() -> datetime:
    """Return the present time; repeated after a crash, the workflow sees the same again."""
    return datetime.now(UTC)


@DBOS.step()
def ask_lean(record: dict[str, Any], action: str) -> Any:
    """Make the call that is due, and return what Lean's answer means."""
    request = DataRequest.from_dict(record)
    call = calls.place(request) if action == "place" else calls.collect(request)

    async def send() -> Event:
        name, secret, url = os.environ["LEAN_APP"], os.environ["LEAN_SECRET"], os.environ.get("LEAN_URL")
        async with LeanTransport(client_id=name, client_secret=secret, base_url=url, auth_url=url) as lean:
            return parse_answer(call, await lean.send(call))

    try:
        return asyncio.run(send())
    except CallFailed as error:
        return CallBroke(maybe_sent=error.maybe_sent, reason=error.reason)


# --- what comes in -----------------------------------------------------------------------------------------------


def ask(entity_id: str) -> str:
    """Begin a request; return its id."""
    now, request_id = datetime.now(UTC), str(uuid.uuid4())
    request = DataRequest(
        id=request_id, app=os.environ["LEAN_APP"], environment="sandbox", region="uae", api="v2",
        resource=Resource.accounts, entity_id=entity_id, fingerprint=request_id, created_at=now, updated_at=now,
        due_at=now, place_at=now,
    )  # fmt: skip
    with SetWorkflowID(request_id):
        DBOS.start_workflow(reconnect_loop, request.to_dict())
    return request_id


def hear(signature: str, raw: bytes) -> int:
    """Take a webhook in; return the HTTP status. 503 makes Lean send it again: its request may not be known yet."""
    if not verify(raw, signature, [os.environ["LEAN_WEBHOOK_SECRET"]]):
        return 401
    try:
        event = parse_webhook(raw)
    except MalformedBody:
        return 400
    match event:
        case ResultsReady():
            name = f"results:{event.results_id}"
        case EntityReconnected():
            name = f"reconnect:{event.reconnect_id}"
        case _:
            return 200
    found = DBOS.get_workflow_status(name)
    if found is None:
        return 503
    request_id: str = DBOS.retrieve_workflow(name).get_result()
    DBOS.send(request_id, raw, EVENTS, idempotency_key=event.inbox_key)  # a second copy of it is nobody's message
    return 200


class Door(BaseHTTPRequestHandler):
    """The application's HTTP side."""

    def do_POST(self) -> None:
        """``/requests?…``, ``/requests/{id}/prompt``, ``/webhooks``."""
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        match self.path.strip("/").split("/"):
            case ["requests"]:
                self._answer(200, {"id": ask(json.loads(body)["entity_id"])})
            case ["requests", request_id, "prompt"]:
                DBOS.send(request_id, "prompted", EVENTS)
                self._answer(202)
            case _:
                self._answer(hear(self.headers.get("lean-signature", ""), body))

    def do_GET(self) -> None:
        """``/requests/{id}``: its record."""
        self._answer(200, DBOS.get_event(self.path.rpartition("/")[2], RECORD, timeout_seconds=0))

    def _answer(self, status: int, body: Any = None) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Say nothing of every call."""


def main() -> None:
    """Serve. What a process that was killed left unfinished, DBOS goes on with."""
    url = os.environ.get("DBOS_URL", "sqlite:///dbos_flow.sqlite")
    DBOS(config={"name": "reconnects", "system_database_url": url, "log_level": "WARNING"})
    DBOS.launch()
    with ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Door) as server:
        print(f"listening on {server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
