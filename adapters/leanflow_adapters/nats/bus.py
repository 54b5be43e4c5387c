"""`NatsBus`: announcements to a JetStream stream, and subscriptions to others."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import attrs
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from leanflow._json import peek
from leanflow._request import State
from leanflow.errors import BrokerSetup, BusUnavailable, LeanflowError, MessageRefused
from leanflow_adapters._bus import (
    ANSWERING,
    BACKOFF,
    DELIVERIES,
    BrokerBus,
    Envelope,
    Message,
    Options,
    Patience,
    Receive,
    Subscription,
    Topic,
    topic_of,
)
from leanflow_adapters.nats._incoming import StreamSource
from leanflow_adapters.nats._link import Link, check_subject, size_of, translated

__all__ = ["NatsBus"]


class NatsBus(BrokerBus):
    """Publishes announcements to a JetStream stream; each carries its key as ``Nats-Msg-Id``, so repeats are dropped.

    Built cold. Lost connections are made anew when there is something to publish.
    """

    def __init__(
        self,
        *,
        servers: str | Sequence[str] | None = None,
        client: Client | None = None,
        stream: str = "leanflow",
        topic: Topic = topic_of,
        only: Collection[State | str] | None = None,
        webhooks: Collection[str] = (),
        name: str = "nats",
        envelope: Envelope = "structured",
        source: str | None = None,
        create: bool = False,
        subjects: Sequence[str] = ("leanflow.>",),
        timeout: float = ANSWERING,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Put a bus together.

        Args:
            servers: URLs, as ``nats://127.0.0.1:4222``.
            client: a connected client of your own instead; it is never closed.
            stream: that takes the announcements.
            topic: the subject, or a function of the `CloudEvent`; ``leanflow.flow.<state>`` and the like.
            only: the states whose entering is announced; None: all, and reports.
            webhooks: webhook types to be announced instead of changes; ``*``: all.
            name: by which deliveries are remembered.
            envelope: ``structured`` (one JSON document) or ``binary`` (attributes as headers).
            source: the CloudEvents attribute.
            create: make missing streams; without it a missing one is an error that says how.
            subjects: of the stream that is made.
            timeout: seconds for connecting, and for a batch to be confirmed.
            options: further arguments of nats-py's `connect`, as ``{"user_credentials": …, "tls": …}``.

        Raises:
            InvalidRequest: an argument is wrong.
        """
        super().__init__(
            Options(
                name=name,
                topic=topic,
                only=only,
                webhooks=webhooks,
                envelope=envelope,
                source=source,
                timeout=timeout,
            )
        )
        self._link = Link(name, [servers] if isinstance(servers, str) else servers, client, timeout, options or {})
        self._link.when_lost(self._lost)
        self._stream = stream
        self._create = create
        self._subjects = list(subjects)
        self._waiting: dict[str, _Batch] = {}
        self._numbers = itertools.count()
        self._inbox: tuple[Client, str] | None = None

    def subscribe(
        self,
        subject: str,
        receive: Receive,
        *,
        durable: str,
        stream: str | None = None,
        max_deliver: int = DELIVERIES,
        backoff: Sequence[timedelta] = BACKOFF,
        concurrency: int = 16,
        set_aside: str | None = None,
    ) -> Subscription:
        """Return a durable subscription, to be entered with `async with`; the bus itself need not be open.

        Args:
            subject: of the messages; a stream must take it.
            receive: what they are handed to, as `flows.receive`.
            durable: the consumer's name: what was acknowledged is remembered under it, by the server.
            stream: that has them; found by the subject unless given.
            max_deliver: deliveries after which a message is set aside.
            backoff: waits between deliveries; the last is repeated.
            concurrency: how many messages are with the receiver at once.
            set_aside: the stream that keeps what is set aside, made if it is not there; ``<durable>-set-aside``.
        """
        source = StreamSource(
            self,
            self._link,
            subject=subject,
            durable=durable,
            stream=stream,
            aside=set_aside or f"{durable}-set-aside",
            create=self._create,
        )
        patience = Patience(max_deliver=max_deliver, backoff=backoff)
        name = f"{self.name}/{durable}"
        return Subscription(source, receive, name=name, concurrency=concurrency, patience=patience)

    # the connection

    async def _connect(self) -> None:
        await self._link.client()

    async def _disconnect(self) -> None:
        if self._inbox is not None and self._inbox[0].is_connected:
            with translated(self.name):  # of a client that stays: take back what listens there
                await self._inbox[0].flush(timeout=1)
        self._inbox = None
        await self._link.aclose()

    async def _prepare(self) -> None:
        js = await self._link.jetstream()
        with translated(self.name):
            try:
                await js.stream_info(self._stream)
            except NotFoundError:
                if not self._create:
                    made = f"nats stream add {self._stream} --subjects '{' '.join(self._subjects)}' --storage file"
                    cure = f"make it (`{made} --defaults`), or give NatsBus create=True"
                    raise BrokerSetup(self.name, f"there is no stream {self._stream!r}", cure) from None
                await js.add_stream(StreamConfig(name=self._stream, subjects=self._subjects))
            for topic in self._known_topics():
                check_subject(self.name, topic)
                await self._check_taken(js, topic)

    def _known_topics(self) -> Sequence[str]:
        """Return the subjects of changes, as far as they are known before there is something to publish."""
        topic = self._options.topic
        if isinstance(topic, str):
            return [topic]
        if topic is topic_of and not self._options.webhooks:
            return [f"leanflow.flow.{state.value}" for state in State if state in (self._options.only or State)]
        return []  # what a function will say nobody knows, nor which types Lean will send

    async def _check_taken(self, js: JetStreamContext, topic: str) -> None:
        try:
            taker = await js.find_stream_name_by_subject(topic)
        except NotFoundError:
            taker = None
        if taker != self._stream:
            raise self._not_taken(topic)

    def _not_taken(self, topic: str) -> BrokerSetup:
        cure = f"let {self._stream} take it (nats stream edit {self._stream} --subjects …), or change topic="
        return BrokerSetup(self.name, f"the stream {self._stream!r} does not take the subject {topic!r}", cure)

    def _lost(self) -> None:
        for address, batch in self._waiting.items():
            if address in batch.missing:
                batch.answer(address, BusUnavailable(self.name, "the connection was lost"))

    # publishing

    async def _send(self, messages: Sequence[Message]) -> Sequence[BaseException | None]:
        """Write all, then wait for all confirmations."""
        try:
            client = await self._link.client()
            inbox = await self._listen(client)
        except LeanflowError as error:
            return [error] * len(messages)
        batch = _Batch()
        addresses = [f"{inbox}{next(self._numbers)}" for _ in messages]
        self._waiting.update(dict.fromkeys(addresses, batch))
        try:
            for message, address in zip(messages, addresses, strict=True):
                await self._put(client, message, address, batch)
            through = await batch.is_through(self._options.timeout)
            answers = [batch.answers.get(address) for address in addresses]
            if not through:
                await self._link.forget(client)
            return [self._outcome(answer, message) for answer, message in zip(answers, messages, strict=True)]
        finally:
            for address in addresses:
                del self._waiting[address]

    async def _listen(self, client: Client) -> str:
        """Return the prefix of the addresses to which the server confirms."""
        if self._inbox is None or self._inbox[0] is not client:
            with translated(self.name):
                prefix = f"{client.new_inbox()}."
                await client.subscribe(f"{prefix}*", cb=self._confirmed)
            self._inbox = client, prefix
        return self._inbox[1]

    async def _put(self, client: Client, message: Message, address: str, batch: _Batch) -> None:
        """Write a message that is to be confirmed to an address; what cannot be written is answered at once."""
        key = message.key if _PLAIN.fullmatch(message.key) else quote(message.key, safe=_SAFE)
        told = {**message.headers, "Nats-Msg-Id": key, "Nats-Expected-Stream": self._stream}
        batch.missing.add(address)
        try:
            size = size_of(told, message.body)
            if size > client.max_payload:  # the server would hang up, and every other message with this one
                limit = f"{size} bytes, headers included, are more than the server's max_payload"
                raise MessageRefused(self.name, f"{limit} of {client.max_payload}")
            check_subject(self.name, message.topic)
            with translated(self.name):
                await client.publish(message.topic, message.body, reply=address, headers=told)
        except LeanflowError as error:
            batch.answer(address, error)

    async def _confirmed(self, msg: Msg) -> None:
        batch = self._waiting.get(msg.subject)
        if batch is not None and msg.subject in batch.missing:
            batch.answer(msg.subject, msg)

    def _outcome(self, msg: Msg | LeanflowError | None, message: Message) -> BaseException | None:
        if msg is None:
            return BusUnavailable(self.name, f"no confirmation within {self._options.timeout:g} s")
        if isinstance(msg, LeanflowError):
            return msg
        if msg.headers and msg.headers.get("Status") == "503":
            return self._not_taken(message.topic)
        return self._refusal(peek(msg.data.decode()).get("error"))

    def _refusal(self, error: Mapping[str, Any] | None) -> LeanflowError | None:
        if error is None:
            return None
        said = f"{error.get('description')} (code {error.get('err_code')})"
        if error.get("code") in {500, 503}:
            return BusUnavailable(self.name, said)
        return MessageRefused(self.name, said)


@attrs.define(eq=False)
class _Batch:
    """Messages whose confirmations are waited for together.

    Attributes:
        missing: addresses to which the server is still to confirm.
        answers: what it said, or what went wrong, by address.
    """

    missing: set[str] = attrs.field(factory=set)
    answers: dict[str, Msg | LeanflowError] = attrs.field(factory=dict)
    _complete: asyncio.Event = attrs.field(factory=asyncio.Event)

    def answer(self, address: str, said: Msg | LeanflowError) -> None:
        """Take an answer."""
        self.answers[address] = said
        self.missing.discard(address)
        if not self.missing:
            self._complete.set()

    async def is_through(self, limit: float) -> bool:
        """Wait so many seconds for what is missing; return whether it came."""
        self._complete.clear()  # the first may have been answered before the last was written
        if self.missing:
            with suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    await self._complete.wait()
        return not self.missing


_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
_PLAIN = re.compile(r"[!-$&-~]+", re.ASCII)
