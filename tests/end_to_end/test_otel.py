"""Traces and metrics, by the SDK's own exporters: the tree of a reconnect, links across days and restarts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from leanflow import DataRequest, Handlers, LeanFlow, State, blocking
from leanflow.cloudevents import CloudEvent
from leanflow.commands import Cancel, Commands, Request
from leanflow.testing import FakeClock, travel
from leanflow_adapters.memory import MemoryBus, MemoryStore
from leanflow_adapters.otel import Telemetry
from tests.support.engine import StoreMaker, deliver, engine
from tests.support.lean import Lean
from tests.support.telemetry import Recorded

DAYS = timedelta(days=9)


@pytest.fixture
def recorded() -> Recorded:
    """Providers that keep what they are told."""
    return Recorded()


def _ids(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id


def _links(span: ReadableSpan) -> list[tuple[int, int]]:
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def _tree(spans: Sequence[ReadableSpan]) -> dict[str, list[str]]:
    """Return the names of each span's children, in the order in which they began."""
    ordered = sorted(spans, key=lambda span: span.start_time or 0)
    names = {_ids(span)[1]: span.name for span in ordered}
    tree: dict[str, list[str]] = {}
    for span in ordered:
        parent = names.get(span.parent.span_id, "elsewhere") if span.parent is not None else "-"
        tree.setdefault(parent, []).append(span.name)
    return tree


async def _asked(flows: LeanFlow, lean: Lean, **more: Any) -> DataRequest:
    lean.will("e", "reconnect")
    request = await flows.request("accounts", entity_id="e", customer_id="c", reference="user-17", **more)
    assert request.state is State.reconnect_required
    return request


async def test_a_reconnect_over_days_and_a_restart_links_to_whoever_asked(
    make: StoreMaker, clock: FakeClock, lean: Lean, recorded: Recorded
) -> None:
    """The first call is in the asker's trace. Nine days and a restart later the webhooks, and the fetch, link to it."""
    tracer = recorded.traces.get_tracer("the application")
    async with engine(make(), lean, clock, observer=recorded.telemetry) as flows:
        with tracer.start_as_current_span("POST /requests") as http:
            request = await _asked(flows, lean)
        asked = recorded.take()
        assert _tree(asked) == {
            "-": ["POST /requests"],
            "POST /requests": ["request accounts"],
            "request accounts": ["work accounts"],
            "work accounts": ["call accounts", "step answered_reconnect"],
            "call accounts": ["GET /data/v2/accounts"],
        }
        assert {_ids(span)[0] for span in asked} == {http.get_span_context().trace_id}
        [asker] = [_ids(span) for span in asked if span.name == "request accounts"]
        assert (request.traceparent or "").startswith(f"00-{asker[0]:032x}-{asker[1]:016x}-")
        prompt = await flows.prompt(request.id)
        [prompted] = recorded.take()
        assert (prompted.name, _links(prompted)) == ("step prompted", [asker])

    clock.advance(DAYS)
    async with engine(make(), lean, clock, observer=recorded.telemetry, seed=1) as flows:
        lean.reconnect(prompt.reconnect_id)
        await deliver(flows, *lean.take())
        await flows.tick()
        assert (await flows.get(request.id)).state is State.fetched
    later = recorded.take()
    assert _tree(later) == {
        "-": ["webhook entity.reconnected", "webhook results.ready", "work accounts"],
        "webhook entity.reconnected": ["step entity_reconnected"],
        "webhook results.ready": ["step results_ready"],
        "work accounts": ["call accounts", "step answered_ok"],
        "call accounts": ["GET /data/v2/results/{id}"],
    }
    linked = {span.name for span in later if _links(span) == [asker]}
    assert linked == {span.name for span in later} - {"call accounts", "GET /data/v2/results/{id}"}
    assert asker[0] not in {_ids(span)[0] for span in later}


async def test_spans_say_what_they_are_of(make: StoreMaker, clock: FakeClock, lean: Lean, recorded: Recorded) -> None:
    """Kinds, and the attributes that the documentation lists."""
    async with engine(make(), lean, clock, observer=recorded.telemetry) as flows:
        request = await flows.request("accounts", entity_id="e")
    client = recorded.one("GET /data/v2/accounts")
    assert client.kind is SpanKind.CLIENT
    assert dict(client.attributes or {}) == {
        "http.request.method": "GET",
        "url.template": "/data/v2/accounts",
        "http.response.status_code": 200,
        "leanflow.correlation_id": "a correlation",
    }
    step = recorded.one("step answered_ok")
    assert dict(step.attributes or {}) == {
        "leanflow.request.id": request.id,
        "leanflow.event": "answered_ok",
        "leanflow.trigger": "answered_ok",
        "leanflow.state": "fetched",
        "leanflow.resource": "accounts",
        "leanflow.environment": "sandbox",
        "leanflow.region": "uae",
    }
    call = dict(recorded.one("call accounts").attributes or {})
    assert (call["leanflow.call.source"], call["leanflow.call.outcome"]) == ("placement", "ok")
    assert recorded.one("request accounts").kind is SpanKind.PRODUCER


async def test_a_twin_links_to_the_request_that_it_got(
    make: StoreMaker, clock: FakeClock, lean: Lean, recorded: Recorded
) -> None:
    """Who asks second for the same gets the first one's record, and a link to who asked first."""
    async with engine(make(), lean, clock, observer=recorded.telemetry) as flows:
        first = await _asked(flows, lean)
        twin = await flows.request("accounts", entity_id="e", customer_id="c")
        assert (twin.id, twin.traceparent) == (first.id, first.traceparent)
    one, two = recorded.named("request accounts")
    assert _links(two) == [_ids(one)]
    assert [dict(span.attributes or {})["leanflow.request.is_new"] for span in (one, two)] == [True, False]


async def test_what_is_told_links_to_whoever_asked(
    make: StoreMaker, clock: FakeClock, lean: Lean, recorded: Recorded
) -> None:
    """A handler runs in a span of its own that links; a bus's batch links to all; the CloudEvent has the context."""
    handlers = Handlers()
    seen: list[Any] = []

    @handlers.on(State.fetched, name="store")
    async def arrived(change: Any, _flows: LeanFlow) -> None:
        seen.append((change, trace.get_current_span().get_span_context()))

    bus = MemoryBus("bus")
    async with engine(make(), lean, clock, observer=recorded.telemetry, handlers=[handlers], bus=bus) as flows:
        request = await flows.request("accounts", entity_id="e")
        await flows.tick()
    asker = _ids(recorded.one("request accounts"))
    deliver_one, batch = recorded.one("deliver store"), recorded.named("deliver bus")
    assert seen[0][1].span_id == _ids(deliver_one)[1]
    assert _links(deliver_one) == [asker]
    assert {link for span in batch for link in _links(span)} == {asker}
    rows = {CloudEvent.of(row).attributes["traceparent"] for row in bus.rows}
    assert rows == {request.traceparent}
    told = {
        (point["leanflow.outcome"], point["leanflow.sink"]): count
        for point, count in recorded.points("leanflow.announcements")
    }
    assert told == {("delivered", "bus"): 2, ("delivered", "store"): 1}


async def test_a_handler_that_raises_is_an_error_by_type_alone(
    make: StoreMaker, clock: FakeClock, lean: Lean, recorded: Recorded
) -> None:
    """The text of an exception may hold values: neither it nor the stack is in a span."""
    handlers = Handlers()

    @handlers.on(State.fetched, name="store")
    async def arrived(_change: Any, _flows: LeanFlow) -> None:
        raise LookupError("AE07 0331 2345 6789 0123 456")

    async with engine(make(), lean, clock, observer=recorded.telemetry, handlers=[handlers]) as flows:
        await flows.request("accounts", entity_id="e")
        await flows.tick()
    span = recorded.one("deliver store")
    assert span.status.status_code is StatusCode.ERROR
    assert dict(span.attributes or {})["error.type"] == "LookupError"
    assert not span.events
    assert span.status.description is None


async def test_webhooks_are_counted_by_verdict(
    make: StoreMaker, clock: FakeClock, lean: Lean, recorded: Recorded
) -> None:
    """Applied, duplicate, parked, recorded, and refused ones, whose type nobody vouches for and nobody counts."""
    async with engine(make(), lean, clock, observer=recorded.telemetry) as flows:
        lean.will("e", "pending")
        request = await flows.request("accounts", entity_id="e")
        assert request.results_id is not None
        ready = lean.says("results.ready", {"id": request.results_id})
        unknown = lean.says("results.ready", {"id": "00000000-0000-0000-0000-00000000ffff"})
        await deliver(flows, ready, ready, unknown, lean.says("payment.created", {"id": "p"}), b'{"type": 1}')
        await flows.receive({}, ready)
        await flows.receive({}, b" " * 2_000_000)
    told = {
        (point["leanflow.webhook.verdict"], point.get("leanflow.webhook.type")): count
        for point, count in recorded.points("leanflow.webhooks")
    }
    assert told == {
        ("applied", "results.ready"): 1,
        ("duplicate", "results.ready"): 1,
        ("parked", "results.ready"): 1,
        ("recorded", "payment.created"): 1,
        ("malformed", None): 1,
        ("bad_signature", None): 1,
        ("too_large", None): 1,
    }


async def test_states_failures_and_calls_are_counted(
    make: StoreMaker, clock: FakeClock, lean: Lean, recorded: Recorded
) -> None:
    """States entered, with the failure's code, and the durations of calls, by resource and outcome."""
    async with engine(make(), lean, clock, observer=recorded.telemetry) as flows:
        lean.will("locked", "EU_ACCOUNT_LOCKED")
        failed = await flows.request("accounts", entity_id="locked")
        assert failed.state is State.failed
        await flows.request("identity", entity_id="fine")
    changes = {
        (point["leanflow.resource"], point["leanflow.state"], point.get("leanflow.failure")): count
        for point, count in recorded.points("leanflow.request.changes")
    }
    assert failed.failure is not None
    assert changes == {
        ("accounts", "requested", None): 1,
        ("accounts", "failed", failed.failure.code): 1,
        ("identity", "requested", None): 1,
        ("identity", "fetched", None): 1,
    }
    calls = {
        (point["leanflow.resource"], point["leanflow.call.outcome"], point.get("error.type")): count
        for point, count in recorded.points("leanflow.call.duration")
    }
    assert calls == {("accounts", "refused", failed.failure.code): 1, ("identity", "ok", None): 1}


async def test_the_workers_look_at_the_store_now_and_then(clock: FakeClock, lean: Lean, recorded: Recorded) -> None:
    """Requests in each state, the age of the oldest due, and how far each sink is behind."""
    bus = MemoryBus("bus")
    bus.is_away = True
    async with engine(MemoryStore(), lean, clock, observer=recorded.telemetry, workers=1, bus=bus) as flows:
        await _asked(flows, lean)
        clock.advance(timedelta(seconds=15))
        async with asyncio.timeout(10):
            while not any(count for _, count in recorded.points("leanflow.requests")):
                clock.advance(timedelta(seconds=15))
                await asyncio.sleep(0)
    states = {point["leanflow.state"]: count for point, count in recorded.points("leanflow.requests")}
    assert states["reconnect_required"] == 1
    assert len(states) == len(State)
    undelivered = {point["leanflow.sink"]: count for point, count in recorded.points("leanflow.outbox.undelivered")}
    assert undelivered["bus"] >= 1
    assert len(recorded.points("leanflow.due.age")) == 1
    assert {point["leanflow.sink"] for point, _ in recorded.points("leanflow.outbox.lag")} >= {"bus"}


async def test_workers_are_in_nobody_s_trace(clock: FakeClock, lean: Lean, recorded: Recorded) -> None:
    """An engine that is opened in a span does not hang all of its later work on that span."""
    tracer = recorded.traces.get_tracer("the application")
    with tracer.start_as_current_span("start") as start:
        flows = engine(MemoryStore(), lean, clock, observer=recorded.telemetry, workers=1)
        await flows.__aenter__()
    try:
        lean.will("e", "pending")
        request = await flows.request("accounts", entity_id="e")
        assert request.results_id is not None
        lean.finish(request.results_id, announce=False)
        async with asyncio.timeout(10):
            while not (await flows.get(request.id)).state.is_end:
                clock.advance(timedelta(seconds=20))
                await asyncio.sleep(0)
    finally:
        await flows.__aexit__(None, None, None)
    working = recorded.named("work accounts")
    assert len(working) > 1
    assert start.get_span_context().trace_id not in {_ids(span)[0] for span in working[1:]}
    assert working[-1].parent is None


async def test_a_command_is_in_the_trace_that_its_message_brings(
    make: StoreMaker, clock: FakeClock, lean: Lean, recorded: Recorded
) -> None:
    """The header of whoever wrote the message is the parent; what it asks for is in that trace."""
    theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    command = Request(key="k", resource="accounts", entity_id="e").to_bytes()
    async with engine(make(), lean, clock, observer=recorded.telemetry) as flows:
        await Commands(flows).receive({"Traceparent": theirs}, command)
        await Commands(flows).receive({}, Cancel(key="k", request_id="nobody").to_bytes())
        [request] = [found async for found in flows.find()]
    span = recorded.one("command request")
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == tuple(theirs.split("-")[1:3])
    assert request.traceparent is not None
    assert request.traceparent.split("-")[1] == theirs.split("-")[1]
    assert recorded.one("command cancel").status.status_code is StatusCode.ERROR
    told = {(p["leanflow.command"], p["leanflow.command.status"]): n for p, n in recorded.points("leanflow.commands")}
    assert told == {("request", "200"): 1, ("cancel", "404"): 1}


def test_a_thread_s_span_is_the_asker_s(clock: FakeClock, lean: Lean, recorded: Recorded) -> None:
    """Django, Flask, Celery: the engine's loop is in another thread, and yet in the trace of whoever calls."""
    flows = blocking.LeanFlow.over(engine(MemoryStore(), lean, clock, observer=recorded.telemetry))
    with flows, recorded.traces.get_tracer("the application").start_as_current_span("GET /") as span:
        request = flows.request("accounts", entity_id="e")
    trace_id = span.get_span_context().trace_id
    assert request.traceparent is not None
    assert request.traceparent.split("-")[1] == f"{trace_id:032x}"
    assert {_ids(each)[0] for each in recorded.spans} == {trace_id}


async def test_no_attribute_holds_what_points_to_a_person(
    make: StoreMaker, clock: FakeClock, lean: Lean, recorded: Recorded
) -> None:
    """Entity, customer, reference, metadata, key, token, address and app token are in no span and no metric."""
    async with engine(make(), lean, clock, observer=recorded.telemetry, app="the-app-token") as flows:
        lean.will("the-entity", "reconnect")
        request = await flows.request(
            "balances", entity_id="the-entity", account_id="the-account", customer_id="the-customer",
            customer_ip="10.1.2.3", reference="the-reference", metadata={"the-name": "the-value"}, key="the-key",
        )  # fmt: skip
        prompt = await flows.prompt(request.id)
        await flows.customer(app_user_id="the-user")
        lean.reconnect(prompt.reconnect_id)
        await deliver(flows, *lean.take())
        await travel(flows, clock, timedelta(hours=1))
        assert (await flows.get(request.id)).state is State.fetched
    text = "".join(span.to_json() for span in recorded.spans)
    data = recorded.reader.get_metrics_data()
    assert data is not None
    text += data.to_json()
    assert "balances" in text
    assert json.dumps("GET /customers/v1/app-user-id/{id}") in text
    for private in ("the-", "10.1.2.3", "token 1", str(request.reconnect_id)):
        assert private not in text


async def test_without_an_sdk_nothing_is_recorded_and_nothing_kept(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """The API alone does nothing: the record has no trace context, and everything goes on as ever."""
    async with engine(make(), lean, clock, observer=Telemetry()) as flows:
        request = await flows.request("accounts", entity_id="e")
        assert (request.state, request.traceparent) == (State.fetched, None)
