"""An engine of asyncio's as plain handlers see it, which run in threads, where nothing can be awaited."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import Any

__all__ = ["FromThreads", "loop_of_this_thread"]


class FromThreads:
    """The engine, with methods that return when they are done, for whoever calls them outside its loop.

    On a loop they are what they were: a plain function may hand on a coroutine, which is awaited there.

    Args:
        engine: what is called.
        loop: the engine's.
    """

    def __init__(self, engine: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self._loop = loop

    def __repr__(self) -> str:
        return repr(self._engine)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        if not inspect.iscoroutinefunction(found):
            return found

        @functools.wraps(found)
        def waited(*args: Any, **named: Any) -> Any:
            if loop_of_this_thread() is not None:
                return found(*args, **named)
            return asyncio.run_coroutine_threadsafe(found(*args, **named), self._loop).result()

        return waited


def loop_of_this_thread() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
