"""The suite is worth something: transports that break a promise are caught, each by the tests named here."""
# ruff: noqa: D102 - each class says what its override breaks

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import attrs
import pytest

from leanflow._call import Answer, Call
from leanflow.errors import CallFailed, NotStarted
from leanflow.testing import FakeClock
from leanflow.testing.conformance import FarEnd, TransportConformance
from leanflow.testing.conformance._far_end import difference
from leanflow_adapters.mockbank import MockbankTransport
from tests.support.suites import Fixtures, complaint, hasten, sentences


@pytest.mark.parametrize(
    ("came", "sent", "said"),
    [
        (b"a" * 9, b"a" * 9, ""),
        (b"", b"ab", "0 bytes came of 2"),
        (b"abc", b"ab", "3 bytes came of 2"),
        (b"a" * 5_000_000 + b"b", b"a" * 5_000_000 + b"c", "byte 5,000,000 of 5,000,001 came as b'b', not as b'c'"),
    ],
)
def test_a_difference_of_megabytes_is_told_in_a_line(came: bytes, sent: bytes, said: str) -> None:
    """What pytest would compare line by line for hours is told at once."""
    assert difference(came, sent) == said


class RepeatsACutCall(MockbankTransport):
    """Sends again what may have arrived, as many HTTP libraries do with a GET."""

    async def send(self, call: Call) -> Answer:
        try:
            return await super().send(call)
        except CallFailed:
            return await super().send(call)


class SaysOfAllThatItWasNotSent(MockbankTransport):
    """Takes a lost answer for a lost call."""

    async def send(self, call: Call) -> Answer:
        try:
            return await super().send(call)
        except CallFailed as failed:
            raise CallFailed(failed.reason, maybe_sent=False) from failed


class SaysOfNothingThatItWasNotSent(MockbankTransport):
    """Does not know a call without a token from one that was cut."""

    async def send(self, call: Call) -> Answer:
        try:
            return await super().send(call)
        except CallFailed as failed:
            raise CallFailed(failed.reason, maybe_sent=True) from failed


class RaisesForStatus(MockbankTransport):
    """Takes a refusal for a failure."""

    async def send(self, call: Call) -> Answer:
        answer = await super().send(call)
        if answer.status >= 400:
            raise CallFailed(f"HTTP {answer.status}", maybe_sent=True)
        return answer


class ParsesJson(MockbankTransport):
    """Takes every body for JSON, and writes it anew."""

    async def send(self, call: Call) -> Answer:
        answer = await super().send(call)
        try:
            return attrs.evolve(answer, body=json.dumps(json.loads(answer.body or b"{}")).encode())
        except ValueError as error:
            raise CallFailed("no JSON", maybe_sent=True) from error


class DecodesText(MockbankTransport):
    """Takes every body for text."""

    async def send(self, call: Call) -> Answer:
        answer = await super().send(call)
        return attrs.evolve(answer, body=answer.body.decode(errors="replace").encode())


class FollowsRedirects(MockbankTransport):
    """Goes where it is sent."""

    async def send(self, call: Call) -> Answer:
        answer = await super().send(call)
        if answer.status in (301, 302, 307, 308):
            return await super().send(attrs.evolve(call, path=answer.headers["location"]))
        return answer


class QuotesTwice(MockbankTransport):
    """Quotes a path that is quoted."""

    async def send(self, call: Call) -> Answer:
        return await super().send(attrs.evolve(call, path=quote(call.path)))


class ShoutsHeaders(MockbankTransport):
    """Hands header names over as they came."""

    async def send(self, call: Call) -> Answer:
        answer = await super().send(call)
        return attrs.evolve(answer, headers={name.title(): value for name, value in answer.headers.items()})


class KeepsOneCallAtATime(MockbankTransport):
    """Has one connection."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._turn = asyncio.Lock()

    async def send(self, call: Call) -> Answer:
        async with self._turn:
            return await super().send(call)


class NeverGivesUp(MockbankTransport):
    """Has no timeout."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "timeout": 1e6})


class ShowsItsSecret(MockbankTransport):
    """Shows what it knows."""

    def __repr__(self) -> str:
        return f"{super().__repr__()} {self.bank.client_secret}"


class NeedsALoop(MockbankTransport):
    """Opens when it is built."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pytest.fail("built where no loop runs")


class AsksForEachCall(MockbankTransport):
    """Keeps no token."""

    async def send(self, call: Call) -> Answer:
        self._tokens.clear()
        return await super().send(call)


class AsksForEachCaller(MockbankTransport):
    """Looks for a token, asks if there is none, and so do all the others meanwhile."""

    async def _token(self, scope: str, spare: timedelta) -> Any:
        known = self._tokens.get(scope)
        if known is None or known.ends - self._clock.now() <= spare:
            known = self._tokens[scope] = await self._ask(scope)
        return known


class DropsFreshTokens(MockbankTransport):
    """After a refusal drops whatever token there is, another caller's fresh one too."""

    async def send(self, call: Call) -> Answer:
        token = await self._token("api", timedelta())
        answer = await self._exchange(call, {"authorization": f"Bearer {token.text}"})
        if answer.status != 401:
            return answer
        await asyncio.sleep(0)
        fresh = await self._ask("api")
        return await self._exchange(call, {"authorization": f"Bearer {fresh.text}"})


class NeverRenews(MockbankTransport):
    """Takes its first token for eternal."""

    async def _token(self, scope: str, spare: timedelta) -> Any:
        if scope not in self._tokens:
            self._tokens[scope] = await self._ask(scope)
        return self._tokens[scope]


class TakesA401ForTheAnswer(MockbankTransport):
    """Renews no token that is refused."""

    async def send(self, call: Call) -> Answer:
        token = await self._token("api", timedelta())
        return await self._exchange(call, {"authorization": f"Bearer {token.text}"})


class RenewsForEver(MockbankTransport):
    """Takes no 401 for an answer."""

    async def send(self, call: Call) -> Answer:
        while (answer := await super().send(call)).status == 401:
            pass
        return answer


class HandsOutTokensToTheirEnd(MockbankTransport):
    """Does not know that the Link SDK wants ten minutes."""

    async def token(self, customer_id: str) -> str | None:
        return str((await self._token(f"customer.{customer_id}", timedelta())).text)


class HasOneTokenForAll(MockbankTransport):
    """Keeps one customer's token for the next."""

    first: str | None = None

    async def token(self, customer_id: str) -> str | None:
        self.first = self.first or customer_id
        return await super().token(self.first)


class CancelsTheOthers(MockbankTransport):
    """Lets all wait for the task of the first caller."""

    task: asyncio.Task[Any] | None = None

    async def _token(self, scope: str, spare: timedelta) -> Any:
        if scope not in self._tokens:
            if self.task is None:
                self.task = asyncio.ensure_future(self._ask(scope))
            self._tokens[scope] = await self.task
        return self._tokens[scope]


class WaitsForEverOnceClosed(MockbankTransport):
    """Lets those hang who wait when it is closed."""

    closed = False

    async def send(self, call: Call) -> Answer:
        answer = await super().send(call)
        if self.closed:
            await asyncio.Event().wait()
        return answer

    async def aclose(self) -> None:
        self.closed = True


class KnowsTwoMethods(MockbankTransport):
    """Puts by posting."""

    async def send(self, call: Call) -> Answer:
        return await super().send(attrs.evolve(call, method="GET" if call.body is None else "POST"))


class GivesUpTooSoon(MockbankTransport):
    """Has a timeout of its own."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "timeout": 5.0})


class FailsAllForOne(MockbankTransport):
    """Drops its connections when a caller is cancelled."""

    dropped = False

    async def send(self, call: Call) -> Answer:
        try:
            answer = await super().send(call)
        except asyncio.CancelledError:
            self.dropped = True
            raise
        if self.dropped:
            raise CallFailed("dropped", maybe_sent=True)
        return answer


class ClosesOnce(MockbankTransport):
    """Cannot be closed when it is closed."""

    closed = False

    async def aclose(self) -> None:
        if self.closed:
            raise NotStarted("transport")
        self.closed = True


class ShowsTwoPassports(MockbankTransport):
    """Sends the app token beside the other."""

    async def _exchange(self, call: Call, credentials: Mapping[str, str]) -> Answer:
        return await super()._exchange(call, {**credentials, "lean-app-token": self.bank.app})


class RemembersARefusal(MockbankTransport):
    """Asks no second time."""

    refusal: CallFailed | None = None

    async def _ask(self, scope: str) -> Any:
        if self.refusal is not None:
            raise self.refusal
        try:
            return await super()._ask(scope)
        except CallFailed as failed:
            self.refusal = failed
            raise


class MakesATokenUp(MockbankTransport):
    """Has the app token for a customer's."""

    async def token(self, customer_id: str) -> str | None:
        return await super().token(customer_id) or self.bank.app


class ClosesWhatItWasHanded(MockbankTransport):
    """Takes what it works with for its own."""

    async def aclose(self) -> None:
        self.bank.is_closed = True  # type: ignore[attr-defined]  # a mark for `handed`


CATCHES: Mapping[type[MockbankTransport], tuple[str, ...]] = {
    RepeatsACutCall: ("test_a_cut_call_may_have_been_sent_and_is_not_repeated",),
    SaysOfAllThatItWasNotSent: (
        "test_a_cut_call_may_have_been_sent_and_is_not_repeated",
        "test_an_answer_that_is_not_whole_is_none",
        "test_an_answer_that_does_not_come_ends_in_the_timeout",
    ),
    SaysOfNothingThatItWasNotSent: (
        "test_without_a_token_nothing_was_sent",
        "test_where_nobody_listens_nothing_was_sent",
    ),
    RaisesForStatus: ("test_an_answer_of_any_status_comes_back",),
    ParsesJson: ("test_a_body_that_is_no_json_passes_through",),
    DecodesText: ("test_a_body_that_is_no_json_passes_through", "test_big_bodies_pass_whole"),
    FollowsRedirects: ("test_a_redirect_is_an_answer",),
    QuotesTwice: ("test_a_call_arrives_as_it_is",),
    ShoutsHeaders: ("test_headers_come_back_in_lower_case",),
    KeepsOneCallAtATime: ("test_many_calls_are_under_way_at_once",),
    NeverGivesUp: ("test_an_answer_that_does_not_come_ends_in_the_timeout",),
    ShowsItsSecret: ("test_no_secret_is_shown",),
    NeedsALoop: ("test_it_is_built_cold",),
    AsksForEachCall: ("test_a_token_is_kept",),
    AsksForEachCaller: ("test_a_token_is_asked_for_once_however_many_wait",),
    DropsFreshTokens: ("test_callers_that_are_refused_together_share_a_fresh_token",),
    NeverRenews: ("test_a_token_that_has_ended_is_not_used",),
    TakesA401ForTheAnswer: ("test_a_refused_call_is_sent_once_more_with_a_fresh_token",),
    RenewsForEver: ("test_a_401_that_stays_is_the_answer",),
    HandsOutTokensToTheirEnd: ("test_a_customers_token_has_more_than_ten_minutes_left",),
    HasOneTokenForAll: ("test_customers_tokens_are_kept_apart",),
    CancelsTheOthers: ("test_a_cancelled_caller_takes_no_token_from_the_others",),
    KnowsTwoMethods: ("test_every_method_arrives",),
    GivesUpTooSoon: ("test_a_slow_answer_is_waited_for",),
    FailsAllForOne: ("test_a_cancelled_call_takes_nothing_from_the_others",),
    ClosesOnce: ("test_closing_a_closed_transport_does_nothing",),
    ShowsTwoPassports: ("test_calls_carry_the_authentication",),
    RemembersARefusal: ("test_after_a_token_was_not_to_be_had_it_is_asked_for_again",),
    MakesATokenUp: ("test_without_customer_tokens_there_is_none",),
    ClosesWhatItWasHanded: ("test_what_it_was_handed_stays_open",),
    WaitsForEverOnceClosed: ("test_what_is_under_way_ends_when_it_is_closed",),
}


def caught() -> list[tuple[type[MockbankTransport], str]]:
    """Return each broken transport with each test that must catch it."""
    return [(broken, name) for broken, names in CATCHES.items() for name in names]


class WithAppToken(TransportConformance):
    """The suite for transports of the older way."""

    bearer = False


def suite_of(name: str) -> type[TransportConformance]:
    """Return the suite whose test is to be run."""
    return WithAppToken if name == "test_without_customer_tokens_there_is_none" else TransportConformance


def fixtures(made: type[MockbankTransport], name: str) -> Fixtures:
    """Return what gives the suite's fixtures, for transports of this class."""
    auth = "bearer" if suite_of(name).bearer else "app_token"

    @asynccontextmanager
    async def give() -> AsyncIterator[Mapping[str, Any]]:
        clock = FakeClock()
        bank = FarEnd(now=clock.now(), auth=auth)

        def build(*, timeout: float = 60.0) -> MockbankTransport:
            return made(bank, clock, auth=auth, timeout=timeout)

        handed = build(), lambda: hasattr(bank, "is_closed")
        yield {"clock": clock, "bank": bank, "build": build, "nowhere": cut_off(build()), "handed": handed}

    return give


def cut_off(transport: MockbankTransport) -> MockbankTransport:
    """Take the far end away."""

    async def nobody(call: Call, credentials: Mapping[str, str]) -> Answer:
        raise CallFailed("nobody listens", maybe_sent=False)

    transport._exchange = nobody  # type: ignore[method-assign]  # of this one alone
    return transport


@pytest.mark.parametrize(("broken", "name"), caught(), ids=lambda value: getattr(value, "__name__", value))
async def test_a_broken_transport_is_caught(
    broken: type[MockbankTransport], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The named test fails on the broken transport, by a complaint of its own."""
    hasten(monkeypatch)
    assert await complaint(suite_of(name), name, fixtures(broken, name)) is not None


@pytest.mark.parametrize("name", sorted({name for _, name in caught()}))
async def test_what_catches_broken_transports_passes_on_a_whole_one(name: str) -> None:
    """The tests that catch broken transports pass on one that is not."""
    assert await complaint(suite_of(name), name, fixtures(MockbankTransport, name)) is None


def test_every_test_of_the_suite_says_what_it_proves() -> None:
    """Each has a sentence of its own, as the port's promises do, and some transport that it catches."""
    said = sentences(TransportConformance)
    assert [sentence for sentence in said.values() if not sentence.endswith(".")] == []
    assert set(said) == {name for _, name in caught()}
