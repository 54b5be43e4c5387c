"""What becomes of one message: the verdicts, and what goes wrong while it is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import attrs
import pytest

from leanflow import Reply, State
from leanflow.cloudevents import CloudEvent
from leanflow.errors import BusUnavailable, InvalidRequest, MessageRefused
from leanflow.ports import OutboxRow
from leanflow_adapters._bus import (
    BrokerBus,
    Message,
    Options,
    Patience,
    Receive,
    Subscription,
    Verdict,
    _subscription,
    settle,
)

LONG = 60.0
"""Seconds; reached only by failures."""
PATIENCE = Patience(max_deliver=3, backoff=(timedelta(seconds=1), timedelta(seconds=5)))


@attrs.define
class Delivered:
    """A message that notes what is done with it."""

    tries: int = 1
    reply_to: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b"x"
    done: list[str] = attrs.field(factory=list)
    cannot_respond: bool = False

    async def respond(self, reply: Reply) -> None:
        """Answer."""
        if self.cannot_respond:
            raise ConnectionError
        self.done.append(f"respond {reply.status}")

    async def ack(self) -> None:
        """Acknowledge."""
        self.done.append("ack")

    async def again(self, delay: float) -> None:
        """Come again."""
        self.done.append(f"again {delay:.0f}")

    async def set_aside(self, reason: str) -> None:
        """Set aside."""
        self.done.append(f"aside {reason}")


def saying(status: int, *, retry: bool = False, reason: str = "") -> Receive:
    """Return a receiver that says this."""

    async def receive(_headers: Mapping[str, str], _body: bytes) -> Reply:
        return Reply(status=status, retry=retry, reason=reason)

    return receive


async def raising(_headers: Mapping[str, str], _body: bytes) -> Reply:
    """Raise."""
    raise KeyError("secret")


@pytest.mark.parametrize(
    ("receive", "tries", "done"),
    [
        (saying(200), 1, ["respond 200", "ack"]),
        (saying(200), 9, ["respond 200", "ack"]),
        (saying(503, retry=True), 1, ["again 1"]),
        (saying(503, retry=True), 2, ["again 5"]),
        (saying(503, retry=True), 3, ["respond 503", "aside status 503"]),
        (saying(503), 1, ["respond 503", "aside status 503"]),
        (saying(401), 1, ["respond 401", "aside status 401"]),
        (saying(401, reason="no signature"), 1, ["respond 401", "aside status 401: no signature"]),
        (saying(204), 1, ["respond 204", "aside status 204"]),
        (raising, 1, ["again 1"]),
        (raising, 3, ["aside raised KeyError"]),
    ],
)
async def test_the_verdict_follows_the_reply(receive: Receive, tries: int, done: list[str]) -> None:
    """Exactly 200 is taken; `retry` and exceptions come again, so many times; a final verdict is answered first."""
    delivered = Delivered(tries=tries, reply_to="there")
    verdict = await settle(delivered, receive, PATIENCE)
    assert delivered.done == done
    kinds = {"ack": Verdict.taken, "again": Verdict.again, "aside": Verdict.set_aside}
    assert verdict is kinds[done[-1].split()[0]]


async def cancelled(_headers: Mapping[str, str], _body: bytes) -> Reply:
    """Wait for what somebody has cancelled."""
    raise asyncio.CancelledError


@pytest.mark.parametrize(("tries", "done"), [(1, ["again 1"]), (3, ["aside raised CancelledError"])])
async def test_what_the_receiver_waited_for_may_have_been_cancelled(tries: int, done: list[str]) -> None:
    """That is the receiver's fault, like any exception; when we are cancelled ourselves nothing is ended."""
    delivered = Delivered(tries=tries)
    await settle(delivered, cancelled, PATIENCE)
    assert delivered.done == done

    async def receive(_headers: Mapping[str, str], _body: bytes) -> Reply:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    begun, delivered = asyncio.Event(), Delivered()
    settling = asyncio.create_task(settle(delivered, receive, PATIENCE))
    await begun.wait()
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    assert delivered.done == []


async def test_a_signature_that_is_no_text_holds_up_nothing() -> None:
    """Kafka's headers are bytes: what is no UTF-8 among them comes as halves of surrogate pairs."""
    delivered = Delivered(headers={"lean-signature": b"\xff".decode("utf-8", "surrogateescape")})
    await settle(delivered, saying(503, retry=True), PATIENCE)
    assert delivered.done == ["again 1"]


@pytest.mark.parametrize(("tries", "done"), [(1, ["again 1"]), (3, ["aside no answer could be sent: ConnectionError"])])
async def test_an_answer_that_cannot_be_sent_has_it_done_again(tries: int, done: list[str]) -> None:
    """What was done is done once, by its key; whoever waits for the answer gets it the next time."""
    delivered = Delivered(tries=tries, reply_to="there", cannot_respond=True)
    await settle(delivered, saying(200), PATIENCE)
    assert delivered.done == done


def test_wrong_settings_are_named() -> None:
    """Before anything is connected."""
    impatient: tuple[dict[str, Any], ...] = ({"max_deliver": 0}, {"backoff": ()})
    for wrong in impatient:
        with pytest.raises(InvalidRequest):
            Patience(**wrong)
    cases: tuple[dict[str, Any], ...] = ({"topic": ""}, {"only": []}, {"only": ["x"]}, {"name": ":x"})
    never: tuple[dict[str, Any], ...] = ({"timeout": 0}, {"timeout": -1}, {"timeout": float("nan")})
    for wrong in (*cases, *never, {"only": ["fetched"], "webhooks": ["*"]}):
        with pytest.raises(InvalidRequest):
            Options(**{"name": "bus", "topic": "t", **wrong})


def test_a_bus_says_what_it_wants() -> None:
    """`only` is a filter without reports; `webhooks` is one for webhooks; without either it is all and reports."""
    assert Options(name="b", topic="t", only="fetched").sink.states == frozenset({"fetched"})
    assert not Options(name="b", topic="t", only={State.fetched}).sink.reports
    assert Options(name="b", topic="t").sink.reports
    assert Options(name="b", topic="t", webhooks="*").sink.webhooks == frozenset({"*"})


def test_a_topic_may_be_a_function_of_the_event() -> None:
    """One that returns no text is named."""
    row = OutboxRow(key="r:1:fetched", sink="b", kind="change", request_id="r", payload="{}")
    made = Options(name="b", topic=lambda event: f"bank.{event.topic}").message(row, "ce-")
    assert (made.topic, made.key, made.partition_key) == ("bank.fetched", "r:1:fetched", "r")
    no_text = Options(name="b", topic=lambda _: None)  # type: ignore[arg-type, return-value]  # wrong
    with pytest.raises(InvalidRequest, match="NoneType"):
        no_text.message(row, "ce-")
    assert CloudEvent.of(row).topic == "fetched"


class Slow:
    """A source whose opening and closing wait."""

    def __init__(self) -> None:
        self.opening, self.go = asyncio.Event(), asyncio.Event()
        self.closed = 0

    async def open(self) -> None:
        """Open, once it may."""
        self.opening.set()
        await self.go.wait()

    async def fetch(self, _limit: int) -> list[Delivered]:
        """Wait for messages that never come, and do not end when told to."""
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if self.go.is_set():
                    self.go.clear()
                    continue
                raise

    def stop(self) -> None:
        """Go on."""

    async def set_aside(self, _limit: int) -> list[Any]:
        """Nothing is."""
        return []

    async def aclose(self) -> None:
        """Note it."""
        self.closed += 1


class Obedient(Slow):
    """A source whose fetch waits for a message that never comes, and ends when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = asyncio.Event()
        self.fetched = 0

    async def fetch(self, _limit: int) -> list[Delivered]:
        """Wait."""
        await self.stopped.wait()
        self.fetched += 1
        return []

    def stop(self) -> None:
        """Let the fetch end."""
        self.stopped.set()


class Late(Obedient):
    """One whose broker is away at first."""

    async def open(self) -> None:
        """Fail; the next time, open once it may."""
        if not self.opening.is_set():
            self.opening.set()
            raise ConnectionError
        await self.go.wait()


async def test_leaving_waits_for_no_more_messages() -> None:
    """The fetch that waits ends by itself."""
    source = Obedient()
    source.go.set()
    async with Subscription(source, saying(200), name="s"):
        await asyncio.sleep(0)
    assert (source.fetched, source.closed) == (1, 1)


class Full(Slow):
    """Always has more messages than are asked for, and notes how many those were."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    async def open(self) -> None:
        """Open."""

    async def fetch(self, limit: int) -> list[Delivered]:
        """Give as many."""
        self.asked.append(limit)
        return [Delivered() for _ in range(limit)]


@pytest.mark.parametrize(("soon", "asked"), [(LONG, [8, 2]), (0.0, [8, 1])])
async def test_a_fetch_waits_a_moment_for_more_room(
    soon: float, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until a quarter of all places is free, or the moment is over: it costs as much for one message as for many."""
    monkeypatch.setattr(_subscription, "SOON", soon)
    source, waiting = Full(), list[asyncio.Future[Reply]]()

    async def receive(_headers: Mapping[str, str], _body: bytes) -> Reply:
        waiting.append(asyncio.get_running_loop().create_future())
        return await waiting[-1]

    async with asyncio.timeout(LONG), Subscription(source, receive, name="full", concurrency=8) as subscription:
        for ended in (0, 1):
            while len(waiting) < 8:
                await asyncio.sleep(0)
            waiting[ended].set_result(Reply(status=200))
            while subscription.counts["taken"] <= ended:
                await asyncio.sleep(0)
            for _ in range(10):
                await asyncio.sleep(0)
        while len(source.asked) < 2:
            await asyncio.sleep(0)
        subscription._stopping = True
        for one in waiting:
            if not one.done():
                one.set_result(Reply(status=200))
    assert source.asked[:2] == asked


async def test_a_source_that_opens_while_its_subscription_is_left_is_asked_for_nothing() -> None:
    """Nobody would wait for what came."""
    source = Late()
    subscription = Subscription(source, saying(200), name="s")
    await subscription.__aenter__()
    leaving = asyncio.create_task(subscription.__aexit__(None, None, None))
    await asyncio.sleep(0)
    source.go.set()
    await leaving
    assert (source.fetched, source.closed) == (0, 1)


async def test_a_subscription_that_is_cancelled_while_it_opens_closes_its_source() -> None:
    """Else its connection would stay."""
    source = Slow()
    entering = asyncio.create_task(Subscription(source, saying(200), name="s").__aenter__())
    await source.opening.wait()
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert source.closed == 1


async def test_a_subscription_that_is_cancelled_twice_while_it_closes_closes_its_source() -> None:
    """However often it is cancelled, and whoever does not end."""
    source = Slow()
    source.go.set()
    subscription = Subscription(source, saying(200), name="s")
    await subscription.__aenter__()
    leaving = asyncio.create_task(subscription.__aexit__(None, None, None))
    for _ in range(2):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert source.closed == 1


class Ready(BrokerBus):
    """A bus whose broker takes everything."""

    async def _connect(self) -> None:
        """Nothing to connect."""

    async def _disconnect(self) -> None:
        """Nothing to close."""

    async def _prepare(self) -> None:
        """Nothing to look for."""

    async def _send(self, messages: Sequence[Message]) -> Sequence[BaseException | None]:
        return [None] * len(messages)


@pytest.mark.parametrize("error", [ConnectionError, TimeoutError, KeyError])
async def test_a_topic_that_cannot_be_had_is_no_outage_of_the_bus(error: type[Exception]) -> None:
    """As when the application's function asks a server of its own: outages are waited for without end."""

    def topic(event: CloudEvent) -> str:
        if "bad" in event.key:
            raise error
        return "t"

    bus = Ready(Options(name="b", topic=topic, only=None, webhooks=(), envelope="structured", source=None))
    await bus.open()
    rows = [OutboxRow(key=key, sink="b", kind="change", request_id="r", payload="{}") for key in ("a", "bad", "c")]
    first, bad, last = await bus.publish(rows)
    await bus.aclose()
    assert (first, last) == (None, None)
    assert isinstance(bad, KeyError if error is KeyError else MessageRefused)


class Engine:
    """An engine of `leanflow.blocking`'s, as far as a subscription sees it."""

    def receive(self, headers: Mapping[str, str], body: bytes) -> Reply:
        """Receive at once."""
        raise NotImplementedError


@pytest.mark.parametrize("receive", [Engine(), Engine().receive])
def test_what_cannot_be_awaited_is_no_receiver(receive: Any) -> None:
    """The engine itself, or one that blocks: each message would be tried for hours, and be set aside."""
    with pytest.raises(InvalidRequest, match="coroutine function"):
        Subscription(Slow(), receive, name="s")


async def test_a_broker_that_is_away_is_told_of_in_its_own_words(caplog: pytest.LogCaptureFixture) -> None:
    """What an adapter found out of why, as a login that is refused, is what an operator needs."""

    class Away(Obedient):
        async def open(self) -> None:
            raise BusUnavailable("bus", "it refuses the login of guest")

    source = Away()
    source.go.set()
    with caplog.at_level("WARNING", "leanflow.webhook"):
        async with Subscription(source, saying(200), name="s"):
            pass
    assert "it refuses the login of guest" in caplog.messages[0]
