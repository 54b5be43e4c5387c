"""The Redis Streams bus keeps the port's promises, and its subscriptions theirs, over a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from leanflow.cloudevents import read
from leanflow.errors import BrokerSetup, BusUnavailable, InvalidRequest
from leanflow.ports import OutboxRow
from leanflow.testing.conformance import BusConformance, Published
from leanflow_adapters._bus import Envelope, Subscription, _subscription
from leanflow_adapters.redis_streams import RedisStreamsBus, _acks, _incoming
from leanflow_adapters.redis_streams._acks import Acks
from leanflow_adapters.redis_streams._link import Link
from tests.support import redis as support
from tests.support.subscribing import PATIENCE, Put, Receiver, Replies, Subscribe, Subscribing, until
from tests.support.wire import Wire, Wired

REFUSED = '"wanted elsewhere"'


@pytest.fixture
async def stream() -> AsyncIterator[str]:
    """Give a key that nobody has; what begins with it is gone afterwards."""
    name = await support.fresh_prefix()
    yield name
    async with Redis.from_url(support.URL) as client:
        keys = [key async for key in client.scan_iter(match=f"{name}*", count=1000)]
        if keys:
            await client.delete(*keys)


@pytest.fixture
async def client(stream: str) -> AsyncIterator[Any]:
    """Give a client beside the bus."""
    async with Redis.from_url(support.URL) as client:
        yield client


@pytest.fixture
async def wire(stream: str) -> AsyncIterator[Wire]:
    """Give a way to the server that can be cut."""
    at = urlsplit(support.URL)
    async with Wire(at.hostname or "127.0.0.1", at.port or 6379) as wire:
        yield wire


class TestRedisStreamsBus(Wired, BusConformance):
    """Structured, its own client."""

    envelope: Envelope = "structured"

    @pytest.fixture
    async def bus(self, stream: str, wire: Wire, client: Any, timeout: float) -> AsyncIterator[RedisStreamsBus]:
        """Give an open bus, whose topic for some payloads is a key that is no stream."""
        await client.set(f"{stream}:text", "x")
        bus = RedisStreamsBus(
            f"redis://127.0.0.1:{wire.port}/0",
            topic=lambda event: f"{stream}:text" if event.payload == REFUSED else stream,
            envelope=self.envelope,
            timeout=timeout,
        )
        await bus.open()
        yield bus
        await bus.aclose()

    @pytest.fixture
    def messages(self, client: Any, stream: str) -> Callable[[], Awaitable[list[Published]]]:
        """Give what the stream has."""

        async def messages() -> list[Published]:
            found = []
            for _, fields in await client.xrange(stream):
                told = {name.decode(): value for name, value in fields.items()}
                body = told.pop("data")
                event = read({name: value.decode() for name, value in told.items()}, body)
                assert told["id"].decode() == event.key
                found.append(
                    Published(key=event.key, kind=event.kind, request_id=event.request_id, payload=event.payload)
                )
            return found

        return messages

    @pytest.fixture
    def unwanted(self) -> Callable[[OutboxRow], OutboxRow]:
        """Have it sent to a key that is no stream."""
        return lambda row: attrs.evolve(row, payload=REFUSED)


class TestRedisStreamsBusBinary(TestRedisStreamsBus):
    """Binary: attributes as fields."""

    envelope = "binary"
    hangs = False


class TestRedisStreamsSubscription(Wired, Subscribing):
    """Its broker is a real one, behind a wire that can be cut."""

    @pytest.fixture
    def put(self, client: Any, stream: str) -> Put:
        """Put an entry on the stream."""

        async def put(headers: Mapping[str, str], body: bytes) -> None:
            fields: dict[Any, Any] = {**headers, "data": body}
            await client.xadd(stream, fields)

        return put

    @pytest.fixture
    def subscribe(self, stream: str, wire: Wire) -> Subscribe:
        """Make a subscription."""

        def subscribe(receive: Receiver, **arguments: Any) -> Subscription:
            bus = RedisStreamsBus(f"redis://127.0.0.1:{wire.port}/0")
            return bus.subscribe(stream, receive, durable="group", **arguments)

        return subscribe

    @pytest.fixture
    def replies(self, client: Any, stream: str) -> Replies:
        """Make a reply address."""
        number = iter(range(100))

        async def replies() -> tuple[str, Callable[[], Awaitable[tuple[Mapping[str, str], bytes]]]]:
            address = f"{stream}:replies:{next(number)}"

            async def answer() -> tuple[Mapping[str, str], bytes]:
                while not (entries := await client.xrange(address)):
                    await asyncio.sleep(0.005)
                told = {name.decode(): value for name, value in entries[0][1].items()}
                body = told.pop("data")
                return {name: value.decode() for name, value in told.items()}, body

            return address, answer

        return replies

    async def test_what_a_dead_process_had_is_taken_over(
        self,
        put: Put,
        subscribe: Subscribe,
        receiver: Receiver,
        client: Any,
        stream: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Once it was idle so long; what waits for its own time is left to wait."""
        await put({}, b"take")
        await client.xgroup_create(stream, "group", id="0")
        assert await client.xreadgroup("group", "dead", {stream: ">"}, count=1)
        monkeypatch.setattr(_incoming, "IDLE", 1)
        await put({}, b"raise")
        async with subscribe(receiver) as subscription:
            await until(lambda: subscription.counts["taken"] == 1 and subscription.counts["again"] >= 1)
        async with subscribe(receiver):
            await put({}, b"take too")
            await until(lambda: b"take too" in receiver.bodies)
        assert {b"raise", b"take", b"take too"} == set(receiver.bodies)
        assert receiver.bodies.count(b"raise") <= 2, "it waited for its time"

    async def test_what_was_trimmed_away_meanwhile_is_let_go(
        self, put: Put, subscribe: Subscribe, receiver: Receiver, client: Any, stream: str
    ) -> None:
        """A stream that the application trims has lost it; the others go on."""
        await put({}, b"raise")
        async with subscribe(receiver, backoff=Subscribing.soon) as subscription:
            await until(lambda: subscription.counts["again"] >= 1)
            await client.xtrim(stream, maxlen=0)
            await put({}, b"take")
            await until(lambda: subscription.counts["taken"] == 1)
            async with asyncio.timeout(20):
                while (await client.xpending(stream, "group"))["pending"]:
                    await asyncio.sleep(0.01)

    async def test_what_cannot_be_set_aside_is_not_acknowledged(
        self,
        put: Put,
        subscribe: Subscribe,
        receiver: Receiver,
        client: Any,
        stream: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Somebody has another thing under that key: the message comes again, and is kept once that is mended."""
        monkeypatch.setattr(_incoming, "LOST", 1)
        await client.set(f"{stream}:group:set-aside", "not a stream")
        await put({"x-other": "1"}, b"bad")
        async with subscribe(receiver) as subscription:
            await until(lambda: receiver.bodies.count(b"bad") >= 2)
            assert (await client.xpending(stream, "group"))["pending"] == 1
            await client.delete(f"{stream}:group:set-aside")
            await until(lambda: subscription.counts["set_aside"] == 1)
            (kept,) = await subscription.set_aside()
        assert (kept.body, kept.headers) == (b"bad", {"x-other": "1"})
        assert (await client.xpending(stream, "group"))["pending"] == 0

    async def test_what_is_delivered_while_one_leaves_is_taken_over(
        self,
        put: Put,
        subscribe: Subscribe,
        receiver: Receiver,
        client: Any,
        stream: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A fetch that was cut off may still wait at the server: what comes to it is not lost with the name."""
        subscription = subscribe(receiver)
        await subscription.__aenter__()
        await until(lambda: subscription._fetching is not None)
        source: Any = subscription._source
        said, execute = list[Any](), source._link.client.execute_command

        async def followed(*command: Any, **options: Any) -> Any:
            answer = await execute(*command, **options)
            if subscription._stopping and command[0] in {"EVAL", "XPENDING"} and not said:
                await put({}, b"take")
                said.append(await client.xreadgroup("group", source._consumer, {stream: ">"}, count=1))
            return answer

        subscription._fetching.cancel()  # type: ignore[union-attr] # it is there since it was entered
        await asyncio.wait({subscription._fetching})  # type: ignore[type-var]  # it was entered, so there is one
        monkeypatch.setattr(source._link.client, "execute_command", followed)
        await subscription.__aexit__(None, None, None)
        assert said
        monkeypatch.setattr(_incoming, "IDLE", 1)
        async with subscribe(receiver) as other:
            await until(lambda: other.counts["taken"] == 1)
        assert receiver.bodies == [b"take"]

    async def test_leaving_ends_a_fetch_that_waits(
        self, receiver: Receiver, client: Any, stream: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server is told to, so that nobody waits for what might come."""
        monkeypatch.setattr(_incoming, "WAITING", 3_600_000)
        monkeypatch.setattr(_subscription, "STOPPING", 3600)
        bus = RedisStreamsBus(support.URL, timeout=7200)
        async with asyncio.timeout(PATIENCE), bus.subscribe(stream, receiver, durable="group") as subscription:
            await _blocked(client, subscription)
        assert not await client.xinfo_consumers(stream, "group")

    async def test_leaving_waits_for_the_fetch_where_the_server_does_not_say_which_it_is(
        self, put: Put, client: Any, stream: str, receiver: Receiver
    ) -> None:
        """A user who may not ask has all else."""
        await client.acl_setuser(stream, enabled=True, nopass=True, keys=["*"], commands=["+@all", "-client"])
        try:
            bus = RedisStreamsBus(support.URL.replace("//", f"//{stream}:any@"))
            async with bus.subscribe(stream, receiver, durable="group") as subscription:
                await put({}, b"take")
                await until(lambda: subscription.counts["taken"] == 1)
        finally:
            await client.acl_deluser(stream)

    async def test_what_comes_while_one_leaves_is_taken_or_left_to_the_next(
        self, put: Put, subscribe: Subscribe, receiver: Receiver, client: Any
    ) -> None:
        """Nothing stays behind with a fetch that was ended, where it would be left alone for a minute."""
        bodies = [b"take %d" % number for number in range(60)]
        taken = 0
        for body in bodies:
            subscription = await subscribe(receiver).__aenter__()
            await _blocked(client, subscription)
            await asyncio.gather(put({}, body), subscription.__aexit__(None, None, None))
            taken += subscription.counts["taken"]
        async with subscribe(receiver) as subscription:
            await until(lambda: taken + subscription.counts["taken"] == len(bodies))
        assert sorted(receiver.bodies) == sorted(bodies)

    async def test_looking_alone_keeps_no_connection(
        self, subscribe: Subscribe, receiver: Receiver, wire: Wire
    ) -> None:
        """What was connected for it is closed after it."""
        await subscribe(receiver).set_aside()
        await until(lambda: not wire.connections)


async def _blocked(client: Any, subscription: Subscription) -> None:
    """Wait until a subscription's fetch waits at the server."""
    source: Any = subscription._source
    async with asyncio.timeout(PATIENCE):
        while source._reader_id is None:
            await asyncio.sleep(0)
        while "b" not in (await client.client_list(client_id=[source._reader_id]))[0]["flags"]:
            pass


ROW = OutboxRow(key="r:1:requested", sink="redis-streams", kind="change", request_id="r", payload="{}")


@pytest.fixture
async def pending(client: Any, stream: str) -> list[bytes]:
    """Give fifty entries that are pending in a group."""
    for number in range(50):
        await client.xadd(stream, {"data": b"%d" % number})
    await client.xgroup_create(stream, "group", id="0")
    [(_, entries)] = await client.xreadgroup("group", "one", {stream: ">"}, count=50)
    return [place for place, _ in entries]


async def test_acknowledgements_that_come_together_go_together(
    client: Any, stream: str, pending: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty take one command, those that come while it is under way another; each returns once it is done."""
    link, sent = Link("bus", support.URL, None, 5), []
    acks, xack = Acks(link, stream, "group"), link.client.xack

    async def seen(*words: Any) -> Any:
        sent.append(len(words) - 2)
        return await xack(*words)

    monkeypatch.setattr(link.client, "xack", seen)
    first = asyncio.gather(*(acks.ack(place) for place in pending[:30]))
    await until(lambda: sent == [30])
    await asyncio.gather(first, *(acks.ack(place) for place in pending[30:49]))
    assert (await client.xpending(stream, "group"))["pending"] == 1
    await acks.ack(pending[49])
    assert (await client.xpending(stream, "group"))["pending"] == 0
    assert sent == [30, 19, 1]
    await link.aclose()


async def test_what_becomes_of_a_failed_entry_goes_with_the_next_acknowledgements(
    client: Any, stream: str, pending: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or by itself after a moment; each is told what the server said of its own."""
    link = Link("bus", support.URL, None, 5)
    acks = Acks(link, stream, "group")
    monkeypatch.setattr(_acks, "SOON", PATIENCE)
    script = "return redis.call(ARGV[1], KEYS[1], ARGV[2])"
    failed = [asyncio.ensure_future(acks.run(script, [stream], word, "x")) for word in ("GET", "XTRIM")]
    done = asyncio.ensure_future(acks.run(_incoming._AGAIN, [f"{stream}:again"], pending[0], 1))
    assert not (await asyncio.wait({done, *failed}, timeout=0.05))[0]
    await acks.ack(pending[1])
    await done
    assert all(isinstance(one, RedisError) for one in await asyncio.gather(*failed, return_exceptions=True))
    assert await client.zcard(f"{stream}:again") == 1
    assert (await client.xpending(stream, "group"))["pending"] == 49
    monkeypatch.setattr(_acks, "SOON", 0.0)
    await acks.run(_incoming._AGAIN, [f"{stream}:again"], pending[2], 1)
    assert await client.zcard(f"{stream}:again") == 2
    await link.aclose()


async def test_an_acknowledgement_that_fails_is_told_to_each(stream: str, wire: Wire, pending: list[bytes]) -> None:
    """Whoever waits hears of it, and the next one is sent anew."""
    link = Link("bus", f"redis://127.0.0.1:{wire.port}/0", None, 5)
    acks = Acks(link, stream, "group")
    async with wire.away():
        said = await asyncio.gather(*(acks.ack(place) for place in pending[:5]), return_exceptions=True)
        assert all(isinstance(one, RedisError) for one in said), said
    await acks.ack(pending[0])
    await link.aclose()


async def test_a_stream_is_kept_short_where_that_was_asked_for(client: Any, stream: str) -> None:
    """About so many entries stay."""
    bus = RedisStreamsBus(support.URL, topic=stream, maxlen=10)
    await bus.open()
    for batch in range(5):
        rows = [attrs.evolve(ROW, key=f"r:{batch}-{n}:x") for n in range(100)]
        assert list(await bus.publish(rows)) == [None] * 100
    await bus.aclose()
    assert await client.xlen(stream) <= 110, "Redis trims by whole nodes of 100"


async def test_an_applications_client_is_used_and_never_closed(client: Any, stream: str) -> None:
    """It is theirs; one that decodes bodies is refused."""
    bus = RedisStreamsBus(client=client, topic=stream)
    await bus.open()
    assert list(await bus.publish([ROW])) == [None]
    await bus.aclose()
    assert await client.xlen(stream) == 1
    with pytest.raises(InvalidRequest, match="decode_responses"):
        RedisStreamsBus(client=Redis(decode_responses=True))


async def test_no_server_is_an_error_and_leaves_nothing() -> None:
    """Opening fails soon, and the same bus can be opened later."""
    async with Wire("127.0.0.1", 1) as wire:
        port = wire.port
    bus = RedisStreamsBus(f"redis://127.0.0.1:{port}/0")
    for _ in range(2):
        with pytest.raises(BusUnavailable):
            await bus.open()
    assert not bus.is_open


async def test_a_server_that_evicts_or_refuses_is_named(stream: str) -> None:
    """A stream that memory pressure takes away is none; a wrong password is the deployment's."""
    with support.server() as own:
        await support.do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", url=own.url)
        bus = RedisStreamsBus(own.url)
        with pytest.raises(BrokerSetup, match=r"allkeys-lru.*noeviction"):
            await bus.open()
        await support.do("CONFIG", "SET", "maxmemory-policy", "noeviction", url=own.url)
        await bus.open()
        await support.do("CONFIG", "SET", "maxmemory", "1", url=own.url)
        (error,) = await bus.publish([ROW])
        assert isinstance(error, BusUnavailable), "full memory is no row's fault"
        await bus.aclose()
        await support.do("CONFIG", "SET", "maxmemory", "0", url=own.url)
        await support.do("CONFIG", "SET", "requirepass", "secret", url=own.url)
        with pytest.raises(BrokerSetup, match="password") as caught:
            await RedisStreamsBus(own.url.replace("//", "//:geheim@")).open()
        assert "geheim" not in str(caught.value)


def test_it_is_built_cold_and_says_nothing_of_secrets() -> None:
    """No loop, no I/O; what is wrong is named."""
    assert repr(RedisStreamsBus("redis://:geheim@nowhere:1")) == "RedisStreamsBus('redis-streams', closed)"
    cases: tuple[dict[str, Any], ...] = ({}, {"url": "redis://x", "maxlen": 0}, {"url": "redis://x", "envelope": "no"})
    for wrong in cases:
        with pytest.raises(InvalidRequest):
            RedisStreamsBus(**wrong)
