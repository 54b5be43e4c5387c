"""Handlers: who wants to hear of what. A plain value, made at module level: no engine, no loop."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import attrs

from leanflow._request import Resource, State
from leanflow.errors import InvalidRequest
from leanflow.ports import WAKE, Sink

__all__ = ["Handler", "Handlers", "collect", "sets_of"]

Function = Callable[..., Awaitable[None] | None]
F = TypeVar("F", bound=Callable[..., Any])


@attrs.frozen(kw_only=True)
class Handler:
    """One function and what it wants.

    Attributes:
        sink: its name and filter, as kept in the store.
        function: called with (change or event, flows).
    """

    sink: Sink
    function: Function


class Handlers:
    """A set of handlers. Each is called at least once for everything it wants, also across crashes.

    A handler's name is what its deliveries are remembered by: keep it when you rename the function.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._engines = 0

    def __iter__(self) -> Any:
        return iter(self._handlers.values())

    def taken_up(self) -> None:
        """An engine was entered with these: until it is left, none can be added, because it would not be heard of."""
        self._engines += 1

    def let_go(self) -> None:
        """An engine was left."""
        self._engines -= 1

    def __repr__(self) -> str:
        return f"Handlers({', '.join(sorted(self._handlers))})"

    def on(
        self,
        *states: State | str,
        resource: Resource | str | Iterable[Resource | str] | None = None,
        name: str | None = None,
    ) -> Callable[[F], F]:
        """Call the decorated function with (change, flows) when a request enters one of these states (none given: any).

        Args:
            states: of `State`.
            resource: only these resources.
            name: unique within a deployment; the function's own name if not given.

        Raises:
            InvalidRequest: no such state or resource, the name is taken, the function cannot be called with these two
                or is a generator, or an engine with these is open already.
        """
        wanted = frozenset(_member(State, s, "states") for s in states) or None
        named = [resource] if isinstance(resource, str) else list(resource or ())
        resources = None if resource is None else frozenset(_member(Resource, r, "resource") for r in named)

        def register(function: F) -> F:
            sink = Sink(name=_name(function, name), states=wanted, resources=resources)
            _check_call(function, sink.name, "change")
            self._add(sink, function)
            return function

        return register

    def on_webhook(self, *types: str, name: str | None = None) -> Callable[[F], F]:
        """Call the decorated function with (event, flows) for webhooks of these types; ``*``: all.

        Raises:
            InvalidRequest: no type, the name is taken, the function cannot be called with these two or is a generator,
                or an engine with these is open already.
        """
        if not types or not all(isinstance(t, str) and t for t in types):
            raise InvalidRequest("types", "name at least one webhook type, or '*' for all")

        def register(function: F) -> F:
            sink = Sink(name=_name(function, name), webhooks=frozenset(types))
            _check_call(function, sink.name, "event")
            self._add(sink, function)
            return function

        return register

    def _add(self, sink: Sink, function: Function) -> None:
        if self._engines:
            raise InvalidRequest("name", f"{sink.name!r} comes too late: add handlers before `async with flows`")
        if sink.name == WAKE or sink.name.startswith(":"):
            raise InvalidRequest("name", f"{sink.name!r} is reserved; choose another")
        if sink.name in self._handlers:
            raise InvalidRequest("name", f"a handler named {sink.name!r} is there already; give this one name=…")
        self._handlers[sink.name] = Handler(sink=sink, function=function)


def sets_of(given: Handlers | Iterable[Handlers]) -> list[Handlers]:
    """Return one set of handlers, or several, as a list.

    Raises:
        InvalidRequest: something is no set of handlers.
    """
    sets = list(given) if isinstance(given, Iterable) and not isinstance(given, Handlers) else [given]
    for each in sets:
        if not isinstance(each, Handlers):
            problem = "must be Handlers, with functions added by @handlers.on(…), or several of them"
            raise InvalidRequest("handlers", f"{problem}, not {type(each).__name__}")
    return sets


def collect(sets: Iterable[Handlers]) -> dict[str, Handler]:
    """Return all handlers by name.

    Raises:
        InvalidRequest: two have one name.
    """
    found: dict[str, Handler] = {}
    for handlers in sets:
        for handler in handlers:
            if handler.sink.name in found:
                raise InvalidRequest("handlers", f"two handlers are named {handler.sink.name!r}; give one name=…")
            found[handler.sink.name] = handler
    return found


def _name(function: Callable[..., Any], name: str | None) -> str:
    chosen = name if name is not None else getattr(function, "__name__", "")
    if not chosen or chosen == "<lambda>":
        raise InvalidRequest("name", "a handler needs a name to be remembered by: give name=…")
    return chosen


def _check_call(function: Callable[..., Any], name: str, first: str) -> None:
    """Refuse what cannot be called as handlers are."""
    if not callable(function):
        raise InvalidRequest("handler", f"{name!r} must be a function, not {type(function).__name__}")
    if _yields(function):  # calling it would run nothing of it, and look like success
        raise InvalidRequest("handler", f"{name!r} is a generator, and would never run: it must not yield")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of some that are written in C nobody can tell
        return
    try:
        signature.bind(first, "flows")
    except TypeError as error:
        problem = f"{name!r} is called with ({first}, flows), but is {name}{signature}: {error}"
        raise InvalidRequest("handler", problem) from None


def _yields(function: Callable[..., Any]) -> bool:
    """Return whether calling this makes a generator."""
    plain: Any = function
    while isinstance(plain, functools.partial):
        plain = plain.func
    if not (inspect.isfunction(plain) or inspect.ismethod(plain)):
        plain = type(plain).__call__
    return inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain)


def _member(kind: type[State | Resource], value: str, parameter: str) -> str:
    try:
        return kind(value).value
    except ValueError:
        raise InvalidRequest(parameter, f"{value!r} is none of {', '.join(kind)}") from None
