"""Adapters for leanflow's ports. Importing this imports no driver: each lives in a package of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from leanflow.errors import InvalidRequest
    from leanflow.ports import Store

__all__ = ["open_store"]

_SUPPORTED = "sqlite:///relative.db, sqlite:////absolute.db, memory:"
_NOT_YET = frozenset({"postgres", "postgresql", "redis", "rediss"})


def open_store(url: str) -> Store:
    """Return the store that a URL names, built cold: nothing is opened or created yet.

    Args:
        url: ``sqlite:///flows.db`` (relative to the working directory), ``sqlite:////var/lib/flows.db`` (absolute;
            ``%20`` and the like are decoded) or ``memory:``.

    Raises:
        InvalidRequest: the URL names no store that there is. It is not repeated: it may hold a password.
    """
    scheme, colon, rest = url.partition(":")
    scheme = scheme.lower()
    if not colon:
        raise _refused(f"is not a URL; supported: {_SUPPORTED}")
    if scheme == "memory":
        if rest.strip("/"):
            raise _refused("memory: takes nothing after the colon")
        from leanflow_adapters.memory import MemoryStore  # noqa: PLC0415 - only what is asked for is imported

        return MemoryStore()
    if scheme == "sqlite":
        path = _sqlite_path(rest)
        from leanflow_adapters.sqlite import SQLiteStore  # noqa: PLC0415

        return SQLiteStore(path)
    if scheme in _NOT_YET:
        raise _refused(f"{scheme}: has no adapter in this version; supported: {_SUPPORTED}")
    raise _refused(f"its scheme is not one of those supported: {_SUPPORTED}")


def _sqlite_path(rest: str) -> str:
    """Return the path behind ``sqlite:``, which comes after an empty host."""
    path, question, _ = rest.partition("?")
    if question or "#" in path:
        raise _refused("sqlite: takes no options (write ? as %3F and # as %23 in a file name)")
    path = unquote(path.removeprefix("///"))
    if not rest.startswith("///") or not path or path.endswith("/") or "\0" in path:
        raise _refused("sqlite: needs a file: sqlite:///relative.db or sqlite:////absolute.db")
    if path == ":memory:":
        raise _refused("sqlite: keeps a file; for a store without one use memory:")
    return path


def _refused(reason: str) -> InvalidRequest:
    from leanflow.errors import InvalidRequest  # noqa: PLC0415 - the command line starts with this package, and quickly

    return InvalidRequest("url", reason)
