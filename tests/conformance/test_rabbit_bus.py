"""The RabbitMQ bus keeps the port's promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from urllib.parse import urlsplit, urlunsplit

import aio_pika
import attrs
import pytest
from aio_pika.abc import AbstractIncomingMessage

from leanflow import cloudevents
from leanflow.errors import BrokerSetup, BusUnavailable, InvalidRequest, MessageRefused
from leanflow.ports import OutboxRow
from leanflow.testing.conformance import BusConformance, Published
from leanflow_adapters.rabbitmq import RabbitBus, Unroutable
from leanflow_adapters.rabbitmq._link import Letter, Link
from tests.support.rabbitmq import URL, Rabbit, rabbit, wired
from tests.support.rows import change_row
from tests.support.wire import Wire

NOWHERE = "unbound"
Broker = tuple[Rabbit, Wire, str]


def topic(event: cloudevents.CloudEvent) -> str:
    """Route by kind; what says so goes where no queue is bound."""
    return NOWHERE if NOWHERE in event.payload else f"flows.{event.kind}"


def published(message: AbstractIncomingMessage) -> Published:
    """Return a message as the suite knows it."""
    said = {name: str(value) for name, value in message.headers.items()}
    event = cloudevents.read({**said, "content-type": message.content_type or ""}, message.body)
    assert message.message_id == event.key
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    return Published(key=event.key, kind=event.kind, request_id=event.request_id, payload=event.payload)


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """Give an exchange and its queue, and a wire to the broker."""
    async with rabbit() as made, wired() as (wire, url):
        yield made, wire, url


class TestRabbitBus(BusConformance):
    """Over a wire that can be cut."""

    @pytest.fixture
    async def bus(self, broker: Broker, timeout: float) -> AsyncIterator[RabbitBus]:
        """Give an open bus."""
        made, _, url = broker
        bus = RabbitBus(url, exchange=made.exchange, topic=topic, timeout=timeout)
        await bus.open()
        yield bus
        await bus.aclose()

    @pytest.fixture
    def messages(self, broker: Broker) -> Callable[[], Awaitable[list[Published]]]:
        """Give what the queue got."""
        there: list[Published] = []

        async def messages() -> list[Published]:
            there.extend(published(message) for message in await broker[0].take())
            return list(there)

        return messages

    @pytest.fixture
    def unwanted(self) -> Callable[[OutboxRow], OutboxRow]:
        """Make a row for which no queue is bound."""
        return lambda row: attrs.evolve(row, payload=f'"{NOWHERE}"')

    @pytest.fixture
    def away(self, broker: Broker) -> Callable[[], AbstractAsyncContextManager[None]]:
        """Cut the wire for a while."""
        return broker[1].away

    @pytest.fixture
    def silent(self, broker: Broker) -> Callable[[], AbstractAsyncContextManager[None]]:
        """Let the broker accept and never answer for a while."""
        return broker[1].silent


async def test_binary_mode_says_the_same_in_headers(broker: Broker) -> None:
    """In binary mode attributes are headers, as the AMQP binding of CloudEvents has it, and the body is the payload."""
    made, _, url = broker
    bus = RabbitBus(url, exchange=made.exchange, topic=topic, envelope="binary")
    await bus.open()
    assert list(await bus.publish([change_row()])) == [None]
    await bus.aclose()
    (message,) = await made.take()
    assert published(message) == Published.of(change_row())
    assert message.headers["cloudEvents:type"] == "leanflow.flow.change.v1"
    assert message.body.decode() == change_row().payload


async def test_an_unroutable_row_says_where_it_was_to_go(broker: Broker) -> None:
    """The error names exchange and routing key: what to bind."""
    bus = RabbitBus(broker[2], exchange=broker[0].exchange, topic=NOWHERE)
    await bus.open()
    (error,) = await bus.publish([change_row()])
    await bus.aclose()
    assert isinstance(error, Unroutable)
    assert broker[0].exchange in str(error)
    assert NOWHERE in str(error)


async def test_a_missing_exchange_is_named(broker: Broker) -> None:
    """Opening says which exchange is missing and what to do; with create=True it is made."""
    name = f"{broker[0].exchange}-more"
    with pytest.raises(BrokerSetup, match=name):
        await RabbitBus(broker[2], exchange=name).open()
    bus = RabbitBus(broker[2], exchange=name, create=True)
    await bus.open()
    await bus.aclose()
    bus = RabbitBus(broker[2], exchange=name)
    await bus.open()
    await bus.aclose()
    async with await aio_pika.connect(URL) as connection:
        await (await connection.channel()).exchange_delete(name)


async def test_a_broker_that_is_away_at_the_start_is_unavailable(broker: Broker) -> None:
    """Opening raises what says: try again; and leaves nothing behind."""
    bus = RabbitBus(broker[2], exchange=broker[0].exchange, timeout=2)
    async with broker[1].away():
        with pytest.raises(BusUnavailable):
            await bus.open()
    await bus.open()
    await bus.aclose()


async def test_a_message_at_which_the_channel_is_closed_costs_no_other() -> None:
    """RabbitMQ answers some messages by closing the channel: those beside such a one are sent once more."""
    async with rabbit() as made:
        link = Link("rabbitmq", URL, None, 5)

        def letter(key: str, user: str | None = None) -> Letter:
            message = aio_pika.Message(b"{}", message_id=key, user_id=user)
            return Letter(exchange="", topic=made.queue, message=message)

        errors = await link.send([letter("a"), letter("b", "somebody-else"), letter("c")])
        assert [error is None for error in errors] == [True, False, True]
        assert await link.send([letter("d")]) == [None], "the channel was made anew"
        await link.aclose()
        firsts = list(dict.fromkeys(message.message_id for message in await made.take()))
        assert firsts == ["a", "c", "d"]


async def test_a_row_that_is_too_large_is_not_sent(broker: Broker) -> None:
    """At a message over its limit RabbitMQ closes the channel: it is kept back, and costs no other."""
    bus = RabbitBus(broker[2], exchange=broker[0].exchange, topic="flows.x", max_bytes=2000)
    await bus.open()
    errors = await bus.publish([change_row(1), change_row(2, payload=f'"{"x" * 2000}"'), change_row(3)])
    await bus.aclose()
    assert [type(error) for error in errors] == [type(None), MessageRefused, type(None)]


async def test_a_row_that_is_too_large_is_refused_alone_as_well(broker: Broker) -> None:
    """There is nothing to send then."""
    bus = RabbitBus(broker[2], exchange=broker[0].exchange, topic="flows.x", max_bytes=2000)
    await bus.open()
    (error,) = await bus.publish([change_row(1, payload=f'"{"x" * 2000}"')])
    await bus.aclose()
    assert isinstance(error, MessageRefused)


async def test_what_amqp_has_no_room_for_is_refused(broker: Broker) -> None:
    """A routing key and a message id have at most 255 bytes; that is no outage, and is not tried for ever."""
    topics = iter(["flows.x", f"flows.{'x' * 250}", "flows.y", "flows.z"])
    bus = RabbitBus(broker[2], exchange=broker[0].exchange, topic=lambda _: next(topics))
    await bus.open()
    rows = [change_row(1), change_row(2), attrs.evolve(change_row(3), key="x" * 256), change_row(4)]
    errors = await bus.publish(rows)
    await bus.aclose()
    assert [type(error) for error in errors] == [type(None), MessageRefused, MessageRefused, type(None)]


async def test_opening_that_is_called_off_leaves_no_connection(broker: Broker) -> None:
    """At whatever moment: an engine waits two seconds for a bus, and then goes on without it."""
    made, wire, url = broker
    for step in range(2000):
        bus = RabbitBus(url, exchange=made.exchange)
        opening = asyncio.ensure_future(bus.open())
        await asyncio.wait({opening}, timeout=step / 2000)
        if opening.done():
            await bus.aclose()
            break
        opening.cancel()
        await asyncio.wait({opening})
        async with asyncio.timeout(20):
            while wire.connections:
                await asyncio.sleep(0.001)


async def test_a_handed_connection_is_never_closed(broker: Broker) -> None:
    """The application's connection goes on when the bus is closed, and the bus goes on when it comes back."""
    made, wire, url = broker
    connection = await aio_pika.connect_robust(url, reconnect_interval=0.05)
    bus = RabbitBus(connection=connection, exchange=made.exchange, topic="flows.x", timeout=5)
    await bus.open()
    assert await bus.publish([change_row(1)]) == [None]
    async with wire.away():
        (error,) = await bus.publish([change_row(2)])
        assert error is not None
    await connection.ready()
    assert await bus.publish([change_row(3)]) == [None]
    await bus.aclose()
    assert not connection.is_closed
    await (await connection.channel()).close()
    await connection.close()


@pytest.mark.parametrize(
    ("parts", "said"),
    [({"netloc": "guest:geheim@"}, "refuses this user, or the password"), ({"path": "/nosuch"}, "no such vhost")],
)
async def test_a_login_that_is_refused_is_told_in_words(broker: Broker, parts: dict[str, str], said: str) -> None:
    """It is waited for, as users and vhosts are made while brokers start; but the log says what to look at."""
    there = urlsplit(URL)
    if "netloc" in parts:
        parts = {"netloc": parts["netloc"] + there.netloc.rpartition("@")[2]}
    with pytest.raises(BusUnavailable, match=said) as caught:
        await RabbitBus(urlunsplit(there._replace(**parts))).open()
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(("url", "connection"), [(None, None), (URL, object())])
def test_it_takes_a_url_or_a_connection(url: str | None, connection: object) -> None:
    """Neither, or both, is refused where the bus is made."""
    with pytest.raises(InvalidRequest):
        RabbitBus(url, connection=connection)  # type: ignore[arg-type]  # any object: it is not used


def test_its_repr_shows_no_password() -> None:
    """A URL has a password in it."""
    assert "s3cret" not in repr(RabbitBus("amqp://lean:s3cret@127.0.0.1/"))
