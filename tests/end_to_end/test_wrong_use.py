"""Wrong use of an engine is named where it is made: whose environment and app, which prompt, what is no webhook."""

from __future__ import annotations

import inspect
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from leanflow import ConnectPrompt, Handlers, LeanFlow, ReconnectPrompt, Reply, State, blocking, sign
from leanflow.errors import InvalidRequest
from leanflow.events import Cancelled
from leanflow.mockbank import Mockbank
from leanflow.testing import FakeClock
from leanflow.testing._on_demand import WatchedFlow
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.mockbank import MockbankTransport
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.engine import StoreMaker, engine
from tests.support.lean import SECRET, Lean, webhook

# --- whose environment -------------------------------------------------------------------------------------------


class _Production(Lean):
    """A transport that knows what it calls."""

    environment = "production"
    region = "ksa"


async def test_prompts_are_for_what_the_transport_calls(make: StoreMaker, clock: FakeClock) -> None:
    """`Lean.reconnect` gets the application's id, and is told of the sandbox if and only if the calls go there."""
    lean = _Production(clock)
    lean.will("e", "reconnect")
    async with engine(make(), lean, clock, app="shop") as flows:
        request = await flows.request("accounts", entity_id="e")
        told = (await flows.prompt(request.id)).to_dict()
        assert (told["app_token"], told["sandbox"]) == ("shop", False)
        assert (request.environment, request.region) == ("production", "ksa")


@pytest.mark.parametrize(
    ("called_as", "app", "handed", "told"),
    [
        ("shop", None, "shop", None),
        ("shop", "default", "shop", None),  # the name of requests that were stored without one
        ("shop", "shop", "shop", None),
        (None, "shop", "shop", None),
        ("shop", "my shop", "my shop", "not the application that the transport calls as"),
        (None, None, "default", "was given no app"),
    ],
)
async def test_prompts_carry_an_application_that_lean_knows(
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    called_as: str | None,
    app: str | None,
    handed: str,
    told: str | None,
) -> None:
    """The engine's, else the transport's; what the Link SDK would refuse without a reason is told of by name."""
    lean = Lean(clock)
    lean.app = called_as  # type: ignore[attr-defined]  # as transports may have it
    lean.will("e", "reconnect")
    async with engine(MemoryStore(), lean, clock, app=app) as flows:
        request = await flows.request("accounts", entity_id="e")
        assert request.app == (app or "default")  # the scope of what is stored goes by the engine alone
        prompts: list[ReconnectPrompt | ConnectPrompt] = [await flows.prompt(request.id)]
        prompts.append(await flows.connect_prompt(customer_id="c", permissions=["accounts"]))
    assert {prompt.to_dict()["app_token"] for prompt in prompts} == {handed}
    warnings = [record.getMessage() for record in caplog.records if "app_token" in record.getMessage()]
    assert len(warnings) == (0 if told is None else 1)  # not for each prompt
    assert all(str(told) in warning and "LeanFlow(app=…)" in warning for warning in warnings)


def test_what_an_engine_shows_of_itself_says_nothing_of_its_transport_s_application() -> None:
    """It may be a secret: a `lean-app-token` opens the API."""
    transport = LeanTransport(app_token="hush-hush")
    flows = LeanFlow(store=MemoryStore(), transport=transport, webhook_secrets=["s"])
    assert "hush" not in repr(flows) + repr(flows._settings)
    assert transport.app == "hush-hush"


async def test_what_was_stored_before_an_engine_went_by_its_transport_is_told_of(
    make: StoreMaker, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start, for as long as there are requests; an engine that was told where it is knows better."""
    async with engine(make(), Lean(clock), clock) as old:
        await old.request("accounts", entity_id="e")
    cases: list[tuple[dict[str, Any], bool]] = [({}, True), ({"environment": "production", "region": "ksa"}, False)]
    for settings, is_told in cases:
        caplog.clear()
        async with engine(make(), _Production(clock), clock, **settings) as flows:
            assert [each async for each in flows.find()] == []
        assert ("what the store has of app in sandbox/uae" in caplog.text) is is_told
    async with engine(make(), Lean(clock), clock) as old:
        clock.advance(timedelta(seconds=1))
        assert await old.purge(older_than=timedelta()) == 1
    caplog.clear()
    async with engine(make(), _Production(clock), clock):
        assert "sandbox/uae" not in caplog.text


def test_a_transport_of_given_hosts_goes_with_any_engine() -> None:
    """So whoever has requests under another environment than they were made in can bring them to their end."""
    hosts: dict[str, Any] = {"base_url": "https://api2.sa.leantech.me", "auth_url": "https://auth.sa.leantech.me"}
    for where in ({"environment": "sandbox", "region": "uae"}, {"environment": "production", "region": "ksa"}):
        transport = LeanTransport(client_id="shop", client_secret="s", **hosts)
        settings: dict[str, Any] = {"transport": transport, "app": "shop", **where}
        scope = LeanFlow(store=MemoryStore(), webhook_secrets=["s"], **settings).scope
        assert {"environment": scope.environment, "region": scope.region} == where


# --- what methods are called with --------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["prompt", "1", True, None, 1.0])
async def test_a_callback_names_its_prompt_by_its_number(clock: FakeClock, lean: Lean, wrong: object) -> None:
    """Anything else would be recorded as stale, and the user's word would be lost."""
    lean.will("e", "reconnect")
    async with engine(MemoryStore(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        prompt = await flows.prompt(request.id)
        given: Any = prompt if wrong == "prompt" else wrong
        before = len(await flows.history(request.id))
        with pytest.raises(InvalidRequest) as caught:
            await flows.callback(request.id, {"status": "SUCCESS"}, prompt=given)
        assert str(caught.value) == f"prompt: must be the prompt's number, not {type(given).__name__}"
        assert len(await flows.history(request.id)) == before
        assert (await flows.callback(request.id, {"status": "SUCCESS"}, prompt=prompt.number)).hinted_at == clock.now()


@pytest.mark.parametrize("payload", [{}, {"status": ""}, {"status": 1}, "SUCCESS", None])
async def test_a_callback_s_payload_is_named_as_the_parameter_is(clock: FakeClock, lean: Lean, payload: Any) -> None:
    """It is called `payload`."""
    async with engine(MemoryStore(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        with pytest.raises(InvalidRequest, match=r"^payload: "):
            await flows.callback(request.id, payload, prompt=1)


USES: dict[str, Callable[[LeanFlow, Any], Awaitable[object]]] = {
    "get": lambda flows, one: flows.get(one),
    "history": lambda flows, one: flows.history(one),
    "export": lambda flows, one: flows.export(one),
    "results": lambda flows, one: flows.results(one),
    "prompt": lambda flows, one: flows.prompt(one),
    "callback": lambda flows, one: flows.callback(one, {"status": "SUCCESS"}, prompt=1),
    "cancel": lambda flows, one: flows.cancel(one),
    "renew": lambda flows, one: flows.renew(one),
    "wait": lambda flows, one: flows.wait(one),
    "apply": lambda flows, one: flows.apply(Cancelled(), request_id=one),
}


@pytest.mark.parametrize("name", USES)
async def test_a_request_is_named_by_its_id(make: StoreMaker, clock: FakeClock, lean: Lean, name: str) -> None:
    """A whole record is refused, and what to pass is said."""
    async with engine(make(), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        with pytest.raises(InvalidRequest) as caught:
            await USES[name](flows, request)
        assert str(caught.value) == "request_id: must be the id of a request, as request.id, not DataRequest"


@pytest.mark.parametrize("event", [{"type": "results.ready"}, b"{}", Cancelled])
async def test_only_events_are_applied(clock: FakeClock, lean: Lean, event: Any) -> None:
    """What is none is named, not what it lacks."""
    async with engine(MemoryStore(), lean, clock) as flows:
        with pytest.raises(InvalidRequest, match=r"^event: must be an event, as parse_webhook returns, not "):
            await flows.apply(event)


@pytest.mark.parametrize("older_than", [30, "30d", None])
async def test_how_old_is_a_span_or_a_moment(clock: FakeClock, lean: Lean, older_than: Any) -> None:
    """Days could be meant, or seconds."""
    async with engine(MemoryStore(), lean, clock) as flows:
        for purging in (flows.purge(older_than=older_than), flows.purge_results(older_than=older_than)):
            with pytest.raises(InvalidRequest, match=r"^older_than: must be a timedelta, as timedelta\(days=30\)"):
                await purging
        with pytest.raises(InvalidRequest, match=r"^older_than: needs a time zone"):
            await flows.purge(older_than=datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is wrong


async def test_an_empty_text_is_called_empty(clock: FakeClock, lean: Lean) -> None:
    """And another kind of thing by its kind."""
    async with engine(MemoryStore(), lean, clock) as flows:
        for given, told in (("", "entity_id: must not be empty"), (7, "entity_id: must be a string, not int")):
            with pytest.raises(InvalidRequest) as caught:
                await flows.request("accounts", entity_id=given)  # type: ignore[arg-type]  # wrong
            assert str(caught.value) == told


# --- webhooks ----------------------------------------------------------------------------------------------------

RAW = webhook("entity.created", {"id": "e"}, event_id="1")
HEADERS = {"lean-signature": sign(SECRET, RAW)}


@pytest.mark.parametrize(
    ("headers", "raw", "told"),
    [
        ({}, "text", "raw_body: must be the bytes as they came, not str"),
        (HEADERS, {"type": "results.ready"}, "raw_body: must be the bytes as they came, not dict"),
        (RAW, HEADERS, "raw_body: must be the bytes as they came, not dict"),
        (HEADERS, None, "raw_body: must be the bytes as they came, not NoneType"),
        ([(b"lean-signature", b"x")], RAW, "headers: must be a mapping of names to values, not list"),
        (None, RAW, "headers: must be a mapping of names to values, not NoneType"),
    ],
)
async def test_a_webhook_is_headers_and_bytes(clock: FakeClock, lean: Lean, headers: Any, raw: Any, told: str) -> None:
    """What a framework has parsed already cannot be verified any more."""
    async with engine(MemoryStore(), lean, clock) as flows:
        with pytest.raises(InvalidRequest) as caught:
            await flows.receive(headers, raw)
        assert str(caught.value) == told
        assert (await flows.receive(HEADERS, RAW)).status == 200


@pytest.mark.parametrize(
    ("headers", "secrets", "reason"),
    [
        ({}, ["a"], "no lean-signature header"),
        ({"lean-signature": sign("b", RAW)}, ["a"], "matches none of the 1 secrets"),
        ({"lean-signature": "sha512=00"}, ["a", "c"], "matches none of the 2 secrets"),
    ],
)
async def test_a_refused_signature_is_explained_to_whoever_runs_this(
    clock: FakeClock, lean: Lean, caplog: pytest.LogCaptureFixture, headers: Any, secrets: list[str], reason: str
) -> None:
    """In the log and in the reply's reason; whoever sent it is told as little as before."""
    with caplog.at_level(logging.WARNING, "leanflow.webhook"):
        async with engine(MemoryStore(), lean, clock, webhook_secrets=secrets) as flows:
            reply = await flows.receive(headers, RAW)
    assert reply == Reply(status=401, body=b"bad signature")
    assert reply.reason == f"bad lean-signature: {reason}"
    assert caplog.messages == [f"refused a webhook: bad lean-signature: {reason}"]


# --- handlers ----------------------------------------------------------------------------------------------------


async def test_a_handler_that_cannot_be_called_fails_its_test(clock: FakeClock) -> None:
    """A coroutine function that says it takes two arguments, and takes one: the error is kept, whatever raises it."""
    handlers, errors = Handlers(), list[BaseException]()

    async def one(change: object) -> None:
        """Take too few."""

    vars(one)["__signature__"] = inspect.signature(lambda change, flows: (change, flows))
    handlers.on(State.requested)(one)
    lean = MockbankTransport(Mockbank(now=clock.now()), clock)
    settings: dict[str, Any] = {"webhook_secrets": [SECRET], "clock": clock, "handlers": handlers, "workers": 0}
    async with WatchedFlow(errors=errors, also=lean, store=MemoryStore(), transport=lean, **settings) as flows:
        await flows.request("accounts", entity_id=lean.bank.connect())
        await flows.tick()
    assert [type(error) for error in errors] == [TypeError]


# --- a transaction that is over ----------------------------------------------------------------------------------


async def test_a_transaction_that_is_over_says_so(tmp_path: Path, clock: FakeClock, lean: Lean) -> None:
    """Whoever keeps `tx` beyond its block learns that, not that some store is not open."""
    async with engine(SQLiteStore(tmp_path / "app.db"), lean, clock) as flows:
        request = await flows.request("accounts", entity_id="e")
        async with aiosqlite.connect(tmp_path / "app.db", isolation_level=None) as connection:
            await connection.execute("BEGIN IMMEDIATE")
            async with flows.using(connection) as tx:
                assert (await tx.get(request.id)).state is State.fetched
            for use in (tx.get(request.id), tx.request("identity", entity_id="e"), anext(tx.find())):
                with pytest.raises(InvalidRequest, match=r"^transaction: is over"):
                    await use
            await connection.rollback()


def test_a_blocking_transaction_that_is_over_says_so(tmp_path: Path, clock: FakeClock, lean: Lean) -> None:
    """The same, on a connection that blocks."""
    with blocking.LeanFlow.over(engine(SQLiteStore(tmp_path / "app.db"), lean, clock)) as flows:
        connection = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            with flows.using(connection) as tx:
                assert list(tx.find()) == []
            with pytest.raises(InvalidRequest, match=r"^transaction: is over"):
                tx.request("accounts", entity_id="e")
        finally:
            connection.close()
