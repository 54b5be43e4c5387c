"""Messages in from a stream: a consumer group.

Redis has no delayed redelivery: what is to come again waits in a sorted set beside the stream, by its due time, and
stays pending in the group meanwhile. What was pending with a process that died is taken over once it was idle so long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import attrs
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from leanflow._call import Reply
from leanflow_adapters._bus import SetAside
from leanflow_adapters.redis_streams._acks import Acks
from leanflow_adapters.redis_streams._link import Link, translated

if TYPE_CHECKING:
    from leanflow_adapters._bus import BrokerBus

__all__ = ["GroupSource"]

IDLE = 60_000
"""Milliseconds after which another process's message is taken over: longer than any receiver takes."""
LOST = 1000
"""Milliseconds after which an answer of the server's will not come any more: twice what a fetch waits."""
WAITING = 500
"""Milliseconds that a fetch waits for a first message: leaving waits no longer, even if the server ends no fetch."""
AT_ONCE = 1000
"""How many messages may wait to come again before nothing new is fetched: then it is not the messages that are bad."""

_REASON, _TRIES, _DATA = "leanflow-reason", "leanflow-tries", "data"
_REPLY_TO = "reply-to"

# Claims what is due again; then what an answer that never came had for this process, and what was left by others, but
# not what waits for its time; then what is new, so that none of this costs a round trip of its own. Returns how many
# wait, in how many milliseconds the next is due (-1: none), and messages with the number of their deliveries.
_CLAIM = """
local stream, waiting = KEYS[1], KEYS[2]
local group, consumer, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local idle, lost, most = ARGV[4], ARGV[5], tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids = redis.call('ZRANGEBYSCORE', waiting, '-inf', now, 'LIMIT', 0, limit)
local known = {}
for _, id in ipairs(ids) do
  known[id] = true
end
for place = 7, #ARGV do
  known[ARGV[place]] = true
end
local function take(left)
  for _, entry in ipairs(left) do
    if #ids < limit and not known[entry[1]] and not redis.call('ZSCORE', waiting, entry[1]) then
      known[entry[1]] = true
      ids[#ids + 1] = entry[1]
    end
  end
end
local count = redis.call('ZCARD', waiting) + #ARGV + limit
if #ids < limit then
  take(redis.call('XPENDING', stream, group, 'IDLE', lost, '-', '+', count, consumer))
end
if #ids < limit then
  take(redis.call('XPENDING', stream, group, 'IDLE', idle, '-', '+', count))
end
local claimed = {}
for _, id in ipairs(ids) do
  redis.call('ZREM', waiting, id)
  local entries = redis.call('XCLAIM', stream, group, consumer, 0, id)
  if entries[1] then
    local pending = redis.call('XPENDING', stream, group, id, id, 1)
    claimed[#claimed + 1] = {id, entries[1][2], pending[1][4]}
  else
    redis.call('XACK', stream, group, id)
  end
end
local following = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
local wait = -1
if following[2] then
  wait = math.max(1, following[2] - now)
end
local how_many = redis.call('ZCARD', waiting)
if #claimed < limit and how_many < most then
  local read = redis.pcall('XREADGROUP', 'GROUP', group, consumer, 'COUNT', limit - #claimed, 'STREAMS', stream, '>')
  for _, entry in ipairs(read and read[1] and read[1][2] or {}) do  -- none from a server that allows it in no script
    claimed[#claimed + 1] = {entry[1], entry[2], 1}
  end
end
return {how_many, wait, claimed}
"""

_AGAIN = """
local time = redis.call('TIME')
return redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2], ARGV[1])
"""

# A script ends at what fails in it: nothing is acknowledged that is not kept.
_ASIDE = """
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 3))
return redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
"""

# In one, since a name takes along what is delivered to it in between: to a fetch that nobody waits for any more.
_LEAVE = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
"""


class GroupSource:
    """A consumer group's messages."""

    def __init__(self, bus: BrokerBus, link: Link, *, stream: str, group: str, aside: str) -> None:
        self._bus = bus
        self._link = link
        self._stream = stream
        self._group = group
        self._aside = aside
        self._waiting = f"{stream}:{group}:again"
        self._consumer = f"leanflow-{uuid4().hex}"
        self._holds = False
        self._reader: Redis | None = None  # a connection of its own, for the server to know which fetch is to end
        self._reader_id: int | None = None
        self._stopping: asyncio.Future[None] | None = None
        self._here: set[bytes] = set()  # what is with the receiver
        self._acks = Acks(link, stream, group)
        self._look_at = 0.0  # on the monotonic clock: when something may be due again, or was left by others
        self._how_many = 0  # wait to come again

    async def open(self) -> None:
        """Connect; make the stream and the group if they are not there: it begins with the stream's first message."""
        if not self._holds:
            await self._bus.hold()
            self._holds = True
        self._look_at = 0.0
        with translated(self._bus.name):
            try:
                await self._link.client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
            await self._let_reader_go()
            self._reader = self._link.client.client()
            with suppress(ResponseError):  # a user who may not ask for it leaves later
                self._reader_id = await self._reader.client_id()

    async def fetch(self, limit: int) -> Sequence[GroupDelivery]:
        """Return what is due again, was left by others or is new; none if nothing comes in half a second."""
        reader: Any = self._reader
        with translated(self._bus.name):
            if time.monotonic() >= self._look_at and (found := await self._look(limit)):
                return found
            longest = min(WAITING, int(self._link.timeout * 500))  # half of what the client waits
            block = max(1, min(longest, int((self._look_at - time.monotonic()) * 1000)))
            if self._how_many >= AT_ONCE:
                limit = 1
            if self._stopping is not None:
                return []
            new = await reader.xreadgroup(self._group, self._consumer, {self._stream: ">"}, count=limit, block=block)
        return [self._delivery(place, fields, 1) for _, entries in _streams(new) for place, fields in entries]

    async def _look(self, limit: int) -> Sequence[GroupDelivery]:
        """Claim what is due again or was left by others, and take note of when to look the next time.

        Not with each fetch: a look costs the server more than what is new alone.
        """
        client: Any = self._link.client
        settings = (self._group, self._consumer, limit, IDLE, LOST, AT_ONCE)
        self._how_many, wait, found = await client.eval(_CLAIM, 2, self._stream, self._waiting, *settings, *self._here)
        self._look_at = time.monotonic() + (WAITING if wait < 0 else min(WAITING, wait)) / 1000
        return [self._delivery(place, _paired(flat), tries) for place, flat, tries in found]

    def _waits(self, delay: float) -> None:
        """Take note of a message that comes again after so many seconds."""
        self._how_many += 1
        self._look_at = min(self._look_at, time.monotonic() + delay)

    def stop(self) -> None:
        """Have the server end a fetch as if its time were up, which loses nothing, unless it was answered by then.

        One that is cut off here might still be handed messages there, which come again after `IDLE`.
        """
        self._stopping = asyncio.ensure_future(self._unblock())

    async def _unblock(self) -> None:
        if self._reader_id is not None:
            client: Any = self._link.client
            with suppress(RedisError, OSError):  # then it waits
                await client.client_unblock(self._reader_id)

    async def set_aside(self, limit: int) -> Sequence[SetAside]:
        """Return what is in the stream for what is set aside."""
        async with self._bus.held():
            client: Any = self._link.client
            with translated(self._bus.name):
                entries = await client.xrange(self._aside, count=limit)
        found = []
        for place, fields in entries:
            told, body = _opened(fields)
            reason, tries = told.pop(_REASON, ""), int(told.pop(_TRIES, "0"))
            where = f"{self._aside}:{place.decode()}"
            found.append(SetAside(place=where, reason=reason, tries=tries, headers=told, body=body))
        return found

    async def aclose(self) -> None:
        """Take the consumer's name from the group, if nothing is pending under it."""
        if not self._holds:
            return
        self._holds = False
        try:
            await self._let_reader_go()
            if self._stopping is not None:
                await asyncio.wait({self._stopping})
            client: Any = self._link.client
            await client.eval(_LEAVE, 1, self._stream, self._group, self._consumer)
        except (RedisError, OSError):
            pass  # a name that stays costs a few bytes
        finally:
            await self._bus.let_go()

    async def _let_reader_go(self) -> None:
        reader, self._reader, self._reader_id = self._reader, None, None
        if reader is not None:
            await reader.aclose()

    def _delivery(self, place: bytes, fields: Mapping[bytes, bytes], tries: int) -> GroupDelivery:
        self._here.add(place)
        keys = _Keys(self._stream, self._group, self._waiting, self._aside, self._here, self._waits)
        return GroupDelivery(self._link, keys, self._acks, place, fields, tries)


@attrs.frozen
class _Keys:
    """Where an entry's life takes place; the set of what is with the receiver, and who is told of what comes again."""

    stream: str
    group: str
    waiting: str
    aside: str
    here: set[bytes]
    waits: Callable[[float], None]


class GroupDelivery:
    """One entry of a stream."""

    def __init__(
        self, link: Link, keys: _Keys, acks: Acks, place: bytes, fields: Mapping[bytes, bytes], tries: int
    ) -> None:
        self._link = link
        self._keys = keys
        self._acks = acks
        self._place = place
        self._fields = fields
        self.tries = tries
        self.headers, self.body = _opened(fields)

    @property
    def reply_to(self) -> str | None:
        """The field ``reply-to``: a stream."""
        return next((value for name, value in self.headers.items() if name.lower() == _REPLY_TO), None)

    async def respond(self, reply: Reply) -> None:
        """Put the answer on the stream for it."""
        assert self.reply_to is not None
        told = {"content-type": "application/json", **reply.headers, "leanflow-status": str(reply.status)}
        fields: dict[Any, Any] = {**told, _DATA: reply.body}
        with translated(self._link.name):
            await self._client.xadd(self.reply_to, fields)

    async def ack(self) -> None:
        """Acknowledge."""
        with self._ending():
            await self._acks.ack(self._place)

    async def again(self, delay: float) -> None:
        """Let it wait for its time."""
        with self._ending():
            await self._acks.run(_AGAIN, [self._keys.waiting], self._place, int(delay * 1000))
            self._keys.waits(delay)

    async def set_aside(self, reason: str) -> None:
        """Put it on the stream for that, then acknowledge it."""
        fields: dict[Any, Any] = {**self._fields, _REASON: reason, _TRIES: str(self.tries)}
        flat = [part for pair in fields.items() for part in pair]
        with self._ending():
            await self._acks.run(_ASIDE, [self._keys.stream, self._keys.aside], self._keys.group, self._place, *flat)

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Behind this it is not with the receiver any more; where ending it failed, it will be found pending."""
        try:
            with translated(self._link.name):
                yield
        finally:
            self._keys.here.discard(self._place)

    @property
    def _client(self) -> Any:
        return self._link.client


def _opened(fields: Mapping[bytes, bytes]) -> tuple[dict[str, str], bytes]:
    """Return headers and body."""
    told = {name.decode("utf-8", "replace"): value for name, value in fields.items()}
    body = told.pop(_DATA, b"")
    return {name: value.decode("utf-8", "replace") for name, value in told.items()}, body


def _paired(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _streams(new: Any) -> Any:
    """Return (stream, entries) of an answer to XREADGROUP, which is a map in RESP3."""
    if isinstance(new, dict):
        return [(name, [entry for group in entries for entry in group]) for name, entries in new.items()]
    return new or ()
