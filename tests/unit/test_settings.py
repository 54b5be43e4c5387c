"""What an engine is set up with: what confines it, and what is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest

from leanflow import Handlers, LeanFlow, Policy
from leanflow.errors import InvalidRequest
from leanflow.mockbank import Mockbank
from leanflow.testing import FakeClock
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.mockbank import MockbankTransport
from tests.support.lean import Lean


def calling(**where: Any) -> LeanTransport:
    """Return a transport of the application ``shop``."""
    return LeanTransport(client_id="shop", client_secret="s", **where)


def built(**settings: Any) -> LeanFlow:
    """Return an engine with what it needs, and these."""
    return LeanFlow(**{"store": MemoryStore(), "transport": calling(), "webhook_secrets": ["s"], **settings})


@pytest.mark.parametrize(
    ("called", "given", "scope"),
    [
        ({}, {}, ("default", "sandbox", "uae")),
        ({"environment": "production", "region": "ksa"}, {"app": "shop"}, ("shop", "production", "ksa")),
        ({"region": "ksa"}, {}, ("default", "sandbox", "ksa")),
        ({"environment": "production"}, {"app": "shop", "region": "uae"}, ("shop", "production", "uae")),
        ({"base_url": "https://proxy"}, {"app": "shop", "region": "ksa"}, ("shop", "sandbox", "ksa")),
        ({"base_url": "https://proxy"}, {"app": "shop", "environment": "production"}, ("shop", "production", "uae")),
        ({"base_url": "https://proxy", "region": "ksa"}, {}, ("default", "sandbox", "ksa")),
    ],
)
def test_an_engine_goes_by_its_transport(called: Any, given: Any, scope: tuple[str, str, str]) -> None:
    """What it was not given it has of the transport, if that knows what it calls, and else by default."""
    flows = built(transport=calling(**called), **given)
    assert (flows.scope.app, flows.scope.environment, flows.scope.region) == scope


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"environment": "sandbox", "region": "uae"},
            "environment: the transport is production/ksa, the engine sandbox/uae",
        ),
        ({"environment": "sandbox"}, "environment: the transport is production/ksa, the engine sandbox/ksa"),
        ({"region": "uae"}, "region: the transport is production/ksa, the engine production/uae"),
    ],
)
def test_an_engine_of_another_place_than_its_transport_is_refused(given: Any, told: str) -> None:
    """Its prompts would be for the sandbox, say, and its reconnect ids of production."""
    with pytest.raises(InvalidRequest) as caught:
        built(transport=calling(environment="production", region="ksa"), app="shop", **given)
    assert str(caught.value) == told


@pytest.mark.parametrize("where", ["transport", "engine"])
def test_production_wants_the_application_s_id(where: str) -> None:
    """The Link SDK knows no application ``default``; whoever has requests of that name may say so."""
    known = {"transport": calling(environment="production")}
    more = known if where == "transport" else {"transport": Lean(FakeClock()), "environment": "production"}
    with pytest.raises(InvalidRequest, match="client_id") as caught:
        built(**more)
    assert caught.value.parameter == "app"
    assert built(**more, app="default").scope.app == "default"


def on_mockbank(**settings: Any) -> MockbankTransport:
    """Return the way to a Mockbank of these settings."""
    return MockbankTransport(Mockbank(**settings), FakeClock())


@pytest.mark.parametrize("region", ["uae", "ksa"])
def test_an_engine_on_mockbank_is_where_mockbank_is(region: str) -> None:
    """In the sandbox, and in the bank's region."""
    scope = built(transport=on_mockbank(region=region)).scope
    assert (scope.environment, scope.region) == ("sandbox", region)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"environment": "production", "app": "shop"}, "environment: the transport is sandbox/ksa"),
        ({"region": "uae"}, "region: the transport is sandbox/ksa"),
    ],
)
def test_an_engine_of_another_place_than_its_mockbank_is_refused(given: Any, told: str) -> None:
    """As with Lean itself: what works here would not work there."""
    with pytest.raises(InvalidRequest, match=told):
        built(transport=on_mockbank(region="ksa"), **given)


def test_what_a_transport_says_in_other_words_is_left_alone() -> None:
    """Only Lean's environments and regions are taken from a transport."""

    class Ours(Lean):
        environment = "staging"
        region = ("ksa",)

    assert built(transport=Ours(FakeClock())).scope.environment == "sandbox"


def handler(change: Any, flows: Any) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("store", "sqlite:///x.db", "open_store('sqlite:///flows.db'), not str"),
        ("store", None, "not NoneType"),
        ("transport", None, "LeanTransport(client_id=…, client_secret=…), not NoneType"),
        ("transport", LeanTransport, "not the class LeanTransport"),
        ("policy", {"poll": 1}, "must be a Policy, as Policy(poll=timedelta(seconds=5)), not dict"),
        ("observer", "x", "must be an Observer, as leanflow_adapters.otel.Telemetry(), not str"),
        ("clock", 3, "must be a clock, as FakeClock(), not int"),
        ("dice", 7, "random.Random(7), not int"),
        ("workers", "2", "must be a whole number, 0 or more, not '2'"),
        ("workers", True, "must be a whole number, 0 or more, not True"),
        ("handlers", handler, "@handlers.on(…), or several of them, not function"),
        ("handlers", [handler], "not function"),
        ("handlers", None, "not NoneType"),
        ("bus", "nats://", "must be a bus, as NatsBus('nats://…'), or several of them, not str"),
        ("bus", ["nats://"], "not str"),
        ("bus", 4, "not int"),
        ("webhook_secrets", b"whsec", "a list"),
        ("webhook_secrets", 5, "a list"),
        ("webhook_secrets", [5], "empty"),
        ("api", None, "None is none of v1, v2"),
        ("app", 5, "application id"),
    ],
)
def test_what_cannot_be_a_part_is_refused_by_its_name(name: str, value: object, told: str) -> None:
    """When the engine is built, not when it is first used; and the error says what to pass."""
    with pytest.raises(InvalidRequest) as caught:
        built(**{name: value})
    assert caught.value.parameter == name
    assert told in str(caught.value)


def test_what_can_be_a_part_is_taken() -> None:
    """One set of handlers, or an iterator of them; the policy, clock and dice of the application."""
    more = {"policy": Policy(), "clock": FakeClock(), "dice": random.Random(7), "observer": None, "bus": []}
    built(handlers=Handlers(), **more)
    built(handlers=iter([Handlers(), Handlers()]), **more)
