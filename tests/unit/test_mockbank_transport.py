"""Mockbank as a `Transport` in the same process, and what leanflow's wire makes of its answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from leanflow import LeanFlow, Resource, State, calls
from leanflow._call import Call, Reply
from leanflow._lean.answers import parse_answer
from leanflow.errors import CallFailed, InvalidRequest
from leanflow.events import AnsweredOk, AnsweredPending, AnsweredReconnect, AnsweredRefused
from leanflow.mockbank import Disturbance, Fault, Mockbank
from leanflow.ports import Clock, Transport
from leanflow.testing import FakeClock, Traveller, travel
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.mockbank import HandClock, MockbankTransport, ScaledClock, deliver


def accounts(entity: str, **query: str) -> Call:
    """The usual v2 data call."""
    return Call(method="GET", path="/data/v2/accounts", query={"entity_id": entity, **query})


class Inbox:
    """Takes webhooks and answers with a status."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.types: list[str] = []

    async def receive(self, headers: Mapping[str, str], raw: bytes) -> Reply:
        """Take one."""
        assert "lean-signature" in headers
        self.types.append(json.loads(raw)["type"])
        return Reply(status=self.status)


async def test_one_token_serves_many_calls() -> None:
    """The transport fetches a token once, and anew when it ends or is refused."""
    bank, clock = Mockbank(), HandClock()
    transport = MockbankTransport(bank, clock)
    entity = bank.connect()
    for _ in range(5):
        assert (await transport.send(accounts(entity))).status == 200
    assert bank.log.count("token") == 1
    clock.advance(timedelta(hours=1))
    assert (await transport.send(accounts(entity))).status == 200
    assert bank.log.count("token") == 2
    bank.revoke_tokens()
    assert (await transport.send(accounts(entity))).status == 200
    assert bank.log.count("token") == 3


async def test_a_customers_token_has_ten_minutes_left() -> None:
    """It is handed out again until it has no more than ten minutes to live."""
    bank, clock = Mockbank(), HandClock()
    transport = MockbankTransport(bank, clock)
    customer = bank.customer_of(bank.connect())
    first = await transport.token(customer)
    clock.advance(timedelta(minutes=49))
    assert await transport.token(customer) == first
    clock.advance(timedelta(minutes=1))
    assert await transport.token(customer) != first
    with pytest.raises(CallFailed):
        await transport.token("unknown")


async def test_a_spoilt_token_is_a_call_that_failed() -> None:
    """An answer of the token endpoint that holds no token is told as the port tells it, and asked for again."""
    bank = Mockbank()
    transport = MockbankTransport(bank, HandClock())
    entity = bank.connect()
    for fault in (Fault.truncated(on="token"), Fault.missing("access_token", on="token")):
        bank.fault(fault)
        with pytest.raises(CallFailed, match="no token"):
            await transport.send(accounts(entity))
    assert (await transport.send(accounts(entity))).status == 200


async def test_the_app_token_works_without_oauth() -> None:
    """v1 style: no token is fetched, and there is none for the SDK."""
    bank = Mockbank(auth="app_token")
    transport = MockbankTransport(bank, HandClock(), auth="app_token")
    assert (await transport.send(accounts(bank.connect()))).status == 200
    assert await transport.token("x") is None
    assert bank.log.count("token") == 0
    with pytest.raises(InvalidRequest):
        MockbankTransport(bank, HandClock(), auth="magic")


@pytest.mark.parametrize("fault", [Fault.cut(), Fault.refuse(), Fault.cut(after=20)])
async def test_a_cut_connection_may_have_been_sent(fault: Fault) -> None:
    """A cut is CallFailed(maybe_sent=True): a client cannot tell what Lean saw."""
    bank = Mockbank()
    transport, entity = MockbankTransport(bank, HandClock()), bank.connect()
    bank.fault(fault)
    with pytest.raises(CallFailed) as caught:
        await transport.send(accounts(entity))
    assert caught.value.maybe_sent
    assert (await transport.send(accounts(entity))).status == 200


async def test_a_slow_answer_waits_for_the_clock() -> None:
    """A delay is slept on the transport's clock, not on the wall's."""
    bank, clock = Mockbank(), HandClock()
    transport, entity = MockbankTransport(bank, clock, api_delay=1.0), bank.connect()
    bank.fault(Fault.slow(9))
    sending = asyncio.create_task(transport.send(accounts(entity)))
    for _ in range(3):
        await asyncio.sleep(0)
        clock.advance(timedelta(seconds=1))  # the token's delay, then some of the call's
    assert not sending.done()
    clock.advance(timedelta(seconds=10))
    assert (await sending).status == 200


async def test_a_call_that_takes_too_long_is_given_up() -> None:
    """After the timeout it is CallFailed(maybe_sent=True), and not a second later."""
    bank, clock = Mockbank(), HandClock()
    transport, entity = MockbankTransport(bank, clock, auth="app_token", timeout=30), bank.connect()
    await deliver(bank, Inbox().receive, clock.now())
    bank.fault(Fault.slow(31))
    sending = asyncio.create_task(transport.send(accounts(entity)))
    await transport.asleep()
    assert transport.next_due() == clock.now() + timedelta(seconds=30)
    clock.advance(timedelta(seconds=30))
    with pytest.raises(CallFailed, match="30 s") as caught:
        await sending
    assert caught.value.maybe_sent


async def test_travelling_passes_over_slow_calls() -> None:
    """A probe and a first call that the bank keeps waiting are waited for, and what is due meanwhile happens."""
    clock = FakeClock()
    bank = Mockbank(now=clock.now(), app="app")
    lean = MockbankTransport(bank, clock, api_delay=3)
    flows = LeanFlow(
        store=MemoryStore(),
        transport=lean,
        webhook_secrets=[bank.webhook_secret],
        app="app",
        clock=clock,
        workers=0,
    )
    entity = bank.connect()
    bank.fault(Fault.slow(20))
    inbox, began = Inbox(), clock.now()
    lean.receive = inbox.receive
    async with flows:
        placing = asyncio.create_task(flows.request(Resource.accounts, entity_id=entity))
        await lean.asleep()
        bank.emit("moon.risen", {}, now=clock.now())
        await travel(flows, clock, timedelta(minutes=1), also=[lean])
        assert (await flows.get((await placing).id)).state is State.fetched
        assert clock.now() == began + timedelta(minutes=1)
        assert inbox.types == ["entity.created", "moon.risen"]
        bank.fault(Fault.slow(20))
        placing = asyncio.create_task(flows.request(Resource.identity, entity_id=entity))
        await lean.asleep()
        began = clock.now()
        await travel(flows, clock, timedelta(seconds=5), also=[lean])
        assert (await flows.get((await placing).id)).state is State.fetched
        assert clock.now() == began + timedelta(seconds=23), "the call was under way at the end: it was waited for"


async def test_a_receiver_has_ten_seconds_on_the_clock() -> None:
    """An answer that takes longer counts as none, and the webhook comes again a minute after its first attempt."""
    bank, clock = Mockbank(), HandClock()
    for seconds, due in ((10, None), (10.5, timedelta(minutes=1))):
        bank.connect(f"user-{seconds}", now=clock.now())
        began = clock.now()

        async def late(_: Mapping[str, str], __: bytes, seconds: float = seconds) -> Reply:
            clock.advance(timedelta(seconds=seconds))
            return Reply(status=200)

        await MockbankTransport(bank, clock, receive=late).tick()
        assert bank.next_due() == (began + due if due else None)


async def test_webhooks_are_delivered_to_a_callable() -> None:
    """`deliver` sends what is due, and `tick` what became due; a refusal is sent again on the schedule."""
    bank, clock, inbox = Mockbank(), HandClock(), Inbox(status=503)
    bank.connect()
    assert await deliver(bank, inbox.receive, clock.now()) == 1
    transport = MockbankTransport(bank, clock, receive=inbox.receive)
    due = transport.next_due()
    assert due == clock.now() + timedelta(minutes=1)
    assert await transport.tick() == 0
    inbox.status = 200
    clock.advance(timedelta(minutes=1))
    assert await transport.tick() == 1
    assert transport.next_due() is None
    assert inbox.types == ["entity.created"] * 2


async def test_a_receiver_that_raises_has_not_answered() -> None:
    """Its error comes out, and every delivery taken with it is due again in a minute."""
    bank, clock = Mockbank(), HandClock()
    bank.connect("a")
    bank.connect("b")

    async def broken(_: Mapping[str, str], __: bytes) -> Reply:
        raise RuntimeError("receiver broke")

    with pytest.raises(RuntimeError, match="receiver broke"):
        await deliver(bank, broken, clock.now())
    assert bank.next_due() == clock.now() + timedelta(minutes=1)
    inbox = Inbox()
    assert await deliver(bank, inbox.receive, clock.now() + timedelta(minutes=1)) == 2


async def test_an_early_webhook_arrives_before_the_answer() -> None:
    """The receiver has `results.ready` before `send` returns."""
    bank, clock, inbox = Mockbank(results_progress="at_once"), HandClock(), Inbox()
    transport = MockbankTransport(bank, clock, receive=inbox.receive)
    entity = bank.connect()
    await transport.tick()
    bank.disturb(Disturbance(types="results.ready", early=True))
    said = json.loads((await transport.send(accounts(entity, **{"async": "true"}))).body)
    assert said["status"] == "PENDING"
    assert inbox.types == ["entity.created", "results.ready"]


async def test_leanflows_wire_understands_every_answer() -> None:
    """OK, PENDING, RECONNECT_REQUIRED and refusals of both versions are the events that they should be."""
    bank, clock = Mockbank(), HandClock()
    transport, entity = MockbankTransport(bank, clock), bank.connect()
    v2 = accounts(entity)
    v1 = Call(method="POST", path="/data/v1/accounts", body=json.dumps({"entity_id": entity}).encode())
    for call in (v1, v2):
        ok = parse_answer(call, await transport.send(call))
        assert isinstance(ok, AnsweredOk)
        assert ok.timestamp == clock.now()
        bank.fault(Fault.pending())
        pending = parse_answer(call, await transport.send(call))
        assert isinstance(pending, AnsweredPending)
        assert pending.results_id
        bank.fault(Fault.reconnect())
        wanted = parse_answer(call, await transport.send(call))
        assert isinstance(wanted, AnsweredReconnect)
        assert wanted.reconnect_id in bank.pending_reconnects(entity)
        assert (wanted.reconnect_id == wanted.results_id) is (call is v2)
        for fault, code in (
            (Fault.failed("BANK_ISSUE"), "BANK_ISSUE"),
            (Fault.duplicated(), "DUPLICATED_REQUEST"),
            (Fault.duplicated(enveloped=True), "DUPLICATED_REQUEST"),
            (Fault.consent_expired("status_403"), "CONSENT_EXPIRED"),
            (Fault.consent_expired("envelope"), "CONSENT_EXPIRED"),
            (Fault.consent_expired("failed_403"), "CONSENT_EXPIRED"),
            (Fault.html(), "NOT_JSON"),
            (Fault.truncated(), "NOT_JSON"),
            (Fault.http(500), "INTERNAL_SERVER_ERROR"),
        ):
            bank.fault(fault)
            refused = parse_answer(call, await transport.send(call))
            assert isinstance(refused, AnsweredRefused), fault
            assert refused.code == code


async def test_leanflows_calls_are_all_known() -> None:
    """Every builder of `leanflow.calls` meets a path that Mockbank answers."""
    bank, clock = Mockbank(), HandClock()
    transport, entity = MockbankTransport(bank, clock), bank.connect("user-1")
    customer = bank.customer_of(entity)
    today = clock.now().date().isoformat()
    for call in (
        calls.get_customer(customer),
        calls.find_customer("user-1"),
        calls.list_customers(),
        calls.create_customer("user-2"),
        calls.list_customer_entities(customer),
        calls.get_entity(customer, entity),
        calls.list_entities(start_date=today, end_date=today),
        calls.list_banks(),
        calls.list_events(),
        calls.list_refreshes(entity),
        calls.start_refresh(entity),
        calls.delete_entity(customer, entity),
    ):
        answer = await transport.send(call)
        assert answer.status == 200, (call.path, answer.body)


def test_it_keeps_the_ports() -> None:
    """The type checker holds the transport to `Transport` and `Traveller`, and the clocks to `Clock`."""
    clocks: list[Clock] = [HandClock(), ScaledClock()]
    transport: Transport = MockbankTransport(Mockbank(), clocks[0])
    traveller: Traveller = MockbankTransport(Mockbank(), clocks[1])
    assert repr(transport).startswith("MockbankTransport(")
    assert traveller.next_due() is None


async def test_clocks_move_as_they_should() -> None:
    """A scaled clock runs faster than the wall's; a clock moved by hand wakes its sleepers in order."""
    fast = ScaledClock(1000.0, datetime(2026, 1, 1, tzinfo=UTC))
    began = fast.now()
    await fast.sleep(2)
    assert fast.now() - began >= timedelta(seconds=2)
    fast.advance(timedelta(days=1))
    assert fast.now() - began >= timedelta(days=1)
    with pytest.raises(InvalidRequest):
        ScaledClock(0)
    clock, woken = HandClock(), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (3, 1, 2)]
    await asyncio.sleep(0)
    clock.advance(timedelta(seconds=2))
    await asyncio.gather(tasks[1], tasks[2])
    assert woken == [1, 2]
    clock.advance(timedelta(seconds=1))
    await tasks[0]
