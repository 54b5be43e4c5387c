"""Engines for tests: one that tells what went wrong behind its caller's back, and one that opens itself."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Self

import attrs

from leanflow._flows import TICK_ROUNDS, LeanFlow
from leanflow._handlers import Handler
from leanflow.errors import InvalidRequest, Livelock
from leanflow.testing._clock import Traveller

__all__ = ["OnDemandFlow", "WatchedFlow"]


class WatchedFlow(LeanFlow):
    """A `LeanFlow` whose background cannot fail unseen, and whose `tick` also does what is due at the simulated Lean.

    Args:
        errors: where exceptions go that no caller gets: those of handlers, which the engine takes for a reason to call
            again later, and those of its own tasks.
        also: the simulated Lean.
        settings: as `LeanFlow`.
    """

    def __init__(self, *, errors: list[BaseException], also: Traveller, **settings: Any) -> None:
        super().__init__(**settings)
        self._errors = errors
        self._also = also

    async def tick(self) -> int:
        """Do all that is due at the clock's present time, here and at the simulated Lean, and what comes of it.

        Raises:
            Livelock: it does not come to rest.
        """
        total = 0
        for _ in range(TICK_ROUNDS):
            total += await super().tick()
            others = await self._also.tick()
            if others == 0:  # and so the engine, which came to rest, has got nothing new to do
                return total
            total += others
        raise Livelock(self._idle_worker.last_request, TICK_ROUNDS)

    async def _open(self) -> None:
        self._handlers = {
            name: attrs.evolve(handler, function=_watched(handler, self._errors))
            for name, handler in self._handlers.items()
        }
        await super()._open()

    def _fault(self, request_id: str, error: BaseException) -> None:
        super()._fault(request_id, error)
        self._errors.append(error)


def _watched(handler: Handler, errors: list[BaseException]) -> Callable[..., Any]:
    """Return the handler's function, of the same kind, keeping what it raises."""
    function: Callable[..., Any] = handler.function

    async def finish(returned: Any) -> None:
        with _keeping(errors):
            await returned

    @functools.wraps(function)
    async def waited(*args: Any) -> None:
        with _keeping(errors):  # around the call as well: it fails if the function does not take two arguments
            await function(*args)

    @functools.wraps(function)
    def called(*args: Any) -> Any:
        with _keeping(errors):
            returned: Any = function(*args)
        return finish(returned) if inspect.isawaitable(returned) else None

    return waited if inspect.iscoroutinefunction(function) else called


@contextmanager
def _keeping(errors: list[BaseException]) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever a handler raises, the engine takes for a reason to try again
        errors.append(error)
        raise


class OnDemandFlow(WatchedFlow):
    """A `WatchedFlow` that opens itself where it is first used: a fixture can hand it out and own no event loop.

    It belongs to the loop on which a method was first called, until it is closed or that loop is. Who enters it,
    as an application does at its start, takes it over: leaving closes it then.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._opening = asyncio.Lock()
        self._by_itself = False

    async def __aenter__(self) -> Self:
        """Open it, or take it over if it has opened itself on this loop."""
        self._forget_a_closed_loop()
        if self._by_itself:
            self._check()
            self._by_itself = False
            return self
        return await super().__aenter__()

    async def aclose(self) -> None:
        """Close it if it has opened itself; whoever entered it leaves it."""
        if self._by_itself:
            self._by_itself = False
            await self.__aexit__(None, None, None)

    def close_from_outside(self) -> None:
        """Close it where no loop runs: on its own loop if that still lives, as between a test and its teardown."""
        self._forget_a_closed_loop()
        if self._by_itself and self._loop is not None and not self._loop.is_running():
            self._loop.run_until_complete(self.aclose())

    async def open_if_closed(self) -> None:
        """Open it on this loop unless it is open.

        Raises:
            InvalidRequest: this is no asyncio loop.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise InvalidRequest(
                "anyio_backend", "leanflow runs on asyncio: let the fixture anyio_backend return 'asyncio'"
            ) from None
        if self._loop is loop and not self._opening.locked():
            return
        self._forget_a_closed_loop()
        async with self._opening:
            if self._loop is None:
                await super().__aenter__()
                self._by_itself = True

    def _forget_a_closed_loop(self) -> None:
        """Begin anew if the loop is gone: its tasks are gone with it, and what is kept is in the store."""
        if self._loop is None or not self._loop.is_closed():
            return
        for handlers in self._sets:
            handlers.let_go()
        self._loop, self._by_itself = None, False
        self._opening = asyncio.Lock()
        self._opened.clear()


def _opened_first(method: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def waited(self: OnDemandFlow, *args: Any, **named: Any) -> Any:
        await self.open_if_closed()
        return await method(self, *args, **named)

    return waited


def _opened_at_first(method: Callable[..., AsyncIterator[Any]]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def yielding(self: OnDemandFlow, *args: Any, **named: Any) -> AsyncIterator[Any]:
        await self.open_if_closed()
        async for each in method(self, *args, **named):
            yield each

    return yielding


# Read off the class, not listed: whatever an engine learns, this one opens itself for it.
for _name, _method in inspect.getmembers(WatchedFlow, inspect.isfunction):
    if not _name.startswith("_"):
        if inspect.iscoroutinefunction(_method):
            setattr(OnDemandFlow, _name, _opened_first(_method))
        elif inspect.isasyncgenfunction(_method):
            setattr(OnDemandFlow, _name, _opened_at_first(_method))
