"""What becomes of one message: the verdicts, and what goes wrong while it is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import attrs
import pytest

from leanflow import Reply, State
from leanflow.cloudevents import CloudEvent
from leanflow.errors import InvalidRequest
from leanflow.ports import OutboxRow
from leanflow_adapters._bus import Options, Patience, Receive, Verdict, settle

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


def saying(status: int, *, retry: bool = False) -> Receive:
    """Return a receiver that says this."""

    async def receive(_headers: Mapping[str, str], _body: bytes) -> Reply:
        return Reply(status=status, retry=retry)

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
    for wrong in (*cases, {"only": ["fetched"], "webhooks": ["*"]}):
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
