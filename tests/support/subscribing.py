"""What every bus's subscriptions do alike: a base class of tests, for which a bus gives three fixtures."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from leanflow import Reply
from leanflow_adapters._bus import Subscription

__all__ = ["SOON", "Put", "Replies", "Subscribe", "Subscribing", "until"]

PATIENCE = 20.0
"""Seconds that anything here may take on a busy machine; reached only by failures."""

SOON = (timedelta(milliseconds=50),)

Put = Callable[[Mapping[str, str], bytes], Awaitable[None]]
Subscribe = Callable[..., Subscription]
Replies = Callable[[], Awaitable[tuple[str, Callable[[], Awaitable[tuple[Mapping[str, str], bytes]]]]]]


async def until(is_so: Callable[[], bool]) -> None:
    """Let other tasks run until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not is_so():
            await asyncio.sleep(0.005)


class Receiver:
    """Answers by what a body begins with, and remembers."""

    def __init__(self) -> None:
        self.heard: list[tuple[Mapping[str, str], bytes]] = []
        self.at_once = self.most = 0
        self.is_down = False
        self.go_on = asyncio.Event()
        self.go_on.set()

    @property
    def bodies(self) -> list[bytes]:
        """What came, in order."""
        return [body for _, body in self.heard]

    async def __call__(self, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer."""
        self.heard.append((headers, body))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.go_on.wait()
        finally:
            self.at_once -= 1
        if self.is_down:
            return Reply(status=503, retry=True)
        if body.startswith(b"raise"):
            raise KeyError(body)
        if body.startswith(b"cancel") and self.bodies.count(body) == 1:
            raise asyncio.CancelledError
        if body.startswith(b"bad"):
            return Reply(status=401, body=b'"bad"')
        return Reply(status=200, body=b'"fine"', headers={"x-from": "receiver"})


class Subscribing:
    """What becomes of messages, by what their receiver says.

    Fixtures: `put` puts a message (headers, body) where `subscribe(receive, **arguments)` makes a subscription to;
    `replies` makes a reply address, and waits for one answer there; `away` lets the broker be away.
    """

    replies_with_headers: ClassVar[bool] = True
    soon: ClassVar[tuple[timedelta, ...]] = SOON

    @pytest.fixture
    def receiver(self) -> Receiver:
        """Give a receiver."""
        return Receiver()

    async def test_what_was_taken_is_acknowledged_and_does_not_come_again(
        self, put: Put, subscribe: Subscribe, receiver: Receiver
    ) -> None:
        """Headers and body as they were put there; a later subscription of the same durable goes on behind them."""
        bodies = [f"take {n} \xff تم".encode() for n in range(30)]
        for body in bodies:
            await put({"lean-signature": body.hex()[:12], "X-Other": "1"}, body)
        async with subscribe(receiver) as subscription:
            await until(lambda: subscription.counts["taken"] == 30)
        assert sorted(receiver.bodies) == sorted(bodies)
        for headers, body in receiver.heard:
            named = {name.lower(): value for name, value in headers.items()}
            assert (named["lean-signature"], named["x-other"]) == (body.hex()[:12], "1")
        await put({}, b"more")
        async with subscribe(receiver) as subscription:
            await until(lambda: subscription.counts["taken"] == 1)
        assert receiver.bodies[30:] == [b"more"]

    async def test_what_comes_while_nobody_listens_is_not_lost(
        self, put: Put, subscribe: Subscribe, receiver: Receiver
    ) -> None:
        """The durable remembers."""
        async with subscribe(receiver):
            pass
        await put({}, b"meanwhile")
        async with subscribe(receiver) as subscription:
            await until(lambda: subscription.counts["taken"] == 1)
        assert receiver.bodies == [b"meanwhile"]

    async def test_retry_and_exceptions_come_again_and_are_set_aside_in_the_end(
        self, put: Put, subscribe: Subscribe, receiver: Receiver
    ) -> None:
        """`max_deliver` deliveries, and then it is kept with its reason, and others went on meanwhile."""
        await put({"lean-signature": "s"}, b"raise")
        for number in range(5):
            await put({}, b"take %d" % number)
        async with subscribe(receiver, max_deliver=3, backoff=SOON) as subscription:
            await until(lambda: subscription.counts["set_aside"] == 1)
            await until(lambda: subscription.counts["taken"] == 5)
            assert subscription.counts["again"] == 2
            (kept,) = await subscription.set_aside()
        assert Counter(receiver.bodies)[b"raise"] == 3
        assert (kept.reason, kept.tries, kept.body) == ("raised KeyError", 3, b"raise")
        assert {name.lower(): value for name, value in kept.headers.items()}["lean-signature"] == "s"

    async def test_a_receiver_that_was_down_gets_it_again(
        self, put: Put, subscribe: Subscribe, receiver: Receiver
    ) -> None:
        """503 with `retry`: again, later, and then it is taken."""
        receiver.is_down = True
        await put({}, b"take")
        async with subscribe(receiver, backoff=SOON) as subscription:
            await until(lambda: subscription.counts["again"] > 0)
            receiver.is_down = False
            await until(lambda: subscription.counts["taken"] == 1)
            assert subscription.counts["set_aside"] == 0

    async def test_a_receiver_that_waited_for_what_was_cancelled_gets_it_again(
        self, put: Put, subscribe: Subscribe, receiver: Receiver
    ) -> None:
        """It is an exception like any other: the message is ended, and holds up no other."""
        for number in range(3):
            await put({}, b"cancel %d" % number)
        async with subscribe(receiver, concurrency=2, backoff=SOON) as subscription:
            await until(lambda: subscription.counts["taken"] == 3)
            assert subscription.counts["again"] == 3

    async def test_what_was_set_aside_can_be_looked_at_alone(
        self, put: Put, subscribe: Subscribe, receiver: Receiver
    ) -> None:
        """Before anything was, and after it, by a subscription that nobody has entered."""
        async with subscribe(receiver):
            pass
        alone = subscribe(receiver)
        assert list(await alone.set_aside()) == []
        await put({}, b"bad")
        async with subscribe(receiver) as subscription:
            await until(lambda: subscription.counts["set_aside"] == 1)
        assert [each.body for each in await alone.set_aside()] == [b"bad"]

    async def test_what_was_set_aside_can_be_put_back(self, put: Put, subscribe: Subscribe, receiver: Receiver) -> None:
        """With its headers and its body as they are listed it comes as it came the first time."""
        await put({"lean-signature": "s"}, b"bad")
        async with subscribe(receiver) as subscription:
            await until(lambda: subscription.counts["set_aside"] == 1)
            (kept,) = await subscription.set_aside()
            await put(kept.headers, kept.body)
            await until(lambda: subscription.counts["set_aside"] == 2)
            assert [(each.headers, each.tries) for each in await subscription.set_aside()] == [(kept.headers, 1)] * 2
        (first, _), (again, _) = receiver.heard
        assert again == first

    async def test_what_is_refused_is_set_aside_at_once(
        self, put: Put, subscribe: Subscribe, receiver: Receiver
    ) -> None:
        """Anything but 200 and `retry` is delivered once, kept and counted, and never comes again."""
        await put({}, b"bad \xff")
        await put({}, b"take")
        async with subscribe(receiver, backoff=SOON) as subscription:
            await until(lambda: subscription.counts["set_aside"] == 1 and subscription.counts["taken"] == 1)
            kept = await subscription.set_aside()
        assert [(each.reason, each.tries, each.body) for each in kept] == [("status 401", 1, b"bad \xff")]
        async with subscribe(receiver, backoff=SOON) as subscription:
            await put({}, b"take too")
            await until(lambda: subscription.counts["taken"] == 1)
        assert receiver.bodies.count(b"bad \xff") == 1

    async def test_no_more_are_with_the_receiver_than_was_said(
        self, put: Put, subscribe: Subscribe, receiver: Receiver
    ) -> None:
        """The rest waits at the broker."""
        receiver.go_on.clear()
        for number in range(12):
            await put({}, b"take %d" % number)
        async with subscribe(receiver, concurrency=4) as subscription:
            await until(lambda: receiver.at_once == 4)
            receiver.go_on.set()
            await until(lambda: subscription.counts["taken"] == 12)
        assert receiver.most == 4

    async def test_leaving_waits_for_what_is_in_flight(
        self, put: Put, subscribe: Subscribe, receiver: Receiver
    ) -> None:
        """And takes nothing new; what is in flight is ended as always."""
        receiver.go_on.clear()
        await put({}, b"take")
        async with subscribe(receiver) as subscription:
            await until(lambda: receiver.at_once == 1)
            asyncio.get_running_loop().call_later(0.05, receiver.go_on.set)
        assert subscription.counts["taken"] == 1

    async def test_a_reply_is_sent_where_one_is_wanted(
        self, put: Put, subscribe: Subscribe, receiver: Receiver, replies: Replies
    ) -> None:
        """Whether taken or refused; not for what will come again."""
        for body, status, said in ((b"take", "200", b'"fine"'), (b"bad", "401", b'"bad"')):
            address, answer = await replies()
            await put({"reply-to": address}, body)
            async with subscribe(receiver):
                headers, told = await asyncio.wait_for(answer(), PATIENCE)
            assert told == said
            if self.replies_with_headers:
                assert headers["leanflow-status"] == status

    async def test_an_outage_is_waited_out(
        self,
        put: Put,
        subscribe: Subscribe,
        receiver: Receiver,
        away: Callable[[], AbstractAsyncContextManager[Any]],
    ) -> None:
        """At the start and in between; nothing is raised, and nothing is lost."""
        async with away():
            entering = subscribe(receiver, backoff=SOON)
            await entering.__aenter__()
        await put({}, b"one")
        await until(lambda: entering.counts["taken"] == 1)
        async with away():
            await asyncio.sleep(0)
        await put({}, b"two")
        await until(lambda: entering.counts["taken"] >= 2)
        await entering.__aexit__(None, None, None)
        assert sorted(set(receiver.bodies)) == [b"one", b"two"]

    async def test_two_of_one_durable_share_the_work(self, put: Put, subscribe: Subscribe, receiver: Receiver) -> None:
        """Each message goes to one of them."""
        async with subscribe(receiver) as one, subscribe(receiver) as other:
            for number in range(20):
                await put({}, b"take %d" % number)
            await until(lambda: one.counts["taken"] + other.counts["taken"] == 20)
        assert len(receiver.bodies) == 20

    async def test_entering_twice_is_an_error(self, subscribe: Subscribe, receiver: Receiver) -> None:
        """Make another one instead."""
        async with subscribe(receiver) as subscription:
            with pytest.raises(ValueError, match="entered already"):
                await subscription.__aenter__()


def bodies_of(heard: Sequence[tuple[Mapping[str, str], bytes]]) -> list[bytes]:
    """Return the bodies."""
    return [body for _, body in heard]
