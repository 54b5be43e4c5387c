"""A Kafka for tests, without Kafka: librdkafka's mock cluster, with brokers that go down and come back.

`confluent_kafka` gives its own clients such a cluster by ``test.mock.num.brokers``; the levers that a test pulls (a
broker down, no wait before a group's first rebalance, an error in the next answer) are only in librdkafka's C face,
which the wheel of confluent-kafka brings.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import time
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.consumer.group_coordinator import GroupCoordinator

__all__ = ["KafkaCluster", "let_followers_sync", "missing", "require_kafka"]

_PRODUCER = 0
_FOLLOWERS = 0.2  # seconds: within which followers have asked for their share
_LOOK = 0.002  # seconds: in which the cluster's thread has done what it was told
_INT, _POINTER, _TEXT = ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p
_FUNCTIONS = {
    "rd_kafka_new": (_POINTER, (_INT, _POINTER, _TEXT, ctypes.c_size_t)),
    "rd_kafka_conf_new": (_POINTER, ()),
    "rd_kafka_destroy": (None, (_POINTER,)),
    "rd_kafka_mock_cluster_new": (_POINTER, (_POINTER, _INT)),
    "rd_kafka_mock_cluster_bootstraps": (_TEXT, (_POINTER,)),
    "rd_kafka_mock_cluster_destroy": (None, (_POINTER,)),
    "rd_kafka_mock_topic_create": (_INT, (_POINTER, _TEXT, _INT, _INT)),
    "rd_kafka_mock_topic_set_error": (None, (_POINTER, _TEXT, _INT)),
    "rd_kafka_mock_broker_set_down": (_INT, (_POINTER, ctypes.c_int32)),
    "rd_kafka_mock_broker_set_up": (_INT, (_POINTER, ctypes.c_int32)),
    "rd_kafka_mock_broker_set_rtt": (_INT, (_POINTER, ctypes.c_int32, _INT)),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, (_POINTER, ctypes.c_int32)),
    "rd_kafka_mock_push_request_errors_array": (None, (_POINTER, ctypes.c_int16, ctypes.c_size_t, _POINTER)),
}


@cache
def _library() -> ctypes.CDLL | str:
    """Return librdkafka as confluent-kafka brings it, or why there is none."""
    try:
        import confluent_kafka  # noqa: F401 - loads the library
    except ImportError as error:
        return str(error)
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    paths = {line.split()[-1] for line in lines if "librdkafka" in line}
    if not paths:
        return "confluent_kafka was built without a library of its own"
    library = ctypes.CDLL(paths.pop())
    for name, (returns, takes) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = returns, takes
    return library


def missing() -> str | None:
    """Return why there is no mock cluster here, or None."""
    found = _library()
    return f"no mock Kafka ({found})" if isinstance(found, str) else None


def let_followers_sync() -> None:
    """Let aiokafka's leaders of groups take their time, for the rest of the process.

    The mock cluster refuses a follower that asks for its share after the leader has said it, and aiokafka gives up at
    that; Kafka answers. Without this, groups of several members come to an end by luck alone.
    """
    perform = GroupCoordinator._perform_assignment  # there is no public way to hold it up
    if not hasattr(perform, "_holds_up"):

        async def perform_later(coordinator: Any, response: Any) -> Any:
            await asyncio.sleep(_FOLLOWERS)
            return await perform(coordinator, response)

        perform_later._holds_up = True  # type: ignore[attr-defined]  # a mark of ours
        GroupCoordinator._perform_assignment = perform_later


def require_kafka() -> None:
    """Skip the test by name where there is no mock cluster; with ``LEANFLOW_REQUIRE_SERVICES=1`` it fails."""
    if (said := missing()) is not None:
        if os.environ.get("LEANFLOW_REQUIRE_SERVICES") == "1":
            pytest.fail(said)
        pytest.skip(said)


class KafkaCluster:
    """A mock cluster on ports of its own. What it was sent is in memory: nothing of it outlives the cluster.

    Args:
        brokers: how many.
    """

    def __init__(self, brokers: int = 2) -> None:
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells at length that nobody is there
        self._brokers = range(1, brokers + 1)
        self._client: Any = None
        self._cluster: Any = None

    @property
    def servers(self) -> list[str]:
        """Where its brokers listen."""
        told: bytes = self._order("cluster_bootstraps")
        return told.decode().split(",")

    @property
    def _lib(self) -> ctypes.CDLL:
        found = _library()
        assert not isinstance(found, str), found
        return found

    def _order(self, what: str, *arguments: Any) -> Any:
        """Have the cluster do something.

        Its thread may miss what it is told right behind something else, and find it a second later: so it is given time
        to look first.
        """
        time.sleep(_LOOK)
        return getattr(self._lib, f"rd_kafka_mock_{what}")(self._cluster, *arguments)

    def __enter__(self) -> Self:
        said = ctypes.create_string_buffer(512)
        self._client = self._lib.rd_kafka_new(_PRODUCER, self._lib.rd_kafka_conf_new(), said, len(said))
        assert self._client, said.value
        self._cluster = self._lib.rd_kafka_mock_cluster_new(self._client, len(self._brokers))
        # A group waits 3 s for other members before its first rebalance, unless it is told not to.
        self._order("group_initial_rebalance_delay_ms", 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._order("cluster_destroy")
        self._lib.rd_kafka_destroy(self._client)
        self._client = self._cluster = None

    def topic(self, name: str, partitions: int = 4) -> str:
        """Make a topic; one that nobody made is made with four partitions when it is first asked for."""
        self._order("topic_create", name.encode(), partitions, 1)
        return name

    async def records(self, topic: str) -> list[ConsumerRecord]:
        """Return all that a topic of four partitions has, one partition behind the other, each in its order."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.servers, auto_offset_reset="earliest")
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, number) for number in range(4)]
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            found = []
            for partition, end in ends.items():
                while end and await consumer.position(partition) < end:
                    found += (await consumer.getmany(partition, timeout_ms=100)).get(partition, [])
            return found
        finally:
            await consumer.stop()

    def refuse(self, topic: str, error: int = 29) -> None:
        """Answer all that concerns a topic with an error code (29: not authorised); 0: serve it again."""
        self._order("topic_set_error", topic.encode(), error)

    def down(self) -> None:
        """Take every broker down: connections are cut, new ones refused."""
        for broker in self._brokers:
            self._order("broker_set_down", broker)

    def up(self) -> None:
        """Bring them back, with all that they had."""
        for broker in self._brokers:
            self._order("broker_set_up", broker)

    def slow(self, seconds: float) -> None:
        """Let every answer take so long; 0: none."""
        for broker in self._brokers:
            self._order("broker_set_rtt", broker, int(seconds * 1000))

    def fail(self, api: int, *errors: int) -> None:
        """Answer the next requests of a kind (0: produce, 8: commit of offsets) with these error codes."""
        codes = (ctypes.c_int * len(errors))(*errors)
        self._order("push_request_errors_array", api, len(errors), codes)
