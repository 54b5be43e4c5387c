"""Subscriptions to NATS streams: what is acknowledged, what comes again, what is set aside, over a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig

from leanflow import Reply
from leanflow.errors import BrokerSetup
from leanflow_adapters._bus import Subscription
from leanflow_adapters.nats import NatsBus, _incoming
from tests.support import nats as support
from tests.support.subscribing import SOON, Put, Receiver, Replies, Subscribe, Subscribing, until
from tests.support.wire import Wire, Wired


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Give a client beside the bus."""
    async with support.connected() as client:
        yield client


@pytest.fixture
async def stream(client: Client) -> AsyncIterator[str]:
    """Give the name of a stream for subjects that begin with it."""
    name = support.fresh_name()
    await client.jetstream().add_stream(StreamConfig(name=name, subjects=[f"{name}.>"]))
    yield name
    await support.drop(name, f"{name}-durable-set-aside")


class TestNatsSubscription(Wired, Subscribing):
    """Its broker is a real one, behind a wire that can be cut."""

    @pytest.fixture
    async def wire(self) -> AsyncIterator[Wire]:
        """Give a way to the server that can be cut."""
        async with Wire(support.HOST, support.PORT) as wire:
            yield wire

    @pytest.fixture
    def put(self, client: Client, stream: str) -> Put:
        """Put a message on the stream."""

        async def put(headers: Mapping[str, str], body: bytes) -> None:
            await client.jetstream().publish(f"{stream}.webhooks", body, headers=dict(headers))

        return put

    @pytest.fixture
    def subscribe(self, stream: str, wire: Wire) -> Subscribe:
        """Make a subscription."""

        def subscribe(receive: Receiver, **arguments: Any) -> Subscription:
            bus = NatsBus(servers=f"nats://127.0.0.1:{wire.port}")
            return bus.subscribe(f"{stream}.webhooks", receive, durable=f"{stream}-durable", **arguments)

        return subscribe

    @pytest.fixture
    def replies(self, client: Client) -> Replies:
        """Make a reply address."""

        async def replies() -> tuple[str, Callable[[], Awaitable[tuple[Mapping[str, str], bytes]]]]:
            address = client.new_inbox()
            listening = await client.subscribe(address)
            await client.flush()

            async def answer() -> tuple[Mapping[str, str], bytes]:
                msg = await listening.next_msg(timeout=20)
                return msg.headers or {}, msg.data

            return address, answer

        return replies

    @pytest.fixture
    def away(self, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractAsyncContextManager[None]]:
        """Cut the wire for a while.

        What the server hands to a connection before it knows that it is gone comes again after `ACK_WAIT`: a minute.
        """
        monkeypatch.setattr(_incoming, "ACK_WAIT", 2)
        return wire.away


async def fine(_headers: Mapping[str, str], _body: bytes) -> Reply:
    """Take it."""
    return Reply(status=200)


async def test_a_subject_without_a_stream_is_named(client: Client) -> None:
    """Entering says how to make it, and leaves nothing open."""
    name = support.fresh_name()
    bus = NatsBus(servers=support.URL)
    cases: tuple[dict[str, Any], ...] = ({}, {"stream": name})
    for arguments in cases:
        with pytest.raises(BrokerSetup, match=f"no stream .* takes the subject '{name}.x'.*nats stream add"):
            async with bus.subscribe(f"{name}.x", fine, durable=name, **arguments):
                pass  # pragma: no cover - entering raises


async def test_a_stream_is_made_where_that_was_asked_for(client: Client) -> None:
    """For the subject alone."""
    name = support.fresh_name()
    bus = NatsBus(servers=support.URL, create=True)
    try:
        async with bus.subscribe(f"{name}.x", fine, durable=name, stream=name) as subscription:
            await client.jetstream().publish(f"{name}.x", b"1")
            await until(lambda: subscription.counts["taken"] == 1)
    finally:
        await support.drop(name, f"{name}-set-aside")


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_subject="x.y"), "pushes"),
        (ConsumerConfig(filter_subject="*.other"), "is for the subject"),
        (ConsumerConfig(max_deliver=3), "drops messages after 3 deliveries"),
    ],
)
async def test_a_consumer_that_would_lose_messages_is_refused(
    client: Client, stream: str, config: ConsumerConfig, wrong: str
) -> None:
    """One of that name that pushes, is for something else or drops messages: the error says which."""
    durable = f"{stream}-durable"
    subject = config.filter_subject and f"{stream}.other"
    await client.jetstream().add_consumer(stream, config.evolve(durable_name=durable, filter_subject=subject))
    with pytest.raises(BrokerSetup, match=wrong):
        async with NatsBus(servers=support.URL).subscribe(f"{stream}.webhooks", fine, durable=durable):
            pass  # pragma: no cover - entering raises


async def test_an_order_to_the_server_is_no_reply_address(client: Client, stream: str) -> None:
    """Whoever may write to the subject is not to have us write to the server's own ones: set aside, with the reason."""
    durable = f"{stream}-durable"
    order = {"reply-to": f"$JS.API.STREAM.PURGE.{stream}"}
    await client.jetstream().publish(f"{stream}.webhooks", b"x", headers=order)
    bus = NatsBus(servers=support.URL)
    async with bus.subscribe(f"{stream}.webhooks", fine, durable=durable, max_deliver=1) as subscription:
        await until(lambda: subscription.counts["set_aside"] == 1)
        (kept,) = await subscription.set_aside()
    assert kept.reason == "no answer could be sent: MessageRefused"
    assert (await client.jetstream().stream_info(stream)).state.messages == 1


async def test_an_address_at_which_the_server_would_hang_up_is_no_reply_address(client: Client, stream: str) -> None:
    """It would cost the connection, the acknowledgement with it, and come again for ever."""
    durable = f"{stream}-durable"
    await client.jetstream().publish(f"{stream}.webhooks", b"x", headers={"reply-to": "x" * 10_000})
    bus = NatsBus(servers=support.URL)
    async with bus.subscribe(f"{stream}.webhooks", fine, durable=durable, max_deliver=1) as subscription:
        await until(lambda: bool(subscription.counts))
        (kept,) = await subscription.set_aside()
    assert kept.reason == "no answer could be sent: MessageRefused"


async def test_a_message_that_fills_the_servers_limit_can_be_set_aside(client: Client, stream: str) -> None:
    """With the reason it would be larger than what the server takes, which would hang up on all: it is kept without."""
    durable = f"{stream}-durable"
    body, heard = b"x" * (client.max_payload - 200), list[int]()

    async def receive(_headers: Mapping[str, str], body: bytes) -> Reply:
        heard.append(len(body))
        return Reply(status=413 if len(body) > 1000 else 200)

    await client.jetstream().publish(f"{stream}.webhooks", body, headers={"lean-signature": "s" * 100})
    await client.jetstream().publish(f"{stream}.webhooks", b"small")
    bus = NatsBus(servers=support.URL)
    async with bus.subscribe(f"{stream}.webhooks", receive, durable=durable) as subscription:
        await until(lambda: subscription.counts["set_aside"] == 1 and subscription.counts["taken"] == 1)
        (kept,) = await subscription.set_aside()
    assert len(kept.body) == len(body)
    assert kept.headers == {"lean-signature": "s" * 100}
    assert len(heard) == 2


async def test_a_consumer_that_is_gone_is_made_again(
    client: Client, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends no fetch for it, and would be waited for in silence; nothing is left of what listened there."""
    monkeypatch.setattr(_incoming, "LOOKING", 0.0)
    durable, js = f"{stream}-durable", client.jetstream()
    async with support.connected() as theirs:
        bus = NatsBus(client=theirs)
        async with bus.subscribe(f"{stream}.webhooks", fine, durable=durable, backoff=SOON) as subscription:
            for _ in range(3):
                before = subscription.counts["taken"]
                await js.publish(f"{stream}.webhooks", b"x")
                await until(lambda: subscription.counts["taken"] > before)  # noqa: B023 - waited for here
                assert len(theirs._subs) <= 2
                await js.delete_consumer(stream, durable)
            await js.delete_stream(stream)
            await js.add_stream(StreamConfig(name=stream, subjects=[f"{stream}.>"]))
            before = subscription.counts["taken"]
            await js.publish(f"{stream}.webhooks", b"x")
            await until(lambda: subscription.counts["taken"] > before)


async def test_looking_alone_keeps_no_connection(client: Client, stream: str) -> None:
    """What was connected for it is closed after it."""
    async with Wire(support.HOST, support.PORT) as wire:
        bus = NatsBus(servers=f"nats://127.0.0.1:{wire.port}")
        assert list(await bus.subscribe(f"{stream}.webhooks", fine, durable=f"{stream}-durable").set_aside()) == []
        await until(lambda: not wire.connections)
