"""Handlers: names, filters, and what is refused."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from leanflow import Handlers, Resource, State
from leanflow._handlers import collect
from leanflow.errors import InvalidRequest


async def one(subject: Any, flows: Any) -> None:
    """Take anything."""


async def two(subject: Any, flows: Any) -> None:
    """Take anything."""


def test_a_handler_is_known_by_its_function_s_name_or_its_own() -> None:
    """The function comes back unchanged, and may be registered under several names."""
    handlers = Handlers()
    assert handlers.on(State.fetched)(one) is one
    handlers.on("failed", resource=["accounts", Resource.identity], name="bad news")(one)
    handlers.on_webhook("*")(two)
    found = {handler.sink.name: handler.sink for handler in handlers}
    assert found.keys() == {"one", "bad news", "two"}
    assert (found["one"].states, found["one"].resources) == ({"fetched"}, None)
    assert (found["bad news"].states, found["bad news"].resources) == ({"failed"}, {"accounts", "identity"})
    assert found["two"].webhooks == {"*"}
    assert repr(handlers) == "Handlers(bad news, one, two)"


def test_no_state_means_all_of_them() -> None:
    """`on()` wants every change."""
    handlers = Handlers()
    handlers.on()(one)
    [handler] = handlers
    assert (handler.sink.states, handler.sink.reports) == (None, False)


@pytest.mark.parametrize(
    ("register", "parameter"),
    [
        (lambda h: h.on("done")(one), "states"),
        (lambda h: h.on(resource="wishes")(one), "resource"),
        (lambda h: h.on(name="wake")(one), "name"),
        (lambda h: h.on(name="")(one), "name"),
        (lambda h: h.on()(lambda _subject, _flows: None), "name"),
        (lambda h: (h.on()(one), h.on_webhook("a.b")(one)), "name"),
        (lambda h: h.on_webhook()(one), "types"),
        (lambda h: h.on_webhook("")(one), "types"),
    ],
)
def test_a_wrong_registration_is_refused(register: Any, parameter: str) -> None:
    """Unknown states and resources, no types, and names that are missing, reserved or taken."""
    with pytest.raises(InvalidRequest) as caught:
        register(Handlers())
    assert caught.value.parameter == parameter


async def without_flows(change: Any) -> None:
    """Take too few."""


def with_more(change: Any, flows: Any, more: Any) -> None:
    """Take too many."""


def by_name(*, change: Any, flows: Any) -> None:
    """Take none by its place."""


@pytest.mark.parametrize("function", [without_flows, with_more, by_name])
def test_a_handler_that_cannot_be_called_is_refused(function: Any) -> None:
    """When it is registered: an engine would call it for days, and no caller would hear what is wrong."""
    for register, first in ((Handlers().on(State.fetched), "change"), (Handlers().on_webhook("*"), "event")):
        with pytest.raises(InvalidRequest) as caught:
            register(function)
        assert caught.value.parameter == "handler"
        assert f"{function.__name__!r} is called with ({first}, flows), but is {function.__name__}(" in str(
            caught.value
        )


def yielding(change: Any, flows: Any) -> Any:
    """Make a generator."""
    yield change, flows


async def yielding_later(change: Any, flows: Any) -> Any:
    """Make an asynchronous one."""
    yield change, flows


class Yielding:
    """Makes generators."""

    def __call__(self, change: Any, flows: Any) -> Any:
        """Make one, too."""
        yield change, flows


@pytest.mark.parametrize(
    "function",
    [yielding, yielding_later, functools.partial(yielding), Yielding()],
)
def test_a_handler_that_yields_is_refused(function: Any) -> None:
    """Called, it would run nothing and return without an error: each announcement would be confirmed, and lost."""
    for register in (Handlers().on(State.fetched, name="one"), Handlers().on_webhook("*", name="one")):
        with pytest.raises(InvalidRequest, match="'one' is a generator"):
            register(function)


@functools.wraps(yielding)
def driven(change: Any, flows: Any) -> None:
    """Run a generator to its end, as decorators do that take one."""
    list(yielding(change, flows))


class Shop:
    """Handlers that are methods."""

    async def heard(self, change: Any, flows: Any) -> None:
        """Take both."""

    def __call__(self, change: Any, flows: Any) -> None:
        """Take both, too."""


@pytest.mark.parametrize(
    "function",
    [
        lambda *both: None,  # noqa: ARG005 - takes anything
        lambda change, flows, more=None: None,  # noqa: ARG005
        functools.partial(with_more, more=1),
        Shop().heard,
        Shop(),
        max,  # whose signature nobody knows
        driven,
    ],
)
def test_whatever_can_be_called_with_both_is_a_handler(function: Any) -> None:
    """Functions, methods, callable objects, and what takes more than it must."""
    handlers = Handlers()
    handlers.on(name="one")(function)
    assert [handler.function for handler in handlers] == [function]


def test_what_is_no_function_is_no_handler() -> None:
    """As a handler's name."""
    with pytest.raises(InvalidRequest, match="must be a function, not str"):
        Handlers().on(name="one")("one")  # type: ignore[type-var]  # wrong


def test_two_sets_may_not_share_a_name() -> None:
    """Deliveries are remembered by name."""
    first, second = Handlers(), Handlers()
    first.on()(one)
    second.on()(one)
    with pytest.raises(InvalidRequest, match="'one'"):
        collect([first, second])


def test_handlers_are_fixed_while_an_engine_uses_them() -> None:
    """From the first engine that takes them up to the last that lets go, none can be added."""
    handlers = Handlers()
    handlers.taken_up()
    handlers.taken_up()
    handlers.let_go()
    with pytest.raises(InvalidRequest, match="too late"):
        handlers.on()(one)
    handlers.let_go()
    handlers.on()(one)
