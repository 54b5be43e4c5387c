"""Announcements out: a bus's name and filter, where each announcement goes and in which envelope, open and close."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar, Literal

import attrs

from leanflow._request import State
from leanflow.cloudevents import CONTENT_TYPE, CloudEvent, headers
from leanflow.errors import BusUnavailable, InvalidRequest, MessageRefused, NotStarted
from leanflow.ports import WAKE, OutboxRow, Sink

__all__ = ["ANSWERING", "BrokerBus", "Envelope", "Message", "Options", "Topic", "topic_of"]

Topic = str | Callable[[CloudEvent], str]
Envelope = Literal["structured", "binary"]

ANSWERING = 5.0
"""Seconds within which a broker is to answer, unless a bus is told otherwise: an outage is found out within ten."""
CLOSING = 5.0
"""Seconds that closing waits for what is in flight; what is not confirmed then will be told again."""


@attrs.frozen(kw_only=True)
class Message:
    """One announcement, ready to be published.

    Attributes:
        key: its id, the same on every copy.
        topic: where it goes: a subject, stream, routing key or topic.
        headers: names to values, content type included.
        body: its bytes.
        partition_key: what is kept together where there are partitions: the entity.
    """

    key: str
    topic: str
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)
    partition_key: str


def topic_of(event: CloudEvent) -> str:
    """Return where an announcement goes if nobody says otherwise: ``leanflow.flow.fetched`` and the like."""
    return event.attributes["type"].removesuffix(".v1")


def _states(only: Collection[State | str] | None) -> frozenset[State] | None:
    if only is None:
        return None
    try:
        states = frozenset(State(state) for state in ([only] if isinstance(only, str) else only))
    except ValueError:
        raise InvalidRequest("only", f"takes of {', '.join(State)}") from None
    if not states:
        raise InvalidRequest("only", "names no state; leave it out for all")
    return states


def _types(types: Collection[str]) -> frozenset[str]:
    return frozenset([types] if isinstance(types, str) else types)


@attrs.frozen(kw_only=True)
class Options:
    """What every bus takes beside its broker; each adapter has these as arguments of its own.

    Attributes:
        name: the sink's, by which deliveries are remembered: keep it, and choose another for each bus of a kind.
        topic: where announcements go: a text, or a function of the `CloudEvent`.
        only: the states whose entering is announced; None: all, and reports (late webhooks, orphans).
        webhooks: webhook types to be announced instead of changes, as they came from Lean; ``*``: all.
        envelope: ``structured``: one JSON document; ``binary``: attributes as headers.
        source: the CloudEvents attribute; by default made of application, environment and region.
        timeout: seconds within which the broker is to answer.
    """

    name: str
    topic: Topic
    only: frozenset[State] | None = attrs.field(default=None, converter=_states)
    webhooks: frozenset[str] = attrs.field(default=frozenset(), converter=_types)
    envelope: Envelope = "structured"
    source: str | None = None
    timeout: float = ANSWERING

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or self.name == WAKE or self.name.startswith(":"):
            raise InvalidRequest("name", f"{self.name!r} cannot name a bus; choose another")
        if not callable(self.topic) and not (isinstance(self.topic, str) and self.topic):
            raise InvalidRequest("topic", "must be a text, or a function that returns one")
        if self.envelope not in {"structured", "binary"}:
            raise InvalidRequest("envelope", f"{self.envelope!r} is none of structured, binary")
        if not self.timeout > 0:
            raise InvalidRequest("timeout", "must be more than no seconds")
        if self.only is not None and self.webhooks:
            raise InvalidRequest("webhooks", "a bus tells of changes or of webhooks: make two, with two names")

    @property
    def sink(self) -> Sink:
        """What the bus wants, as kept in the store."""
        states = None if self.only is None else frozenset(state.value for state in self.only)
        return Sink(name=self.name, states=states, webhooks=self.webhooks, reports=self.only is None)

    def message(self, row: OutboxRow, prefix: str) -> Message:
        """Return what a row is published as; `prefix` is of the attributes' headers in binary mode."""
        event = CloudEvent.of(row, self.source)
        topic = self.topic if isinstance(self.topic, str) else self.topic(event)
        if not isinstance(topic, str) or not topic:
            raise InvalidRequest("topic", f"the function returned {type(topic).__name__}, and no text that names one")
        if self.envelope == "binary":
            told, body = headers(event.attributes, prefix=prefix), event.data
        else:
            told, body = {"content-type": CONTENT_TYPE}, event.structured()
        return Message(key=event.key, topic=topic, headers=told, body=body, partition_key=event.partition_key)


class BrokerBus(ABC):
    """The life of a bus, and what is alike in publishing. An adapter connects, disconnects and sends.

    The connection is shared by the publisher and the subscriptions of one bus object: the first that needs it connects,
    the last that leaves disconnects.
    """

    prefix: ClassVar[str] = "ce-"
    """Of the attributes' headers in binary mode."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._is_open = False
        self._holders = 0
        self._connecting = asyncio.Lock()
        self._under_way = 0
        self._idle = asyncio.Event()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {'open' if self._is_open else 'closed'})"

    @property
    def name(self) -> str:
        """The sink's name."""
        return self._options.name

    @property
    def sink(self) -> Sink:
        """What it wants to be told."""
        return self._options.sink

    @property
    def is_open(self) -> bool:
        """Whether it is open for publishing."""
        return self._is_open

    async def open(self) -> None:
        """Connect.

        Raises:
            InvalidRequest: it is open already.
            BrokerSetup: something is missing at the broker.
            BusUnavailable: the broker does not answer.
        """
        if self._is_open:
            raise InvalidRequest("bus", f"{self.name} is open already; open it once, or ask `is_open`")
        task = asyncio.current_task()
        assert task is not None
        cancelled = task.cancelling()
        await self.hold()
        try:
            await self._prepare()
            if task.cancelling() > cancelled:  # a client may swallow it
                raise asyncio.CancelledError  # noqa: TRY301 - as if it had not been swallowed
        except BaseException:  # cancelled, too: nothing half open is kept
            await self.let_go()
            raise
        self._idle = asyncio.Event()  # of the loop that opens it
        self._is_open = True

    async def publish(self, batch: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        """Publish a batch; return for each row None, or what went wrong.

        Raises:
            NotStarted: it is not open.
        """
        if not self._is_open:
            raise NotStarted(self.name)
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._publish(batch)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def aclose(self) -> None:
        """Finish what is in flight, and disconnect unless a subscription goes on. Closing a closed bus does nothing."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            if self._under_way:
                async with asyncio.timeout(CLOSING):
                    await self._idle.wait()
        except TimeoutError:
            pass
        finally:
            await self.let_go()

    async def _publish(self, batch: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        errors: list[BaseException | None] = [None] * len(batch)
        places: list[int] = []
        messages: list[Message] = []
        for place, row in enumerate(batch):
            try:
                messages.append(self._options.message(row, self.prefix))
            except (ConnectionError, TimeoutError, BusUnavailable) as error:  # of another server: no outage of this bus
                errors[place] = MessageRefused(self.name, f"its topic could not be had: {type(error).__name__}")
            except Exception as error:  # noqa: BLE001 - the application's function may raise anything: this row's fault
                errors[place] = error
            else:
                places.append(place)
        if messages:
            for place, answer in zip(places, await self._send(messages), strict=True):
                errors[place] = answer
        return errors

    # the connection

    async def hold(self) -> None:
        """Connect if nobody has yet, and have the connection kept until `let_go`."""
        if not self._holders and not self._connecting.locked():
            self._connecting = asyncio.Lock()  # the one before may belong to a loop that has ended
        async with self._connecting:
            if not self._holders:
                await self._connect()
            self._holders += 1

    async def let_go(self) -> None:
        """Disconnect if nobody else holds the connection."""
        async with self._connecting:
            self._holders -= 1
            if not self._holders:
                await self._disconnect()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Have the connection kept for the length of this."""
        await self.hold()
        try:
            yield
        finally:
            await self.let_go()

    @abstractmethod
    async def _connect(self) -> None:
        """Connect, and leave nothing behind if that fails.

        Raises:
            BusUnavailable: the broker does not answer.
        """

    @abstractmethod
    async def _disconnect(self) -> None:
        """Close what `_connect` opened; a client that the application handed in stays open."""

    async def _prepare(self) -> None:
        """Look whether all is there that publishing needs; make it if that was asked for.

        Raises:
            BrokerSetup: it is not.
        """
        return

    @abstractmethod
    async def _send(self, messages: Sequence[Message]) -> Sequence[BaseException | None]:
        """Publish; return for each None once the broker has it durably, or what went wrong. Never raise for the whole.

        Messages reach the broker in this order. (A batch of the engine's has one message of each request: what comes
        behind one that failed is not told before that one's repeat.)
        """
