"""Messages in from a stream: a durable pull consumer with explicit acknowledgement."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, StreamConfig
from nats.js.errors import NotFoundError

from leanflow._call import Reply
from leanflow.errors import BrokerSetup, MessageRefused
from leanflow_adapters._bus import SetAside
from leanflow_adapters.nats._link import Link, check_subject, size_of, translated

if TYPE_CHECKING:
    from leanflow_adapters._bus import BrokerBus

__all__ = ["StreamSource"]

ACK_WAIT = 60
"""Seconds after which the server delivers again what it has not heard of: longer than any receiver takes."""
WAITING = 0.5
"""Seconds that a fetch waits for a first message: leaving waits no longer."""
LOOKING = 5.0
"""Seconds of silence after which one looks whether the consumer is still there: the server does not say."""

_REASON, _TRIES, _SUBJECT = "leanflow-reason", "leanflow-tries", "leanflow-subject"
_REPLY_TO = "reply-to"


class StreamSource:
    """A durable consumer's messages."""

    def __init__(
        self, bus: BrokerBus, link: Link, *, subject: str, durable: str, stream: str | None, aside: str, create: bool
    ) -> None:
        self._bus = bus
        self._link = link
        self._subject = subject
        self._durable = durable
        self._stream = stream
        self._aside = aside
        self._create = create
        self._holds = False
        self._pulling: JetStreamContext.PullSubscription | None = None
        self._heard = 0.0  # when there was a sign of the consumer, on the loop's clock

    async def open(self) -> None:
        """Connect; find the stream, the consumer and the stream for what is set aside, or make them."""
        if not self._holds:
            await self._bus.hold()
            self._holds = True
        js = await self._link.jetstream()
        with translated(self._bus.name):
            stream = await self._find(js)
            await self._consume(js, stream)
            try:
                await js.stream_info(self._aside)
            except NotFoundError:
                await js.add_stream(StreamConfig(name=self._aside, subjects=[self._aside]))
            await self._unsubscribe()
            self._pulling = await js.pull_subscribe_bind(consumer=self._durable, stream=stream)

    async def fetch(self, limit: int) -> Sequence[StreamDelivery]:
        """Return messages; none if none come within half a second."""
        assert self._pulling is not None
        js = await self._link.jetstream()  # raises while there is no connection
        try:
            messages = await self._pulling.fetch(limit, timeout=WAITING)
        except TimeoutError:
            await self._look(self._pulling)
            return ()
        self._heard = asyncio.get_running_loop().time()
        return [StreamDelivery(message, js, self._bus.name, self._aside) for message in messages]

    async def _look(self, pulling: JetStreamContext.PullSubscription) -> None:
        """Look now and then whether the consumer is still there.

        Raises:
            MessageRefused: it is not.
        """
        now = asyncio.get_running_loop().time()
        if now - self._heard >= LOOKING:
            with translated(self._bus.name):
                await pulling.consumer_info()
            self._heard = now

    def stop(self) -> None:
        """Leave a fetch to its end: what the server hands over to one that was cut off comes again after `ACK_WAIT`."""

    async def set_aside(self, limit: int) -> Sequence[SetAside]:
        """Return what is in the stream for what is set aside."""
        async with self._bus.held():
            return await self._set_aside(limit)

    async def _set_aside(self, limit: int) -> Sequence[SetAside]:
        js = await self._link.jetstream()
        found: list[SetAside] = []
        with translated(self._bus.name):
            try:
                state = (await js.stream_info(self._aside)).state
            except NotFoundError:
                return found
            for number in range(max(1, state.first_seq), state.last_seq + 1):
                if len(found) == limit:
                    break
                try:
                    kept = await js.get_msg(self._aside, number)
                except NotFoundError:
                    continue  # somebody took it away
                marks = dict(kept.headers or {})
                found.append(
                    SetAside(
                        place=f"{self._aside}:{number}",
                        reason=marks.get(_REASON, ""),
                        tries=int(marks.get(_TRIES, "0")),
                        headers={name: value for name, value in marks.items() if not _is_mark(name)},
                        body=kept.data or b"",
                    )
                )
        return found

    async def aclose(self) -> None:
        """Listen no more; the consumer stays at the server."""
        if not self._holds:
            return
        self._holds = False
        try:
            await self._unsubscribe()
        finally:
            await self._bus.let_go()

    async def _unsubscribe(self) -> None:
        pulling, self._pulling = self._pulling, None
        if pulling is not None:
            with suppress(Exception):  # the connection is gone, and with it what listened there
                await pulling.unsubscribe()

    async def _find(self, js: JetStreamContext) -> str:
        if self._stream is not None:
            try:
                await js.stream_info(self._stream)
            except NotFoundError:
                return await self._make(js, self._stream)
            return self._stream
        try:
            found: str = await js.find_stream_name_by_subject(self._subject)
        except NotFoundError:
            return await self._make(js, self._durable)
        return found

    async def _make(self, js: JetStreamContext, name: str) -> str:
        if not self._create:
            made = f"nats stream add {name} --subjects '{self._subject}' --storage file --defaults"
            problem = f"no stream {name!r} takes the subject {self._subject!r}"
            raise BrokerSetup(self._bus.name, problem, f"make it (`{made}`), or give NatsBus create=True")
        await js.add_stream(StreamConfig(name=name, subjects=[self._subject]))
        return name

    async def _consume(self, js: JetStreamContext, stream: str) -> None:
        try:
            there = await js.consumer_info(stream, self._durable)
        except NotFoundError:
            wanted = ConsumerConfig(
                durable_name=self._durable,
                filter_subject=self._subject,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT,
                max_deliver=-1,  # how often is enough is counted here, and ends with setting aside, not with losing
            )
            await js.add_consumer(stream, wanted)
            return
        self._check(there)

    def _check(self, there: ConsumerInfo) -> None:
        config = there.config
        wrong = None
        if config.deliver_subject:
            wrong = "pushes"
        elif config.ack_policy != AckPolicy.EXPLICIT:
            wrong = "acknowledges by itself: messages would be lost"
        elif config.filter_subject not in {self._subject, None, ""}:
            wrong = f"is for the subject {config.filter_subject!r}"
        elif config.max_deliver not in {None, -1, 0}:
            wrong = f"drops messages after {config.max_deliver} deliveries"
        if wrong:
            cure = "choose another durable=, or remove that consumer"
            raise BrokerSetup(self._bus.name, f"the consumer {self._durable!r} that is there {wrong}", cure)


class StreamDelivery:
    """One message of a stream."""

    def __init__(self, message: Msg, js: JetStreamContext, bus: str, aside: str) -> None:
        self._message = message
        self._js = js
        self._bus = bus
        self._aside = aside
        self.headers: Mapping[str, str] = dict(message.headers or {})
        self.body: bytes = message.data
        self.tries: int = message.metadata.num_delivered

    @property
    def reply_to(self) -> str | None:
        """The header ``reply-to``: JetStream has the message's own reply address for acknowledgements."""
        return next((value for name, value in self.headers.items() if name.lower() == _REPLY_TO), None)

    async def respond(self, reply: Reply) -> None:
        """Publish the answer."""
        assert self.reply_to is not None
        if self.reply_to.startswith("$"):  # the server's own subjects: nobody is to have us give orders there
            raise MessageRefused(self._bus, "a reply address must not begin with $")
        check_subject(self._bus, self.reply_to)
        told = {"content-type": "application/json", **reply.headers, "leanflow-status": str(reply.status)}
        with translated(self._bus):
            await self._message._client.publish(self.reply_to, reply.body, headers=told)  # noqa: SLF001

    async def ack(self) -> None:
        """Acknowledge."""
        with translated(self._bus):
            await self._message.ack()

    async def again(self, delay: float) -> None:
        """Have it delivered again."""
        with translated(self._bus):
            await self._message.nak(delay)

    async def set_aside(self, reason: str) -> None:
        """Put it into the stream for that; then tell the server to be done with it."""
        place = self._message.metadata
        told = {name: value for name, value in self.headers.items() if not _is_mark(name)}
        marked = told | {_REASON: reason, _TRIES: str(self.tries), _SUBJECT: self._message.subject}
        marked["Nats-Msg-Id"] = f"{place.stream}:{place.consumer}:{place.sequence.stream}"
        marked["Nats-Expected-Stream"] = self._aside
        most = self._message._client.max_payload  # noqa: SLF001 - over which the server hangs up
        if size_of(marked, self.body) > most:
            marked = told  # as it came it fitted
        if (size := size_of(marked, self.body)) > most:
            raise MessageRefused(self._bus, f"{size} bytes, headers included, are more than max_payload of {most}")
        with translated(self._bus):
            await self._js.publish(self._aside, self.body, headers=marked)
            await self._message.term()


def _is_mark(name: str) -> bool:
    """Return whether a header is ours, or an order to the server: with those a message could not be put back."""
    return name.startswith("Nats-") or name in {_REASON, _TRIES, _SUBJECT}
