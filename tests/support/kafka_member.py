"""A member of a consumer group in a process of its own, to be stopped and killed: notes what it handles in a file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from leanflow import Reply
from leanflow_adapters._bus import Receive, Subscription
from leanflow_adapters.kafka import KafkaBus
from tests.support.kafka import let_followers_sync

__all__ = ["member", "note", "noting"]

SESSION = {"session_timeout_ms": 1500, "heartbeat_interval_ms": 100}
"""Of a group with several members: in each rebalance the mock cluster waits for all to join, a second less than it."""


def note(notes: Path, name: str, body: bytes) -> None:
    """Append ``name body`` as a line."""
    with notes.open("ab", buffering=0) as file:
        file.write(b"%s\t%s\n" % (name.encode(), body))


def noting(notes: Path, name: str) -> Receive:
    """Return a receiver that takes everything, two milliseconds for each, and notes it."""

    async def receive(_headers: Mapping[str, str], body: bytes) -> Reply:
        await asyncio.sleep(0.002)
        note(notes, name, body)
        return Reply(status=200)

    return receive


def member(servers: str, topic: str, receive: Receive) -> Subscription:
    """Return a member of the topic's group, to be entered."""
    bus = KafkaBus(servers, timeout=5, settings={"retry_backoff_ms": 20})
    return bus.subscribe(topic, receive, durable=topic, settings=SESSION)


async def _main(servers: str, topic: str, name: str, notes: str) -> None:
    let_followers_sync()
    async with member(servers, topic, noting(Path(notes), name)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
