"""Retry arithmetic: how long to wait, spread out without dice."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import timedelta

__all__ = ["spread", "wait_before"]

_SPREAD = 0.1  # a tenth: enough to part requests that failed together, too little to matter to a person


def spread(wait: timedelta, key: str) -> timedelta:
    """Return `wait` lengthened by up to a tenth, always by the same for the same key; never shortened."""
    return wait * (1 + _SPREAD * zlib.crc32(key.encode("utf-8", "surrogatepass")) / 2**32)


def wait_before(waits: Sequence[timedelta], tries: int, key: str) -> timedelta:
    """Return the wait before try number `tries` (0-based); the last wait is repeated.

    Args:
        waits: at least one.
        tries: how many there were.
        key: what to spread by, as a request id.
    """
    return spread(waits[min(tries, len(waits) - 1)], f"{key}:{tries}")
