"""Running single tests of the shipped suites on adapters that are broken on purpose, as a plugin would."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from leanflow.errors import LeanflowError
from leanflow.testing.conformance import _far_end, _publishing, _receiving, _sending, _sockets, _tokens

__all__ = ["COMPLAINTS", "Fixtures", "complaint", "hasten", "sentences"]

Fixtures = Callable[[], AbstractAsyncContextManager[Mapping[str, Any]]]

COMPLAINTS = (AssertionError, pytest.fail.Exception, TimeoutError, LeanflowError)
"""How a test of a suite says that a promise is broken: by an assertion, by what was to be raised and was not, by what
was to come and did not, or by an error of the adapter where none was to come."""


async def complaint(suite: type, name: str, fixtures: Fixtures) -> BaseException | None:
    """Run one test of a suite with each of its parameters; return what it first complained of, or None."""
    test = getattr(suite(), name)
    wanted = list(inspect.signature(test).parameters)
    for parameters in _parameters(test):
        async with fixtures() as given:
            values = {**given, **parameters}
            try:
                await test(**{name: values[name] for name in wanted})
            except COMPLAINTS as complaint:
                return complaint
    return None


def _parameters(test: Any) -> Iterator[dict[str, Any]]:
    """Yield the values of each case of a parametrised test."""
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    for values in itertools.product(*(list(mark.args[1]) for mark in marks)):
        yield {mark.args[0]: value for mark, value in zip(marks, values, strict=True)}


def hasten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the suites take what they wait for as lost much sooner: most of these adapters never bring it."""
    for module in (_far_end, _publishing, _sending, _sockets, _tokens):
        monkeypatch.setattr(module, "PATIENCE", 2.0)
    monkeypatch.setattr(_receiving, "NEVER", 0.5)


def sentences(suite: type) -> dict[str, str]:
    """Return the docstring of each test of a suite, by its name."""
    return {name: (getattr(suite, name).__doc__ or "").strip() for name in dir(suite) if name.startswith("test_")}
