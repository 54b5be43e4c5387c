"""What a crash of the database server loses, by its settings."""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["durability", "warn"]

_log = logging.getLogger("leanflow.store")
_SETTINGS = "SELECT current_setting('synchronous_commit') AS commits, current_setting('fsync') AS syncs"


def durability(commits: str, syncs: str) -> tuple[bool, str]:
    """Return whether what was answered 200 outlives a crash, and what to do if it does not."""
    if syncs == "off":
        return False, "fsync is off: a crash of the server may destroy everything; set it on"
    if commits == "off":
        words = "synchronous_commit is off: a crash of the server loses webhooks that were answered 200"
        return False, f"{words}; ALTER ROLE … SET synchronous_commit = on"
    return True, f"synchronous_commit is {commits}"


async def warn(connection: Any, store: str) -> None:
    """Say in the log if a crash loses what was answered 200. Not refused: tests and demonstrations want it so."""
    is_enough, words = durability(*await connection.fetchrow(_SETTINGS))
    if not is_enough:
        _log.warning("%s: %s", store, words)
