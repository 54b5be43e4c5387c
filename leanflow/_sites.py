"""Kill sites: the points at which the crash tests kill the process. Free when off.

``LEANFLOW_KILL_SITE="sqlite.after_commit:3"`` in the environment kills the process with SIGKILL when it passes that
site for the third time; without a number, the first time. The variable is read once, when this module is imported.
`SITES` lists every site there is: a test compares it with what the sources call, so that no commit point goes unnamed.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

__all__ = ["SITES", "site"]

SITES: tuple[str, ...] = (
    # the engine: a request made, claimed, asked for, answered
    "created",
    "claimed",
    "before_call",
    "after_call",
    "after_answer",
    # ... a webhook parked, taken out again, answered
    "parked",
    "drain",
    "before_200",
    # ... announcements relayed, requests woken
    "wake_target",
    "before_handler",
    "after_handler",
    "before_publish",
    "after_publish",
    "before_outbox_ack",
    # the SQLite store: the transaction of a batch
    "sqlite.before_begin",
    "sqlite.after_begin",
    "sqlite.before_commit",
    "sqlite.after_commit",
    # ... what a step writes
    "sqlite.after_inbox",
    "sqlite.after_parked",
    "sqlite.after_request",
    "sqlite.after_history",
    "sqlite.after_ids",
    "sqlite.after_results",
    "sqlite.after_outbox",
    "sqlite.after_insert",
    "sqlite.after_key",
    "sqlite.after_successor",
    "sqlite.after_scope",
    # ... leases
    "sqlite.before_claim",
    "sqlite.after_claim",
    "sqlite.after_renew",
    "sqlite.after_release",
    # ... parked events
    "sqlite.after_repark",
    # ... announcements
    "sqlite.after_register",
    "sqlite.after_unregister",
    "sqlite.after_outbox_claim",
    "sqlite.before_outbox_delete",
    "sqlite.after_outbox_delete",
    "sqlite.after_outbox_head",
    "sqlite.after_undelivered",
    "sqlite.after_redeliver",
    # ... upkeep
    "sqlite.after_remember",
    "sqlite.before_bury",
    "sqlite.after_tombstone",
    "sqlite.after_bury",
    "sqlite.after_prune",
    "sqlite.after_rewrite",
    "sqlite.in_migration",
    "sqlite.before_checkpoint",
    "sqlite.after_checkpoint",
    # the Postgres store: each statement is a transaction, or part of one
    "postgres.before_write",
    "postgres.after_transaction",
    "postgres.in_migration",
    # ... steps and creations
    "postgres.after_commit",
    "postgres.after_create",
    "postgres.after_key",
    "postgres.after_link",
    # ... leases
    "postgres.after_claim",
    "postgres.after_renew",
    "postgres.after_release",
    # ... parked events
    "postgres.after_repark",
    "postgres.after_orphan",
    "postgres.after_orphan_told",
    # ... announcements
    "postgres.after_register",
    "postgres.after_unregister",
    "postgres.after_outbox_claim",
    "postgres.after_deliver",
    "postgres.after_undelivered",
    "postgres.after_redeliver",
    # ... upkeep
    "postgres.after_remember",
    "postgres.after_tally",
    "postgres.after_purge",
    "postgres.after_purge_pages",
    "postgres.after_erase",
    "postgres.after_bury",
    "postgres.after_prune",
    "postgres.after_prune_stones",
    "postgres.after_rewrite",
    # the Redis store: scripts of many callers in one round trip, each a transaction of its own
    "redis.before_send",
    "redis.after_send",
)


def _chosen() -> str | None:
    from os import environ  # noqa: PLC0415 - the one look at the outside world, kept out of the module's namespace

    return environ.get("LEANFLOW_KILL_SITE")


def _off(name: str) -> None:
    """Do nothing."""


def _killer(chosen: str) -> Callable[[str], None]:
    import os  # noqa: PLC0415 - only when on
    import signal  # noqa: PLC0415 - the same

    wanted, _, number = chosen.partition(":")
    if wanted not in SITES:
        msg = f"LEANFLOW_KILL_SITE names no site: {wanted!r}"
        raise ValueError(msg)
    last = int(number or 1)
    passages = count(1)

    def kill(name: str) -> None:
        if name == wanted and next(passages) >= last:
            os.kill(os.getpid(), signal.SIGKILL)

    return kill


_CHOSEN = _chosen()

site: Callable[[str], None] = _off if _CHOSEN is None else _killer(_CHOSEN)
"""``site("name")``: pass the site of that name."""
