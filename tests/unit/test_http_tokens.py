"""OAuth2 tokens: asked for once, kept, renewed early, dropped when refused. No network: the asking is an argument."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from leanflow._call import Answer
from leanflow.errors import CallFailed
from leanflow.testing import FakeClock
from leanflow_adapters.http._tokens import Reserve, Tokens, parse_token

API = Reserve(renew=timedelta(minutes=5), least=timedelta(seconds=30))
CUSTOMER = Reserve(renew=timedelta(minutes=20), least=timedelta(minutes=10), strict=True)


class Endpoint:
    """A token endpoint: counts what it is asked, and waits while its gate is shut."""

    def __init__(self, *, life: float = 3599) -> None:
        self.asked: list[str] = []
        self.life = life
        self.error: CallFailed | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, scope: str) -> Answer:
        """Answer with the next token."""
        self.asked.append(scope)
        number = len(self.asked)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Answer(status=200, body=json.dumps({"access_token": f"t{number}", "expires_in": self.life}).encode())


@pytest.fixture
def clock() -> FakeClock:
    """A clock moved by hand."""
    return FakeClock()


async def settle() -> None:
    """Let every task that can run, run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_fifty_waiting_callers_make_one_request(clock: FakeClock) -> None:
    """However many callers wait, the endpoint is asked once."""
    endpoint = Endpoint()
    tokens = Tokens(endpoint, clock)
    got = await asyncio.gather(*(tokens.get("api", API) for _ in range(50)))
    assert {secret.reveal() for secret in got} == {"t1"}
    assert endpoint.asked == ["api"]


async def test_a_cancelled_caller_does_not_take_the_token_from_the_others(clock: FakeClock) -> None:
    """The request for a token outlives the caller who started it."""
    endpoint = Endpoint()
    endpoint.gate.clear()
    tokens = Tokens(endpoint, clock)
    first, second = asyncio.create_task(tokens.get("api", API)), asyncio.create_task(tokens.get("api", API))
    await settle()
    first.cancel()
    await settle()
    endpoint.gate.set()
    assert (await second).reveal() == "t1"
    assert first.cancelled()
    assert endpoint.asked == ["api"]


async def test_a_failure_reaches_every_waiting_caller_as_its_own_error(clock: FakeClock) -> None:
    """Each waiting caller gets an error of its own, and the next one asks again."""
    endpoint = Endpoint()
    endpoint.error = CallFailed("down", maybe_sent=True)
    tokens = Tokens(endpoint, clock)
    got = await asyncio.gather(*(tokens.get("api", API) for _ in range(3)), return_exceptions=True)
    assert len({id(error) for error in got}) == 3
    assert all(isinstance(error, CallFailed) and not error.maybe_sent for error in got)
    endpoint.error = None
    assert (await tokens.get("api", API)).reveal() == "t2"


async def test_an_early_renewal_holds_up_nobody(clock: FakeClock) -> None:
    """With little life left the old token is still handed out while a new one is asked for."""
    endpoint = Endpoint()
    tokens = Tokens(endpoint, clock)
    await tokens.get("api", API)
    clock.advance(timedelta(seconds=3599 - 299))
    endpoint.gate.clear()
    assert (await tokens.get("api", API)).reveal() == "t1"
    await settle()
    assert len(endpoint.asked) == 2
    endpoint.gate.set()
    await settle()
    assert (await tokens.get("api", API)).reveal() == "t2"
    assert len(endpoint.asked) == 2


async def test_an_outage_of_the_endpoint_is_survived_while_the_token_lives(clock: FakeClock) -> None:
    """A failing early renewal leaves the old token in use until its last seconds."""
    endpoint = Endpoint()
    tokens = Tokens(endpoint, clock)
    await tokens.get("api", API)
    endpoint.error = CallFailed("down", maybe_sent=False)
    clock.advance(timedelta(seconds=3599 - 31))
    assert (await tokens.get("api", API)).reveal() == "t1"
    await settle()
    clock.advance(timedelta(seconds=1))
    with pytest.raises(CallFailed):
        await tokens.get("api", API)


async def test_a_token_is_not_renewed_before_its_time(clock: FakeClock) -> None:
    """One token serves for its life but the last five minutes."""
    endpoint = Endpoint()
    tokens = Tokens(endpoint, clock)
    await tokens.get("api", API)
    clock.advance(timedelta(seconds=3599 - 301))
    await tokens.get("api", API)
    await settle()
    assert len(endpoint.asked) == 1


async def test_a_short_lived_token_is_used_for_most_of_its_life(clock: FakeClock) -> None:
    """A token that lives a minute is renewed in its last quarter, not at each call."""
    endpoint = Endpoint(life=60)
    tokens = Tokens(endpoint, clock)
    await tokens.get("api", API)
    clock.advance(timedelta(seconds=44))
    await tokens.get("api", API)
    await settle()
    assert len(endpoint.asked) == 1
    clock.advance(timedelta(seconds=2))
    await tokens.get("api", API)
    await settle()
    assert len(endpoint.asked) == 2


async def test_a_customer_token_is_never_handed_out_with_ten_minutes_left(clock: FakeClock) -> None:
    """At ten minutes left a new one is waited for; a second more and the old one is still good."""
    endpoint = Endpoint()
    tokens = Tokens(endpoint, clock)
    await tokens.get("customer.c", CUSTOMER)
    endpoint.gate.clear()
    clock.advance(timedelta(seconds=3599 - 601))
    assert (await tokens.get("customer.c", CUSTOMER)).reveal() == "t1"
    clock.advance(timedelta(seconds=1))
    endpoint.gate.set()
    assert (await tokens.get("customer.c", CUSTOMER)).reveal() == "t2"


async def test_a_fresh_customer_token_that_is_too_short_is_an_error(clock: FakeClock) -> None:
    """A token the SDK would refuse is not handed out, however fresh it is."""
    with pytest.raises(CallFailed, match="600 s are needed"):
        await Tokens(Endpoint(life=600), clock).get("customer.c", CUSTOMER)


async def test_a_refused_token_is_replaced_once(clock: FakeClock) -> None:
    """Late complaints about an old token do not cost the new one."""
    endpoint = Endpoint()
    tokens = Tokens(endpoint, clock)
    old = await tokens.get("api", API)
    tokens.refused("api", old)
    new = await tokens.get("api", API)
    tokens.refused("api", old)
    assert await tokens.get("api", API) is new
    assert len(endpoint.asked) == 2


async def test_the_tokens_of_many_customers_do_not_pile_up(clock: FakeClock) -> None:
    """At most 1024 tokens are kept; the newest ones stay."""
    endpoint = Endpoint()
    tokens = Tokens(endpoint, clock)
    for number in range(1100):
        await tokens.get(f"customer.{number}", CUSTOMER)
    await tokens.get("customer.1099", CUSTOMER)
    assert len(endpoint.asked) == 1100
    await tokens.get("customer.0", CUSTOMER)
    assert len(endpoint.asked) == 1101


async def test_closing_tells_those_who_wait(clock: FakeClock) -> None:
    """Who waits for a token when the transport is closed gets an error, not a cancellation."""
    endpoint = Endpoint()
    endpoint.gate.clear()
    tokens = Tokens(endpoint, clock)
    waiting = asyncio.create_task(tokens.get("api", API))
    await settle()
    await tokens.aclose()
    with pytest.raises(CallFailed, match="closed"):
        await waiting


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, b'{"error":"invalid_client","error_description":"secret-91bc"}', "answered 401 (invalid_client)"),
        (401, b'{"error":"Secret-91bc is wrong"}', "answered 401"),
        (302, b"", "answered 302"),
        (503, b"<html>", "answered 503"),
        (200, b"<html>", "access_token"),
        (200, b"[]", "access_token"),
        (200, b'{"access_token":"a b","expires_in":1}', "access_token"),
        (200, b'{"access_token":"a\\r\\nx: y","expires_in":1}', "access_token"),
        (200, b'{"access_token":7,"expires_in":1}', "access_token"),
        (200, b'{"access_token":"a"}', "expires_in"),
        (200, b'{"access_token":"a","expires_in":true}', "expires_in"),
        (200, b'{"access_token":"a","expires_in":NaN}', "expires_in"),
        (200, b'{"access_token":"a","expires_in":0}', "expires_in"),
        (200, b'{"access_token":"a","expires_in":1e300}', "expires_in"),
        (200, b"[" * 100_000, "access_token"),
    ],
)
def test_an_answer_without_a_token_is_an_error_that_repeats_nothing_of_it(status: int, body: bytes, says: str) -> None:
    """Whatever the endpoint says instead of a token becomes a `CallFailed` that may be logged."""
    with pytest.raises(CallFailed) as caught:
        parse_token(Answer(status=status, body=body))
    assert says in str(caught.value)
    assert "91bc" not in str(caught.value)
    assert not caught.value.maybe_sent


@pytest.mark.parametrize("life", ["3599", 3599, 3599.0])
def test_a_life_in_seconds_may_be_a_number_or_its_text(life: object) -> None:
    """Some servers quote `expires_in`."""
    secret, seconds = parse_token(
        Answer(status=200, body=json.dumps({"access_token": "a", "expires_in": life}).encode())
    )
    assert (secret.reveal(), seconds) == ("a", 3599.0)
