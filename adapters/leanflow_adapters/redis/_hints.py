"""Hearing what other processes tell, by PUBLISH: hints only, for what they miss the next poll finds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

__all__ = ["Hearing"]

_log = logging.getLogger("leanflow.store")

_AGAIN = 5.0  # seconds until a lost connection is made again; polling goes on meanwhile
_LOOK = 5.0  # seconds without a word after which it is asked for one, and after which that is late

Heard = Callable[[Sequence[str]], None]


class Hearing:
    """Listens on a connection of its own, made again when it is lost."""

    def __init__(self, client: Redis, channel: bytes, own: bytes, heard: Heard) -> None:
        """Make it; `own` is the name under which this process tells, which it does not hear."""
        self._client = client
        self._channel = channel
        self._own = own
        self._heard = heard
        self._task = asyncio.get_running_loop().create_task(self._listen(), name="leanflow hints")

    async def aclose(self) -> None:
        """Stop listening."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except (RedisError, OSError, TimeoutError) as error:
                _log.info("no hints from other processes for now: %s", type(error).__name__)
            await asyncio.sleep(_AGAIN)

    async def _listen_once(self) -> None:
        async with self._client.pubsub() as pubsub:
            await pubsub.subscribe(self._channel)
            is_asked = False
            while True:
                message = await pubsub.get_message(timeout=_LOOK)
                if message is None:
                    if is_asked:
                        raise TimeoutError
                    await pubsub.ping()
                    is_asked = True
                    continue
                is_asked = False
                if message["type"] == "subscribe":
                    self._heard(())  # what was told while nobody listened
                elif message["type"] == "message":
                    self._take(message["data"])

    def _take(self, payload: bytes) -> None:
        own, _, ids = payload.partition(b" ")
        if own != self._own:
            self._heard(ids.decode().split(",") if ids else ())
