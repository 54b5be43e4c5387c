"""Mockbank as a `Transport` in the same process, and what leanflow's wire makes of its answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from leanflow import calls
from leanflow._call import Call, Reply
from leanflow._lean.answers import parse_answer
from leanflow.errors import CallFailed, InvalidRequest
from leanflow.events import AnsweredOk, AnsweredPending, AnsweredReconnect, AnsweredRefused
from leanflow.mockbank import Disturbance, Fault, Mockbank
from leanflow.ports import Clock, Transport
from leanflow.testing import Traveller
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
    bank, clock, inbox = Mockbank(async_delay=timedelta()), HandClock(), Inbox()
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
