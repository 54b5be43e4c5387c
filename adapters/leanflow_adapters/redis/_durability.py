"""What a server keeps of what it says is done: it depends on how it is set up, and is said at every start."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from leanflow.errors import SetupError

__all__ = [
    "ClusteredServer",
    "Durability",
    "EvictingServer",
    "conditions",
    "durability_of",
    "refuse_cluster",
    "refuse_eviction",
]

Info = Mapping[str, Any]

_log = logging.getLogger("leanflow.store")

_SKEW = 2.0  # seconds that clocks may differ
_LOSSES = {
    "no": "appendonly is no: a crash of the server loses all since its last snapshot",
    "everysec": "appendfsync is everysec: a crash of the machine loses the last second or two",
    "no fsync": "appendfsync is no: a crash of the machine loses what the system has not written yet, often 30 s",
}
_REMEDY = "webhooks that were answered 200 among it; set appendonly yes and appendfsync always"


class EvictingServer(SetupError):
    """The server throws keys away when memory is short: requests, events, leases."""

    def __init__(self, store: str, policy: str) -> None:
        self.store = store
        self.policy = policy
        super().__init__(store, policy)

    def __str__(self) -> str:
        return (
            f"{self.store}: maxmemory-policy is {self.policy}, under which Redis deletes requests when memory is short;"
            " set it to noeviction (CONFIG SET maxmemory-policy noeviction, and in redis.conf), or use a server that is"
            " no cache"
        )


class ClusteredServer(SetupError):
    """The server has a part of the keys only, and would send the store to others for the rest."""

    def __init__(self, store: str, primaries: int) -> None:
        self.store = store
        self.primaries = primaries
        super().__init__(store, primaries)

    def __str__(self) -> str:
        return (
            f"{self.store}: the server is one of the {self.primaries} primaries of a Redis Cluster, and has only a part"
            " of the keys; the store talks to one server and follows no redirections: use one that is by itself, or a"
            " cluster of one primary"
        )


@attrs.frozen
class Durability:
    """What a crash loses of what was answered.

    Attributes:
        level: ``always``: nothing; ``unknown``: the server does not tell; or what is in the way.
    """

    level: str

    @property
    def is_enough(self) -> bool:
        """Whether nothing is known to be lost."""
        return self.level not in _LOSSES

    @property
    def words(self) -> str:
        """What a crash loses, and under which setting."""
        if self.level == "unknown":
            return "appendonly is yes; the server does not tell appendfsync: see that it is always"
        return f"{_LOSSES[self.level]}, {_REMEDY}" if self.level in _LOSSES else "appendonly is yes, appendfsync always"

    def warn(self, store: str) -> None:
        """Say it in the log, where webhooks may be answered 200 and lost."""
        if not self.is_enough:
            _log.warning("%s: %s", store, self.words)


async def _setting(client: Redis, name: str) -> str | None:
    """Return a setting of the server's, or None where CONFIG is not allowed, as hosted servers have it."""
    try:
        found = await client.config_get(name)
    except ResponseError:
        return None
    return {_plain(key): _plain(value) for key, value in found.items()}.get(name)


def _plain(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def refuse_eviction(info: Info, store: str) -> None:
    """Raise if the server deletes keys that have no time to live. Ours have none: ``volatile-`` policies spare them.

    Raises:
        EvictingServer: it does.
    """
    policy = _plain(info.get("maxmemory_policy", ""))
    if policy.startswith("allkeys-"):
        raise EvictingServer(store, policy)


async def refuse_cluster(client: Redis, info: Info, store: str) -> None:
    """Raise if other servers have a part of the keys.

    Raises:
        ClusteredServer: they have.
    """
    if not info.get("cluster_enabled"):
        return
    try:
        found = await client.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]  # redis-py has no type
    except ResponseError:  # not allowed, as hosted servers may have it: it will send us elsewhere, or not
        return
    primaries = int(_plain(found["cluster_size"]))
    if primaries > 1:
        raise ClusteredServer(store, primaries)


async def durability_of(client: Redis, info: Info) -> Durability:
    """Return what a crash of this server loses."""
    if not info.get("aof_enabled"):
        return Durability("no")
    syncs = await _setting(client, "appendfsync")
    return Durability({None: "unknown", "no": "no fsync"}.get(syncs, syncs or ""))


async def conditions(client: Redis) -> Sequence[tuple[str, bool, str]]:
    """Return what is to be known of a server: which thing, whether it is as it should be, and what to do."""
    before = datetime.now(UTC)
    seconds, micros = await client.time()
    skew = seconds + micros / 1e6 - (before + (datetime.now(UTC) - before) / 2).timestamp()
    info = await client.info()
    durability = await durability_of(client, info)
    return (_clock(skew), ("durability", durability.is_enough, durability.words), _memory(info))


def _clock(skew: float) -> tuple[str, bool, str]:
    if abs(skew) <= _SKEW:
        return "clocks", True, f"the server's and this machine's differ by {abs(skew):.1f} s"
    side = "ahead of" if skew > 0 else "behind"
    words = f"the server's clock is {abs(skew):.0f} s {side} this machine's: set both by NTP"
    return "clocks", False, f"{words} (leases go by the server's, times in histories by the machine's)"


def _memory(info: Info) -> tuple[str, bool, str]:
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    words = f"{used // 2**20} MiB used" + (f" of {most // 2**20}" if most else ", no maxmemory")
    if most and used > 0.9 * most:
        return "memory", False, f"{words}: when it is full, every step is refused; give it more, or purge"
    return "memory", True, words
