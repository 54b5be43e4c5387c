"""`NatsBus`: announcements to a JetStream stream, and subscriptions to others."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from leanflow._request import State
from leanflow.errors import BrokerSetup, BusUnavailable, LeanflowError, MessageRefused
from leanflow_adapters._bus import (
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

CONFIRMING = 5.0
"""Seconds within which the server is to confirm a batch."""


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
            options: further arguments of nats-py's `connect`, as ``{"user_credentials": …, "tls": …}``.

        Raises:
            InvalidRequest: an argument is wrong.
        """
        super().__init__(
            Options(name=name, topic=topic, only=only, webhooks=webhooks, envelope=envelope, source=source)
        )
        self._link = Link(name, [servers] if isinstance(servers, str) else servers, client, options or {})
        self._link.when_lost(self._lost)
        self._stream = stream
        self._create = create
        self._subjects = list(subjects)
        self._waiting: dict[str, asyncio.Future[Msg]] = {}
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

    def _lost(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(BusUnavailable(self.name, "the connection was lost"))

    # publishing

    async def _send(self, messages: Sequence[Message]) -> Sequence[BaseException | None]:
        """Write all, then wait for all confirmations."""
        try:
            client = await self._link.client()
            inbox = await self._listen(client)
        except LeanflowError as error:
            return [error] * len(messages)
        places = [f"{inbox}{next(self._numbers)}" for _ in messages]
        try:
            sent = [await self._put(client, message, place) for message, place in zip(messages, places, strict=True)]
            waiting = [one for one in sent if isinstance(one, asyncio.Future)]
            late: set[asyncio.Future[Msg]] = set()
            if waiting:
                _, late = await asyncio.wait(waiting, timeout=CONFIRMING)
            outcomes = [self._outcome(one, message) for one, message in zip(sent, messages, strict=True)]
            if late:
                await self._link.forget(client)
            return outcomes
        finally:
            for place in places:
                if (waited := self._waiting.pop(place, None)) is not None:
                    waited.cancel()

    async def _listen(self, client: Client) -> str:
        """Return the prefix of the addresses to which the server confirms."""
        if self._inbox is None or self._inbox[0] is not client:
            with translated(self.name):
                prefix = f"{client.new_inbox()}."
                await client.subscribe(f"{prefix}*", cb=self._confirmed)
            self._inbox = client, prefix
        return self._inbox[1]

    async def _put(self, client: Client, message: Message, place: str) -> asyncio.Future[Msg] | LeanflowError:
        key = message.key if _PLAIN.fullmatch(message.key) else quote(message.key, safe=_SAFE)
        told = {**message.headers, "Nats-Msg-Id": key, "Nats-Expected-Stream": self._stream}
        size = size_of(told, message.body)
        if size > client.max_payload:  # the server would hang up, and every other message with this one
            limit = f"{size} bytes, headers included, are more than the server's max_payload"
            return MessageRefused(self.name, f"{limit} of {client.max_payload}")
        waiting: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._waiting[place] = waiting
        try:
            check_subject(self.name, message.topic)
            with translated(self.name):
                await client.publish(message.topic, message.body, reply=place, headers=told)
        except LeanflowError as error:
            del self._waiting[place]
            return error
        return waiting

    async def _confirmed(self, msg: Msg) -> None:
        waiting = self._waiting.get(msg.subject)
        if waiting is not None and not waiting.done():
            waiting.set_result(msg)

    def _outcome(self, sent: asyncio.Future[Msg] | LeanflowError, message: Message) -> BaseException | None:
        if isinstance(sent, LeanflowError):
            return sent
        if not sent.done():
            return BusUnavailable(self.name, f"no confirmation within {CONFIRMING:g} s")
        if (error := sent.exception()) is not None:
            return error
        msg = sent.result()
        if msg.headers and msg.headers.get("Status") == "503":
            cure = f"let {self._stream} take it (nats stream edit {self._stream} --subjects …), or change topic="
            return BrokerSetup(self.name, f"no stream takes the subject {message.topic!r}", cure)
        return self._refusal(json.loads(msg.data).get("error"))

    def _refusal(self, error: Mapping[str, Any] | None) -> LeanflowError | None:
        if error is None:
            return None
        said = f"{error.get('description')} (code {error.get('err_code')})"
        if error.get("code") in {500, 503}:
            return BusUnavailable(self.name, said)
        return MessageRefused(self.name, said)


_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
_PLAIN = re.compile(r"[!-$&-~]+", re.ASCII)
