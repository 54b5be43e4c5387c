"""Which topics take records: one that is missing is looked for beside the batches, which would each wait for it."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
from aiokafka import AIOKafkaProducer
from aiokafka.errors import UnknownTopicOrPartitionError

__all__ = ["Topics"]

FIRST = 1.0
"""Seconds that a batch waits for a topic of which nothing is known yet: brokers may be making it."""
AGAIN = 0.1
"""Seconds before a topic that was missing, or refused, is looked for once more, if somebody asks for it."""


@attrs.define(eq=False)
class _Look:
    """The last look for one topic.

    Attributes:
        task: it goes on until the topic is there, is refused, or the producer's time is over.
        said: what the one before said, or this one, once it has ended.
        waits_until: on the loop's clock: until when batches wait for it.
        again_at: on the loop's clock.
    """

    task: asyncio.Task[Any]
    said: Exception
    waits_until: float
    again_at: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.said = error
            self.again_at = task.get_loop().time() + AGAIN


class Topics:
    """What is known of the topics that somebody sent to."""

    def __init__(self) -> None:
        self._looks: dict[str, _Look] = {}

    async def problem(self, producer: AIOKafkaProducer, topic: str, timeout: float) -> Exception | None:
        """Return why a topic takes nothing now, or None. Only the first look is waited for, a second at most."""
        if self._is_there(producer, topic):
            return None
        now, look = asyncio.get_running_loop().time(), self._looks.get(topic)
        if look is None or (look.task.done() and now >= look.again_at):
            said = UnknownTopicOrPartitionError() if look is None else look.said
            waits_until = now + min(FIRST, timeout) if look is None else 0.0
            look = _Look(asyncio.create_task(producer.partitions_for(topic)), said, waits_until)
            self._looks[topic] = look
        if not look.task.done() and now < look.waits_until:
            await asyncio.wait({look.task}, timeout=look.waits_until - now)
        return None if self._is_there(producer, topic) else look.said

    def _is_there(self, producer: AIOKafkaProducer, topic: str) -> bool:
        if producer.client.cluster.partitions_for_topic(topic) is None:
            return False
        self._looks.pop(topic, None)
        return True

    def stop(self) -> None:
        """Look no more by a producer that is let go of."""
        for look in self._looks.values():
            look.task.cancel()
