"""What the port promises of authentication: tokens kept, renewed, and asked for once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from leanflow._call import Answer
from leanflow.errors import CallFailed
from leanflow.mockbank import Fault
from leanflow.testing._clock import FakeClock
from leanflow.testing.conformance._far_end import CALL, PATIENCE, Build, FarEnd, said, until
from leanflow.testing.conformance._sending import FarSide

__all__ = ["Authenticating", "KeepingTokens"]

_LEAST = timedelta(minutes=10)  # the Link SDK refuses a token with less (Lean docs, Link SDK)


class Authenticating(FarSide):
    """What holds with OAuth2 tokens and with the app token alike."""

    async def test_calls_carry_the_authentication(self, bank: FarEnd, build: Build) -> None:
        """The far end takes the call for ours, and it carries one kind of credentials alone."""
        assert (await build().send(CALL)).status == 200
        carried = {name.lower() for name in bank.came[0].headers} & {"authorization", "lean-app-token"}
        assert carried == {"authorization" if self.bearer else "lean-app-token"}

    async def test_a_401_that_stays_is_the_answer(self, bank: FarEnd, build: Build) -> None:
        """A second 401 is the answer; where no token can be renewed, the first one is."""
        bank.plan(said(401, b"no"), said(401, b"still no"), said())
        answer = await build().send(CALL)
        assert (answer.status, answer.body) == ((401, b"still no") if self.bearer else (401, b"no"))
        assert len(bank.came) == (2 if self.bearer else 1)

    async def test_without_customer_tokens_there_is_none(self, bank: FarEnd, build: Build) -> None:
        """Under an app token `token` returns None, and asks nobody."""
        if self.bearer:
            pytest.skip("bearer = True")
        assert await build().token(bank.customer_of(bank.connect())) is None
        assert not bank.forms


class KeepingTokens(FarSide):
    """OAuth2 tokens."""

    @pytest.fixture(autouse=True)
    def oauth(self, request: pytest.FixtureRequest) -> None:
        """Skip where there are no tokens."""
        if not self.bearer and request.function.__name__ in vars(KeepingTokens):
            pytest.skip("bearer = False")

    async def test_a_token_is_kept(self, bank: FarEnd, build: Build, clock: FakeClock) -> None:
        """One token serves many calls."""
        transport = build()
        for _ in range(5):
            assert (await transport.send(CALL)).status == 200
            clock.advance(timedelta(minutes=5))
        assert len(bank.forms) == 1

    async def test_a_token_that_has_ended_is_not_used(self, bank: FarEnd, build: Build, clock: FakeClock) -> None:
        """A token is renewed before its end, so that no call is refused for it."""
        transport = build()
        for _ in range(30):
            assert (await transport.send(CALL)).status == 200
            clock.advance(timedelta(minutes=9))
        assert set(bank.statuses) == {200}
        assert len(bank.forms) >= 4

    async def test_a_token_is_asked_for_once_however_many_wait(
        self, bank: FarEnd, build: Build, clock: FakeClock
    ) -> None:
        """Callers that come while a token is asked for wait for that one."""
        transport = build()
        bank.fault(Fault.slow(2, on="token", times=None))
        tasks = [asyncio.ensure_future(transport.send(CALL)) for _ in range(20)]
        await until(lambda: bool(bank.forms), "the token endpoint is asked")
        await self._let_token_come(clock, tasks)
        assert await self._statuses(tasks) == [200] * 20
        assert len(bank.forms) == 1

    async def test_a_refused_call_is_sent_once_more_with_a_fresh_token(self, bank: FarEnd, build: Build) -> None:
        """After a 401 the call is sent once more, with a fresh token."""
        transport = build()
        await transport.send(CALL)
        bank.revoke_tokens()
        assert (await transport.send(CALL)).status == 200
        assert bank.statuses == [200, 401, 200]
        assert len(bank.forms) == 2

    async def test_callers_that_are_refused_together_share_a_fresh_token(
        self, bank: FarEnd, build: Build, clock: FakeClock
    ) -> None:
        """Of many calls refused under one token the first renews it, and the others take what it got."""
        transport = build()
        await transport.send(CALL)
        bank.revoke_tokens()
        bank.fault(Fault.slow(2, on="token", times=None))
        tasks = [asyncio.ensure_future(transport.send(CALL)) for _ in range(20)]
        await until(lambda: len(bank.forms) == 2, "the token endpoint is asked again")
        await self._let_token_come(clock, tasks)
        assert await self._statuses(tasks) == [200] * 20
        assert len(bank.forms) == 2

    @pytest.mark.parametrize(
        "fault",
        [
            Fault.http(500, on="token", times=None),
            Fault.http(401, on="token", times=None),
            Fault.html(on="token", times=None),
            Fault.truncated(on="token", times=None),
            Fault.missing("access_token", on="token", times=None),
            Fault.cut(on="token", times=None),
        ],
        ids=lambda fault: fault.effect,
    )
    async def test_without_a_token_nothing_was_sent(self, bank: FarEnd, build: Build, fault: Fault) -> None:
        """When no token is to be had it is CallFailed(maybe_sent=False), for calls and customers' tokens alike."""
        transport, customer = build(), bank.customer_of(bank.connect())
        bank.fault(fault)
        with pytest.raises(CallFailed) as failed:
            await transport.send(CALL)
        assert failed.value.maybe_sent is False
        assert not bank.came
        with pytest.raises(CallFailed):
            await transport.token(customer)

    async def test_after_a_token_was_not_to_be_had_it_is_asked_for_again(self, bank: FarEnd, build: Build) -> None:
        """A refusal of the token endpoint is not kept."""
        transport = build()
        bank.fault(Fault.http(503, on="token"))
        with pytest.raises(CallFailed):
            await transport.send(CALL)
        assert (await transport.send(CALL)).status == 200

    async def test_a_cancelled_caller_takes_no_token_from_the_others(
        self, bank: FarEnd, build: Build, clock: FakeClock
    ) -> None:
        """When the caller is cancelled that asked first, those who wait with it still get the token."""
        transport = build()
        bank.fault(Fault.slow(2, on="token", times=None))
        tasks = [asyncio.ensure_future(transport.send(CALL)) for _ in range(5)]
        await until(lambda: len(bank.forms) == 1, "the token endpoint is asked")
        tasks[0].cancel()
        await self._let_token_come(clock, tasks[1:])
        assert await self._statuses(tasks[1:]) == [200] * 4

    async def test_a_customers_token_has_more_than_ten_minutes_left(
        self, bank: FarEnd, build: Build, clock: FakeClock
    ) -> None:
        """Whenever it is handed out, it has more than 10 minutes left, and is for this customer."""
        transport, customer = build(), bank.customer_of(bank.connect())
        for _ in range(30):
            token = await transport.token(customer)
            assert token is not None
            assert bank.ends[token] - clock.now() > _LEAST
            clock.advance(timedelta(minutes=7))
        assert {form["scope"] for form in bank.forms} == {f"customer.{customer}"}

    async def test_customers_tokens_are_kept_apart(self, bank: FarEnd, build: Build) -> None:
        """Each customer has one of their own, kept, and none is used for calls."""
        transport = build()
        await transport.send(CALL)
        customers = [bank.customer_of(bank.connect(f"user-{number}")) for number in range(2)]
        first = [await transport.token(customer) for customer in customers]
        assert [await transport.token(customer) for customer in customers] == first
        assert len({*first}) == 2
        await transport.send(CALL)
        scopes = [form["scope"] for form in bank.forms]
        assert scopes[1:] == [f"customer.{customer}" for customer in customers]
        assert len({came.headers.get("authorization") for came in bank.came}) == 1

    @staticmethod
    async def _let_token_come(clock: FakeClock, tasks: Sequence[asyncio.Future[Answer]]) -> None:
        """Let the token endpoint answer, and whatever comes after it."""
        async with asyncio.timeout(PATIENCE):
            while not all(task.done() for task in tasks):
                for _ in range(50):  # whoever would ask beside it has done so by then
                    await asyncio.sleep(0)
                clock.advance(timedelta(seconds=1))

    @staticmethod
    async def _statuses(tasks: Sequence[asyncio.Future[Answer]]) -> list[object]:
        """Return how each ended: as a status, or as what was raised."""
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        return [each.status if isinstance(each, Answer) else each for each in ended]
