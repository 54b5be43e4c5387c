"""How an engine is, as values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

__all__ = ["Health", "SinkLag"]


@attrs.frozen(kw_only=True)
class SinkLag:
    """How far one sink is behind.

    Attributes:
        undelivered: rows that wait to be confirmed.
        set_aside: rows given up until `redeliver`.
        oldest_at: when the oldest of those that wait was announced.
    """

    undelivered: int
    set_aside: int
    oldest_at: datetime | None


@attrs.frozen(kw_only=True)
class Health:
    """How the engine is.

    Attributes:
        store_reachable: whether the store answers.
        worker_alive: whether this process's workers run; False with `workers=0`.
        next_due_at: the next, or oldest, due time; None: nothing waits.
        sinks: the lag of each sink; none, if so much waits that counting it takes longer than `policy.commit_timeout`.
        dropped: how often something came from Lean for what was purged or erased; it was not stored.
    """

    store_reachable: bool
    worker_alive: bool
    next_due_at: datetime | None = None
    sinks: Mapping[str, SinkLag] = attrs.field(factory=dict)
    dropped: int = 0
