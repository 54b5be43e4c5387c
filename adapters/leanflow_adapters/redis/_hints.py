"""Hearing what other processes tell, by PUBLISH."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.exceptions import RedisError

from leanflow_adapters import _hearing
from leanflow_adapters._hearing import Heard

__all__ = ["Hearing"]

_LOOK = 5.0  # seconds without a word after which it is asked for one, and after which that is late


class Hearing(_hearing.Hearing):
    """Listens to what is told on a channel."""

    faults = (RedisError, OSError, TimeoutError)

    def __init__(self, client: Redis, channel: bytes, own: bytes, heard: Heard) -> None:
        """Make it; `own` is the name under which this process tells, which it does not hear."""
        self._client = client
        self._channel = channel
        super().__init__(own.decode(), heard)

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
                    self._heard(())
                elif message["type"] == "message":
                    teller, _, ids = message["data"].decode().partition(" ")
                    self._take(teller, ids)
