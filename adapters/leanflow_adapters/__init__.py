"""Adapters for leanflow's ports. Importing this imports no driver: each lives in a package of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode

if TYPE_CHECKING:
    from leanflow.errors import InvalidRequest
    from leanflow.ports import Store

__all__ = ["open_store"]

_SUPPORTED = (
    "sqlite:///relative.db, sqlite:////absolute.db, postgresql://user@host/database, redis://host:6379/0, memory:"
)
_REDIS = frozenset({"redis", "rediss", "unix", "valkey", "valkeys"})


def open_store(url: str) -> Store:
    """Return the store that a URL names, built cold: nothing is opened or created yet.

    Args:
        url: ``sqlite:///flows.db`` (relative to the working directory), ``sqlite:////var/lib/flows.db`` (absolute;
            ``%20`` and the like are decoded), ``postgresql://user:password@host:5432/database``,
            ``redis://user:password@host:6379/0`` (``rediss://`` with TLS, ``unix://`` and ``valkey://`` too) or
            ``memory:``. Of Postgres' options ``schema=``, ``migrate=1``, ``pool_size=``, ``writers=``, ``prepared=0``
            and ``hints=0`` are ours (see `PostgresStore`), of Redis' ``prefix=``, ``pool_size=``, ``writers=`` and
            ``hints=0`` (see `RedisStore`), all others the driver's.

    Raises:
        InvalidRequest: the URL names no store that there is. It is not repeated: it may hold a password.
    """
    if not isinstance(url, str):
        raise _refused(f"must be a URL, not {type(url).__name__}; supported: {_SUPPORTED}")
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
        from leanflow_adapters.sqlite import SQLiteStore  # noqa: PLC0415 - the same

        return SQLiteStore(path)
    if scheme in ("postgres", "postgresql"):
        return _postgres(url)
    if scheme in _REDIS:
        return _redis(url)
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


def _postgres(url: str) -> Store:
    """Return the Postgres store of a URL, whose query holds our options beside the driver's."""
    dsn, settings = _options("postgresql", url, _POSTGRES_OPTIONS)
    try:
        from leanflow_adapters.postgres import PostgresStore  # noqa: PLC0415 - the same
    except ImportError as error:
        raise _refused("postgresql: needs the extra: pip install 'leanflow-openbanking[postgres]'") from error
    return PostgresStore(dsn, **settings)


def _redis(url: str) -> Store:
    """Return the Redis store of a URL, whose query holds our options beside the driver's."""
    rest, settings = _options("redis", url, _REDIS_OPTIONS)
    try:
        from leanflow_adapters.redis import RedisStore  # noqa: PLC0415 - the same
    except ImportError as error:
        raise _refused("redis: needs the extra: pip install 'leanflow-openbanking[redis]'") from error
    return RedisStore(rest, **settings)


def _options(scheme: str, url: str, ours: Mapping[str, Callable[[str], Any]]) -> tuple[str, dict[str, Any]]:
    """Return a URL without the options that are ours, and those."""
    whole, _, query = url.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    settings: dict[str, Any] = {}
    for name, read in ours.items():
        if name in options:
            value = options.pop(name)
            try:
                settings[name] = read(value)
            except (KeyError, ValueError):
                raise _refused(f"{scheme}: {name}= is not understood") from None
    return whole + ("?" if options else "") + urlencode(options), settings


_SWITCH = {"0": False, "false": False, "1": True, "true": True}
_POSTGRES_OPTIONS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "schema": str,
        "migrate": _SWITCH.__getitem__,
        "pool_size": int,
        "writers": int,
        "prepared": _SWITCH.__getitem__,
        "hints": _SWITCH.__getitem__,
    }
)
_REDIS_OPTIONS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {"prefix": str, "pool_size": int, "writers": int, "hints": _SWITCH.__getitem__}
)


def _refused(reason: str) -> InvalidRequest:
    from leanflow.errors import InvalidRequest  # noqa: PLC0415 - the command line starts with this package, and quickly

    return InvalidRequest("url", reason)
