"""Subscriptions to queues of RabbitMQ: what is acknowledged, comes again, is set aside, over a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import aio_pika
import pytest
from aio_pika.exceptions import ChannelNotFoundEntity

from leanflow import Reply
from leanflow.errors import BrokerSetup, BusUnavailable
from leanflow_adapters._bus import Subscription
from leanflow_adapters.rabbitmq import RabbitBus
from tests.support.rabbitmq import URL, Rabbit, rabbit, wired
from tests.support.subscribing import SOON, Put, Receiver, Replies, Subscribe, Subscribing, until
from tests.support.wire import Wire


@pytest.fixture
async def broker() -> AsyncIterator[Rabbit]:
    """Give an exchange with a queue."""
    async with rabbit() as made:
        yield made


class TestRabbitSubscription(Subscribing):
    """Its broker is a real one, behind a wire that can be cut."""

    @pytest.fixture
    async def wire(self) -> AsyncIterator[tuple[Wire, str]]:
        """Give a way to the broker that can be cut."""
        async with wired() as wire:
            yield wire

    @pytest.fixture
    def put(self, broker: Rabbit) -> Put:
        """Put a message into the queue; its reply address is a property."""

        async def put(headers: Mapping[str, str], body: bytes) -> None:
            named = dict(headers)
            await broker.put(body, named, reply_to=named.pop("reply-to", None), correlation_id="c-1")

        return put

    @pytest.fixture
    def subscribe(self, broker: Rabbit, wire: tuple[Wire, str]) -> Subscribe:
        """Make a subscription."""

        def subscribe(receive: Receiver, **arguments: Any) -> Subscription:
            return RabbitBus(wire[1], timeout=5).subscribe(broker.queue, receive, **arguments)

        return subscribe

    @pytest.fixture
    def away(self, wire: tuple[Wire, str]) -> Callable[[], AbstractAsyncContextManager[None]]:
        """Cut the wire for a while."""
        return wire[0].away

    @pytest.fixture
    async def replies(self) -> AsyncIterator[Replies]:
        """Make a reply address: a queue that goes when its maker does."""
        async with await aio_pika.connect(URL) as connection:
            channel = await connection.channel()

            async def replies() -> tuple[str, Callable[[], Awaitable[tuple[Mapping[str, str], bytes]]]]:
                queue = await channel.declare_queue(exclusive=True)
                came: asyncio.Queue[aio_pika.abc.AbstractIncomingMessage] = asyncio.Queue()
                await queue.consume(came.put, no_ack=True)

                async def answer() -> tuple[Mapping[str, str], bytes]:
                    message = await came.get()
                    assert message.correlation_id == "c-1"
                    return {name: str(value) for name, value in message.headers.items()}, message.body

                return queue.name, answer

            yield replies


async def fine(_headers: Mapping[str, str], _body: bytes) -> Reply:
    """Take it."""
    return Reply(status=200)


async def test_a_missing_queue_is_named(broker: Rabbit) -> None:
    """Entering says which queue is missing and what to do, leaves nothing open, and makes no queue beside it."""
    name = f"{broker.queue}-nowhere"
    with pytest.raises(BrokerSetup, match=f"no queue '{name}'"):
        async with RabbitBus(URL).subscribe(name, fine):
            pass  # pragma: no cover - entering raises
    async with await aio_pika.connect(URL) as connection:
        with pytest.raises(ChannelNotFoundEntity):
            await (await connection.channel()).get_queue(f"{name}.set-aside")


async def test_who_asked_and_left_holds_up_nothing(broker: Rabbit) -> None:
    """A reply that nobody takes any more is let go of: the message is done."""
    await broker.put(b"x", {}, reply_to="nobody-is-there")
    async with RabbitBus(URL).subscribe(broker.queue, fine) as subscription:
        await until(lambda: subscription.counts["taken"] == 1)
    assert not subscription.counts["set_aside"]


async def test_what_waits_long_is_not_before_what_waits_a_little(broker: Rabbit) -> None:
    """Messages wait in queues by how long they wait: RabbitMQ looks only at the head of one."""
    heard: list[bytes] = []

    async def receive(_headers: Mapping[str, str], body: bytes) -> Reply:
        heard.append(body)
        return Reply(status=503, retry=heard.count(body) == 1)

    await broker.put(b"long", {"x-leanflow-tries": 2})
    await broker.put(b"little", {})
    waits = (timedelta(milliseconds=50), timedelta(milliseconds=50), timedelta(seconds=20))
    async with RabbitBus(URL).subscribe(broker.queue, receive, backoff=waits) as subscription:
        await until(lambda: heard.count(b"little") == 2)
        assert heard.count(b"long") == 1
        assert subscription.counts["again"] == 2


async def test_a_queue_that_is_deleted_is_waited_for(broker: Rabbit) -> None:
    """RabbitMQ ends the consumer without closing anything: once the queue is back, so is the consumer."""
    async with RabbitBus(URL).subscribe(broker.queue, fine) as subscription:
        await broker.remake()
        await broker.put(b"x", {})
        await until(lambda: subscription.counts["taken"] == 1)


@pytest.mark.parametrize(
    ("body", "verdict", "gone"), [(b"bad", "set_aside", "set-aside"), (b"raise", "again", "again.1s")]
)
async def test_a_queue_beside_it_that_was_deleted_is_made_again(
    broker: Rabbit, body: bytes, verdict: str, gone: str
) -> None:
    """What cannot be put there is given back and comes again; it does not hold a place for ever."""
    async with RabbitBus(URL).subscribe(broker.queue, Receiver(), concurrency=1, backoff=SOON) as subscription:
        await broker.put(body + b" 1", {})
        await until(lambda: subscription.counts[verdict] >= 1)
        await broker.drop(broker.exchange, f"{broker.queue}.{gone}")
        await broker.put(body + b" 2", {})
        before = subscription.counts[verdict]
        await until(lambda: subscription.counts[verdict] > before)
        await broker.put(b"take", {})
        await until(lambda: subscription.counts["taken"] == 1)


async def test_looking_alone_keeps_no_connection(broker: Rabbit) -> None:
    """What was connected for it is closed after it."""
    async with wired() as (wire, url):
        assert list(await RabbitBus(url).subscribe(broker.queue, fine).set_aside()) == []
        await until(lambda: not wire.connections)


async def test_a_fetch_ends_when_no_more_is_wanted() -> None:
    """It looks no more whether something may come."""
    source = RabbitBus(URL).subscribe("queue", fine)._source
    with pytest.raises(BusUnavailable):
        await source.fetch(1)
    source.stop()
    assert list(await source.fetch(1)) == []
