"""Fresh stores of each kind, and one that misbehaves on command, around one that does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from leanflow.errors import StoreUnavailable
from leanflow.ports import Store
from leanflow_adapters.postgres import PostgresStore
from leanflow_adapters.redis import RedisStore
from tests.support import postgres, redis
from tests.support.engine import StoreMaker, maker_of

__all__ = ["Unsteady", "fresh_store", "unsteady"]

_LOCAL = ("aclose", "open", "reopen", "using")


class Unsteady:
    """Passes everything on, unless told otherwise.

    Attributes:
        gate: while it is set to an event, every call waits for that event first.
        down: while True, every call raises `StoreUnavailable` before it is made.
        loses_answers: while True, every call is made, and then raises `StoreUnavailable`.
        troubled: set as soon as a call waits at the gate, or fails.
        only: the names that this concerns; empty: all.
        before: called with the name of each call.
        after: called with the name of each call that was made.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.gate: asyncio.Event | None = None
        self.down = False
        self.loses_answers = False
        self.troubled = asyncio.Event()
        self.only: frozenset[str] = frozenset()
        self.before: Callable[[str], Any] | None = None
        self.after: Callable[[str], None] | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name.startswith("_") or name in _LOCAL or not callable(method):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.before is not None:
                waiting = self.before(name)
                if waiting is not None:
                    await waiting
            if self.only and name not in self.only:
                return await method(*args, **kwargs)
            if self.gate is not None:
                self.troubled.set()
                await self.gate.wait()
            if self.down:
                self.troubled.set()
                raise StoreUnavailable("it was switched off")
            done = await method(*args, **kwargs)
            if self.after is not None:
                self.after(name)
            if self.loses_answers:
                self.troubled.set()
                raise StoreUnavailable("its answer was lost")
            return done

        return call


def unsteady(store: Store) -> Any:
    """Return such a store; of type Any, because it is a `Store` by passing on."""
    return Unsteady(store)


@contextmanager
def fresh_store(kind: str, directory: Path) -> Iterator[StoreMaker]:
    """Give what makes handles on one fresh store, on the engine's clock; on a server it is gone afterwards."""
    match kind:
        case "postgres":
            schema = asyncio.run(postgres.fresh_schema())
            yield lambda: PostgresStore(postgres.URL, schema=schema, clock="engine")
            asyncio.run(postgres.drop(schema))
        case "redis":
            prefix = asyncio.run(redis.fresh_prefix())
            yield lambda: RedisStore(redis.URL, prefix=prefix, clock="engine")
            asyncio.run(redis.empty(prefix))
        case _:
            yield maker_of(kind, directory)
