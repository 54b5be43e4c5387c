"""The producer: its own, made anew when it was lost, or one that was handed, checked and never closed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from leanflow.errors import BusUnavailable, InvalidRequest, LeanflowError, MessageRefused
from leanflow_adapters._kafka_producer import check_producer
from leanflow_adapters.kafka._topics import Topics

__all__ = ["AWAY", "Letter", "Link"]

AWAY = (KafkaError, OSError, TimeoutError)
"""What aiokafka raises when the cluster or the topic is gone."""

AT_ONCE = 64 * 1024
"""Bytes in a batch of records; aiokafka's own 16 KiB hold a dozen announcements, and brokers take a megabyte."""

_LOOKS, _LOOK = 50, 0.1  # times, and seconds: how long a producer that is let go of may take to end
_SETTLED = ("acks", "enable_idempotence", "transactional_id", "key_serializer", "value_serializer")


@attrs.frozen(kw_only=True)
class Letter:
    """One record to publish.

    Attributes:
        id: of the message.
        topic: where to.
        key: what decides on the partition; None: any.
        value: its body.
        headers: names to bytes.
    """

    id: str
    topic: str
    key: bytes | None
    value: bytes = attrs.field(repr=False)
    headers: Sequence[tuple[str, bytes]] = ()


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings of a producer that are leanflow's.

    Raises:
        InvalidRequest: names them.
    """
    if wrong := [name for name in _SETTLED if name in settings]:
        raise InvalidRequest("settings", f"{', '.join(wrong)}: leanflow sets these itself")


class Link:
    """What sends records.

    Args:
        bus: the bus's name, for errors.
        servers: ``host:port`` of some brokers; not for a handed producer.
        producer: of the application's; never closed.
        timeout: seconds for connecting, and for a batch to be acknowledged.
        settings: more for its own producer: ``security_protocol`` and the like.
    """

    def __init__(
        self,
        bus: str,
        servers: Sequence[str] | str | None,
        producer: AIOKafkaProducer | None,
        timeout: float,
        settings: Mapping[str, Any],
    ) -> None:
        check_settings(settings)
        self._bus = bus
        self._servers = servers
        self._handed = producer
        self._timeout = timeout
        self._settings = settings
        self._own: AIOKafkaProducer | None = None
        self._pending: dict[str, asyncio.Future[Any]] = {}
        self._topics = Topics()
        self._lock: asyncio.Lock | None = None

    async def producer(self) -> AIOKafkaProducer:
        """Return the producer, started."""
        if self._handed is not None:
            check_producer(self._handed)
            return self._handed
        if self._lock is None:
            self._lock = asyncio.Lock()  # of the loop that opens it
        async with self._lock:
            if self._own is None:
                self._own = await self._start()
            return self._own

    async def _start(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            enable_idempotence=True,
            acks="all",
            **{"request_timeout_ms": int(self._timeout * 1000), "max_batch_size": AT_ONCE, **self._settings},
        )
        try:
            async with asyncio.timeout(self._timeout):
                await producer.start()
        except BaseException:  # cancelled, too: it has tasks and sockets by now
            await producer.stop()
            raise
        return producer

    async def send(self, letters: Sequence[Letter]) -> list[LeanflowError | None]:
        """Send in order; return for each letter None once all replicas have it, or what went wrong.

        A record that the brokers refuse takes those along that travelled in one batch with it: then each of them is
        sent once more, alone.
        """
        errors, refused = await self._send(letters)
        if len(letters) > 1:
            for number in sorted(refused):
                (errors[number],), _ = await self._send([letters[number]])
        return [self._told(error, letter) for error, letter in zip(errors, letters, strict=True)]

    def _told(self, error: Exception | None, letter: Letter) -> LeanflowError | None:
        if error is None:
            return None
        if isinstance(error, UnknownTopicOrPartitionError):
            return BusUnavailable(self._bus, f"there is no topic {letter.topic!r}, or nobody leads it")
        if isinstance(error, AWAY) and not _is_final(error):
            return BusUnavailable(self._bus, str(error) if type(error) is TimeoutError else type(error).__name__)
        return MessageRefused(self._bus, type(error).__name__)

    async def _send(self, letters: Sequence[Letter]) -> tuple[list[Exception | None], set[int]]:
        """Send in order; return what became of each, and the places of those that the brokers refused."""
        try:
            producer = await self.producer()
        except AWAY as error:
            return [error] * len(letters), set()
        errors: list[Exception | None] = [TimeoutError("Kafka did not acknowledge in time")] * len(letters)
        topics: dict[str, list[int]] = {}
        for number, letter in enumerate(letters):
            topics.setdefault(letter.topic, []).append(number)

        futures: dict[int, asyncio.Future[Any]] = {}
        tasks = [
            asyncio.create_task(self._to_topic(producer, letters, numbers, futures, errors))
            for numbers in topics.values()
        ]
        try:
            _, late = await asyncio.wait(tasks, timeout=self._timeout)
        finally:
            for task in tasks:
                task.cancel()
            for number, future in futures.items():
                self._forget(letters[number].id, future)
        await asyncio.gather(*tasks, return_exceptions=True)
        for number, future in futures.items():
            if future.done():
                errors[number] = _error(future)
        refused = {number for number in futures if _is_final(errors[number])}
        if late or refused:
            await self._abandon()
        return errors, refused

    async def _to_topic(
        self,
        producer: AIOKafkaProducer,
        letters: Sequence[Letter],
        numbers: Sequence[int],
        futures: dict[int, asyncio.Future[Any]],
        errors: list[Exception | None],
    ) -> None:
        """Send what goes to one topic: topics do not wait for each other's metadata."""
        problem = await self._topics.problem(producer, letters[numbers[0]].topic, self._timeout)
        if problem is not None:
            for number in numbers:
                errors[number] = problem
            return
        for number in numbers:
            letter = letters[number]
            try:
                futures[number] = self._pending.get(letter.id) or await self._give(producer, letter)
            except (*AWAY, ValueError, TypeError) as error:  # too large for the client, a topic that cannot be
                errors[number] = error
        for number in numbers:  # one after the other: most are through by the time that the first is
            if number in futures and not futures[number].done():
                await asyncio.wait([futures[number]])

    async def _give(self, producer: AIOKafkaProducer, letter: Letter) -> asyncio.Future[Any]:
        """Hand a record to the producer. It is remembered until it is acknowledged: a producer does not give up."""
        future: asyncio.Future[Any] = await producer.send(
            letter.topic, letter.value, key=letter.key, headers=letter.headers
        )
        self._pending[letter.id] = future
        return future

    def _forget(self, letter_id: str, future: asyncio.Future[Any]) -> None:
        """Forget a record that is through; another one once it is."""
        if not future.done():
            future.add_done_callback(partial(self._forget, letter_id))
            return
        _error(future)  # it may be that nobody waits any more
        if self._pending.get(letter_id) is future:
            del self._pending[letter_id]

    async def _abandon(self) -> None:
        """Let go of its own producer with all that it still has; the next use begins anew.

        An idempotent producer repeats a batch until it is acknowledged, `stop` waits for that, and there is no public
        way to call it off. One that had a batch refused has a gap in its sequence, and is refused from then on.
        """
        self._topics.stop()
        producer, self._own = self._own, None
        if producer is None:
            return
        sender, waiting = producer._sender.sender_task, producer._message_accumulator  # noqa: SLF001 - see above
        sender.cancel()
        await producer.client.close()  # what it waits for ends, and it with that; but for news of the cluster:
        for _ in range(_LOOKS):
            news = producer.client._md_update_fut  # noqa: SLF001 - which nobody brings any more
            if news is not None and not news.done():
                news.set_result(False)
            if (await asyncio.wait([sender], timeout=_LOOK))[0]:
                break
        else:
            sender.cancel()
            await asyncio.wait([sender], timeout=_LOOK)
        waiting._batches.clear()  # noqa: SLF001 - so that there is nothing to wait for
        waiting._pending_batches.clear()  # noqa: SLF001
        for future in list(self._pending.values()):
            future.cancel()
        with suppress(*AWAY):
            await producer.stop()

    async def aclose(self) -> None:
        """Stop its own producer; a handed one goes on."""
        await self._abandon()
        self._pending.clear()
        self._lock = None


def _error(done: asyncio.Future[Any]) -> Exception | None:
    if done.cancelled():
        return TimeoutError("Kafka did not acknowledge in time")
    error = done.exception()
    assert error is None or isinstance(error, Exception)
    return error


def _is_final(error: Exception | None) -> bool:
    """Return whether the brokers said no, and would say it again."""
    return bool(isinstance(error, KafkaError) and not error.retriable)
