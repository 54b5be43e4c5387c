"""A world's rows in a Redis of its own, which syncs every write; it is killed and started for some scenarios."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import redis

from leanflow_adapters.redis._rows import history_entry
from tests.support.redis import Server, server
from tests.torture.bases import Rows

__all__ = ["KeysBase", "KeysServer"]

_PREFIX = "torture"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = datetime.resolution
_PASSING = ("notes", "p:", "parked", "offered", "under:", "early:", "number")
"""Keys whose values change at rest: signs of life, and events whose requests a kill kept from being known."""
_PATIENCE = 30.0  # seconds for which the judge waits for a reply: it may have paused the server itself
_ALL = """local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
    local kind = redis.call('TYPE', key).ok
    local value
    if kind == 'hash' then value = redis.call('HGETALL', key)
    elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    elseif kind == 'set' then value = redis.call('SMEMBERS', key)
    elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
    else value = redis.call('GET', key) end
    found[#found + 1] = { key, kind, value }
end
return found"""


class KeysServer:
    """A server for the length of a scenario that outlives its worlds."""

    def __init__(self) -> None:
        self._context: AbstractContextManager[Server] = server()
        self._server: Server

    @property
    def dsn(self) -> str:
        """Where it is."""
        return self._server.url

    async def __aenter__(self) -> Self:
        self._server = await asyncio.to_thread(self._context.__enter__)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._context.__exit__, kind, error, trace)

    async def stop(self, how: str = "immediate") -> None:
        """Stop it: ``immediate`` by SIGKILL, otherwise in order."""
        await asyncio.to_thread(self._server.kill if how == "immediate" else self._server.stop)

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        await asyncio.to_thread(self._server.start)


class KeysBase:
    """A Redis.

    Args:
        url: where it is; None: one of its own.
        theirs: for the children, if that is another.
    """

    def __init__(self, url: str | None = None, theirs: str | None = None) -> None:
        self._own = None if url is not None else server()
        self._url = url if self._own is None else self._own.__enter__().url
        self._theirs = theirs

    @property
    def url(self) -> str:
        """Where it is."""
        assert self._url is not None
        return self._url

    @property
    def settings(self) -> Mapping[str, Any]:
        """What a child is told of it."""
        return {"store": "redis", "url": self._theirs or self.url, "prefix": _PREFIX}

    def read(self) -> Rows:
        """Read all rows, as of one moment."""
        found = self._all()
        requests = [_request(key[2:], value) for key, value in found.items() if key.startswith("r:")]
        pages = ((key[6:], value) for key, value in found.items() if key.startswith("pages:"))
        return Rows.of(
            {
                "requests": requests,
                "history": (row for key, value in found.items() if key[:2] == "h:" for row in _history(key, value)),
                "inbox": ({"key": member.decode()} for member in found.get("inbox", [])[::2]),
                "parked": ({"key": member.decode()} for member in found.get("parked", [])[::2]),
                "pages": (
                    {"request_id": request_id, "page": int(number), "raw": stored.partition(b"\n")[2]}
                    for request_id, value in pages
                    for number, stored in _pairs(value)
                ),
                "outbox": (_plain(value) for key, value in found.items() if key.startswith("o:")),
            }
        )

    def dump(self) -> list[str]:
        """Return all that there is as text, but what changes at rest."""
        found = self._all().items()
        return sorted(f"{key}: {value!r}" for key, value in found if not key.startswith(_PASSING))

    def hold(self, seconds: float, held: threading.Event) -> None:
        """Keep everybody from writing."""
        with self._client() as client:
            client.execute_command("CLIENT", "PAUSE", int(seconds * 1000), "WRITE")
            held.set()
        time.sleep(seconds)

    def look(self) -> Callable[[], None]:
        """Read all: there are no snapshots that could be kept."""
        self._all()
        return lambda: None

    def is_free(self) -> bool:
        """Say yes: who is frozen holds up nobody."""
        return True

    def close(self) -> None:
        """End the server, if it is its own."""
        if self._own is not None:
            self._own.__exit__(None, None, None)

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=_PATIENCE)

    def _all(self) -> dict[str, Any]:
        with self._client() as client:
            found: Iterable[tuple[bytes, bytes, Any]] = client.eval(_ALL, 0, f"{{{_PREFIX}:*")
        return {key.rpartition(b"}:")[2].decode(): _sorted(kind, value) for key, kind, value in found}


def _pairs(flat: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _sorted(kind: bytes, value: Any) -> Any:
    if kind == b"set":
        return sorted(value)
    return [part for pair in sorted(_pairs(value)) for part in pair] if kind == b"hash" else value


def _plain(value: list[bytes]) -> dict[str, Any]:
    return {name.decode(): stored.decode() for name, stored in _pairs(value)}


def _request(request_id: str, value: list[bytes]) -> dict[str, Any]:
    fields = _plain(value)
    return {
        **fields,
        "id": request_id,
        "version": int(fields["version"]),
        "due_at": fields["due"] or None,
        "entity_id": fields["entity"],
    }


def _history(key: str, value: list[bytes]) -> Iterable[dict[str, Any]]:
    for entry in (history_entry(key[2:], stored) for stored in value):
        at = (entry.at - _EPOCH) // _TICK
        yield {
            "request_id": entry.request_id, "version": entry.version, "key": entry.key, "at": at, "tag": entry.tag,
            "trigger": entry.trigger, "from_state": entry.from_state, "to_state": entry.to_state,
            "declined": entry.declined, "event": json.dumps(dict(entry.event)),
        }  # fmt: skip
