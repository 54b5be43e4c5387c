"""Around each test: its engines are closed on its own loop, and what failed in the background fails it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from leanflow.testing import OnDemandFlow

__all__ = ["ENGINES", "ERRORS", "run"]

ENGINES = pytest.StashKey[list["OnDemandFlow"]]()
"""The engines that a test's fixtures handed out."""

ERRORS = pytest.StashKey[list[BaseException]]()
"""What failed where no caller gets it."""


@contextmanager
def run(item: pytest.Item) -> Iterator[None]:
    """Run a test's call."""
    engines, errors = item.stash.get(ENGINES, []), item.stash.get(ERRORS, [])
    with _closing(item, engines):
        try:
            yield
        except BaseException as failed:  # `pytest.fail` and `pytest.skip` raise no Exception
            if errors:
                failed.add_note(f"In the background: {', '.join(map(repr, errors))}")
            raise
    if errors:
        message = "failed in the background of the test (take what is expected out of leanflow_errors)"
        raise BaseExceptionGroup(message, errors)


@contextmanager
def _closing(item: pytest.Item, engines: list[OnDemandFlow]) -> Iterator[None]:
    """Have the engines closed by the test itself, if that is a coroutine: an engine is left where it was entered."""
    test = getattr(item, "obj", None)
    if not engines or not inspect.iscoroutinefunction(test):
        yield
        return
    item.obj = _and_close(test, engines)  # type: ignore[attr-defined]  # read by whichever plugin runs it
    try:
        yield
    finally:
        item.obj = test  # type: ignore[attr-defined]  # pytest's items of functions have it


def _and_close(test: Callable[..., Awaitable[Any]], engines: list[OnDemandFlow]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(test)
    async def tested(*args: Any, **named: Any) -> Any:
        try:
            return await test(*args, **named)
        finally:
            for engine in engines:
                await engine.aclose()

    return tested
