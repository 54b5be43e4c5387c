"""The NATS bus keeps the port's promises, over a real server, in both envelopes and with a client of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import attrs
import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

from leanflow import State
from leanflow.cloudevents import read
from leanflow.errors import BrokerSetup, BusUnavailable, InvalidRequest, MessageRefused
from leanflow.ports import OutboxRow
from leanflow.testing.conformance import BusConformance, Published
from leanflow_adapters._bus import Envelope
from leanflow_adapters.nats import NatsBus
from tests.support import nats as support
from tests.support.wire import Wire, Wired

LIMIT = 100_000  # of the test's streams; the server's own is a megabyte


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Give a client beside the bus."""
    async with support.connected() as client:
        yield client


@pytest.fixture
async def stream(client: Client) -> AsyncIterator[str]:
    """Give the name of an empty stream, of which subjects begin with it."""
    name = support.fresh_name()
    await client.jetstream().add_stream(StreamConfig(name=name, subjects=[f"{name}.>"], max_msg_size=LIMIT))
    yield name
    await client.jetstream().delete_stream(name)


@pytest.fixture
async def wire(client: Client) -> AsyncIterator[Wire]:
    """Give a way to the server that can be cut."""
    async with Wire(support.HOST, support.PORT) as wire:
        yield wire


class TestNatsBus(Wired, BusConformance):
    """Structured, its own client."""

    envelope: Envelope = "structured"

    @pytest.fixture
    async def bus(self, stream: str, wire: Wire, timeout: float) -> AsyncIterator[NatsBus]:
        """Give an open bus."""
        bus = NatsBus(
            servers=f"nats://127.0.0.1:{wire.port}",
            stream=stream,
            topic=lambda event: f"{stream}.{event.kind}",
            envelope=self.envelope,
            timeout=timeout,
        )
        await bus.open()
        yield bus
        await bus.aclose()

    @pytest.fixture
    def messages(self, client: Client, stream: str) -> Callable[[], Awaitable[list[Published]]]:
        """Give what the stream has."""

        async def messages() -> list[Published]:
            there = [read(msg.headers or {}, msg.data or b"") for msg in await support.kept(client, stream)]
            return [
                Published(key=each.key, kind=each.kind, request_id=each.request_id, payload=each.payload)
                for each in there
            ]

        return messages

    @pytest.fixture
    def unwanted(self) -> Callable[[OutboxRow], OutboxRow]:
        """Make a payload too large for the stream."""
        return lambda row: attrs.evolve(row, payload=f'"{"x" * LIMIT}"')


class TestNatsBusBinary(TestNatsBus):
    """Binary: attributes as headers."""

    envelope = "binary"
    hangs = False


class TestNatsBusOfAnApplication(TestNatsBus):
    """With the application's own client, which nobody closes; it heals by itself."""

    loses_broker = False
    hangs = False

    @pytest.fixture
    async def bus(self, stream: str, client: Client) -> AsyncIterator[NatsBus]:
        """Give an open bus."""
        bus = NatsBus(client=client, stream=stream, topic=lambda event: f"{stream}.{event.kind}")
        await bus.open()
        yield bus
        await bus.aclose()
        assert client.is_connected

    @pytest.fixture
    def away(self) -> Callable[[], AbstractAsyncContextManager[None]]:
        """Skip."""
        pytest.skip("loses_broker = False")


# --- what NATS alone has -----------------------------------------------------------------------------------------

ROW = OutboxRow(key="r:1:requested", sink="nats", kind="change", request_id="r", payload="{}")


async def test_a_missing_stream_is_named_with_the_way_to_make_it(client: Client) -> None:
    """Opening says so, before anything is published; nothing stays open."""
    name = support.fresh_name()
    with pytest.raises(BrokerSetup, match=f"no stream '{name}'.*nats stream add {name}.*create=True"):
        await NatsBus(servers=support.URL, stream=name).open()


async def test_a_stream_is_made_where_that_was_asked_for(client: Client) -> None:
    """And found the next time."""
    name = support.fresh_name()
    bus = NatsBus(servers=support.URL, stream=name, topic=f"{name}.flows", subjects=[f"{name}.>"], create=True)
    try:
        for _ in range(2):
            await bus.open()
            assert list(await bus.publish([ROW])) == [None]
            await bus.aclose()
        assert len(await support.kept(client, name)) == 1, "the second is a repeat of the first, and dropped"
    finally:
        await support.drop(name)


async def test_a_subject_that_the_stream_does_not_take_is_named_at_the_start(client: Client, stream: str) -> None:
    """Whether none takes it or another does; nothing would ever be delivered."""
    other = support.fresh_name()
    await client.jetstream().add_stream(name=other, subjects=[f"{other}.>"])
    try:
        for topic in (f"else-{stream}", f"{other}.a"):
            with pytest.raises(BrokerSetup, match=f"'{stream}' does not take the subject '{topic}'.*topic="):
                await NatsBus(servers=support.URL, stream=stream, topic=topic).open()
    finally:
        await support.drop(other)


async def test_a_stream_that_does_not_take_the_subjects_by_default_is_named_at_the_start(stream: str) -> None:
    """They are known: those of the states that are announced."""
    with pytest.raises(BrokerSetup, match=r"does not take the subject 'leanflow\.flow\.requested'"):
        await NatsBus(servers=support.URL, stream=stream).open()
    with pytest.raises(BrokerSetup, match=r"does not take the subject 'leanflow\.flow\.failed'"):
        await NatsBus(servers=support.URL, stream=stream, only={State.failed}).open()


async def test_a_subject_that_no_stream_takes_is_named(stream: str) -> None:
    """It is that row's fault, and the stream's: the error says which."""
    topics = iter([f"{stream}.a", f"else-{stream}", f"{stream}.b"])
    bus = NatsBus(servers=support.URL, stream=stream, topic=lambda _: next(topics))
    await bus.open()
    errors = await bus.publish([attrs.evolve(ROW, key=f"r:{n}:x", request_id=f"r{n}") for n in range(3)])
    await bus.aclose()
    assert [type(error) for error in errors] == [type(None), BrokerSetup, type(None)]
    assert f"else-{stream}" in str(errors[1])


async def test_more_than_the_server_takes_is_refused_before_it_hangs_up(stream: str) -> None:
    """The server counts headers, its client does not: such a message would cost the connection."""
    bus = NatsBus(servers=support.URL, stream=stream, topic=f"{stream}.a", envelope="binary")
    await bus.open()
    rows = [
        attrs.evolve(ROW, key=f"r:{n}:x", request_id=f"r{n}", payload='"' + "x" * (size - 2) + '"')
        for n, size in enumerate([10, 1_048_576, 10])
    ]
    errors = await bus.publish(rows)
    await bus.aclose()
    assert [type(error) for error in errors] == [type(None), MessageRefused, type(None)]
    assert "headers included" in str(errors[1])


async def test_a_subject_at_which_the_server_would_hang_up_costs_its_own_row(stream: str) -> None:
    """The server closes the connection over a line that is too long, and takes the other rows along."""
    topics = iter([f"{stream}.a", f"{stream}.{'x' * 5000}", f"{stream}.b"])
    bus = NatsBus(servers=support.URL, stream=stream, topic=lambda _: next(topics))
    await bus.open()
    errors = await bus.publish([attrs.evolve(ROW, key=f"r:{n}:x", request_id=f"r{n}") for n in range(3)])
    await bus.aclose()
    assert [type(error) for error in errors] == [type(None), MessageRefused, type(None)]


def test_one_bus_serves_one_loop_after_the_other() -> None:
    """As under `leanflow.blocking`, which closes and opens again: nothing that waits is left of the loop before."""
    name = support.fresh_name()
    bus = NatsBus(servers=support.URL, stream=name, topic=f"{name}.a", subjects=[f"{name}.>"], create=True)

    async def used() -> None:
        await bus.open()
        await bus._link.forget(await bus._link.client())  # as when it does not answer: several want the next one
        rows = [attrs.evolve(ROW, key=f"r:{n}:x") for n in range(3)]
        assert await asyncio.gather(*(bus.publish([row]) for row in rows)) == [[None]] * 3
        await asyncio.gather(bus.hold(), bus.hold(), bus.let_go(), bus.let_go())
        publishing = asyncio.ensure_future(bus.publish([ROW]))
        await asyncio.sleep(0)
        await bus.aclose()
        assert await publishing == [None]
        await asyncio.gather(bus.hold(), bus.hold())
        await asyncio.gather(bus.let_go(), bus.let_go())

    try:
        for _ in range(2):
            asyncio.run(used())
    finally:
        asyncio.run(support.drop(name))


async def test_a_function_that_raises_costs_its_own_row() -> None:
    """Nothing is known of what applications' functions do."""
    name = support.fresh_name()
    bus = NatsBus(
        servers=support.URL, stream=name, subjects=[f"{name}.>"], create=True, topic=lambda e: e.attributes[e.key]
    )
    try:
        await bus.open()
        (error,) = await bus.publish([ROW])
        assert isinstance(error, KeyError)
        await bus.aclose()
    finally:
        await support.drop(name)


async def test_no_server_is_an_error_and_leaves_nothing() -> None:
    """Opening fails soon, and the same bus can be opened later."""
    async with Wire(support.HOST, support.PORT) as wire:
        port = wire.port
    bus = NatsBus(servers=f"nats://127.0.0.1:{port}", stream="x")
    for _ in range(2):
        with pytest.raises(BusUnavailable):
            await bus.open()
    assert not bus.is_open
    await bus.aclose()


@pytest.mark.skipif(support.NatsServer.missing() is not None, reason="nats-server not found")
async def test_a_server_that_stands_still_is_left_and_asked_anew() -> None:
    """No confirmation: each row is told so, and the next batch goes over another connection."""
    async with support.NatsServer() as server:
        bus = NatsBus(servers=server.url, stream="out", topic="out", subjects=["out"], create=True, timeout=1)
        await bus.open()
        server.freeze()
        (error,) = await bus.publish([ROW])
        server.thaw()
        assert isinstance(error, BusUnavailable)
        assert "no confirmation" in str(error)
        assert list(await bus.publish([ROW])) == [None]
        await bus.aclose()
        async with support.connected(server.url) as client:
            assert len(await support.kept(client, "out")) == 1, "had the first one come, the second is its repeat"


async def test_an_applications_client_that_is_gone_is_an_error(stream: str) -> None:
    """It is not ours to connect."""
    async with support.connected() as theirs:
        bus = NatsBus(client=theirs, stream=stream, topic=f"{stream}.a")
        await bus.open()
    (error,) = await bus.publish([ROW])
    assert isinstance(error, BusUnavailable)
    await bus.aclose()


async def test_a_row_is_repeated_with_its_id_as_message_id(client: Client, stream: str) -> None:
    """Consumers and the server can drop repeats; an id that is no header's text is quoted."""
    bus = NatsBus(servers=support.URL, stream=stream, topic=f"{stream}.a")
    await bus.open()
    odd = attrs.evolve(ROW, key="webhook:event:é\r\nX: 1")
    assert list(await bus.publish([ROW, odd])) == [None, None]
    await bus.aclose()
    one, two = await support.kept(client, stream)
    assert (one.headers or {})["Nats-Msg-Id"] == ROW.key
    assert (two.headers or {})["Nats-Msg-Id"] == "webhook:event:%C3%A9%0D%0AX:%201"
    assert read(two.headers or {}, two.data or b"").key == odd.key


def test_it_is_built_cold_and_says_nothing_of_secrets() -> None:
    """No loop, no I/O; what is wrong is named."""
    bus = NatsBus(servers="nats://user:geheim@nowhere:1", only={"fetched"})
    assert repr(bus) == "NatsBus('nats', closed)"
    assert (bus.sink.states, bus.sink.reports) == (frozenset({"fetched"}), False)
    for wrong in (
        {},
        {"servers": "x", "client": Client()},
        {"servers": "x", "only": ["gone"]},
        {"servers": "x", "name": "wake"},
    ):
        with pytest.raises(InvalidRequest):
            NatsBus(**wrong)
