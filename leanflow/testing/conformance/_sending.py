"""What the port promises of sending calls: what arrives, what comes back, and what a failure says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import ClassVar

import pytest

from leanflow._call import Answer, Call
from leanflow.errors import CallFailed
from leanflow.ports import Transport
from leanflow.testing._clock import FakeClock
from leanflow.testing.conformance._far_end import CALL, CUT, PATIENCE, POST, Build, FarEnd, difference, said, until

__all__ = ["Closing", "Failing", "FarSide", "Sending"]

Handed = tuple[Transport, Callable[[], bool]]


class FarSide:
    """What every test of a transport has on the other side."""

    bearer: ClassVar[bool] = True

    @pytest.fixture
    def clock(self) -> FakeClock:
        """The clock of the far end, and of the tokens' lives."""
        return FakeClock()

    @pytest.fixture
    def bank(self, clock: FakeClock) -> FarEnd:
        """The far end, which transports reach in the process or over `serve`."""
        return FarEnd(now=clock.now(), auth="bearer" if self.bearer else "app_token")


class Sending(FarSide):
    """`Transport.send`, when all goes well."""

    async def test_it_is_built_cold(self, bank: FarEnd, build: Build) -> None:
        """Built where no event loop runs, it does no I/O before the first call; then it works."""
        transport = await asyncio.to_thread(build)
        assert not bank.came
        assert not bank.forms
        assert (await transport.send(CALL)).status == 200

    async def test_a_call_arrives_as_it_is(self, bank: FarEnd, build: Build) -> None:
        """Method, path, query, headers and body arrive as they are in the call."""
        body = '{"app_user_id": "مستخدم" ,\n "odd":1.50}'.encode()
        query = {"meta": '{"k":"a b&c+é%41"}', "page": "0"}
        call = Call(method="POST", path="/a%2Fb%20c", query=query, headers={"customer-ip": "1.2.3.4"}, body=body)
        await build().send(call)
        (came,) = bank.came
        assert (came.method, came.path, dict(came.query), came.body) == (call.method, call.path, query, body)
        assert {name.lower(): value for name, value in came.headers.items()}["customer-ip"] == "1.2.3.4"

    async def test_every_method_arrives(self, bank: FarEnd, build: Build) -> None:
        """What may be called with GET, POST, PUT and DELETE is called so, with a body or without."""
        transport, methods = build(), ["GET", "POST", "PUT", "DELETE"]
        for method in methods:
            bank.plan(said())
            await transport.send(Call(method=method, path="/x", body=b"{}" if method in {"POST", "PUT"} else None))
        assert [came.method for came in bank.came] == methods
        assert [came.body or None for came in bank.came] == [None, b"{}", b"{}", None]

    @pytest.mark.parametrize("status", [200, 202, 204, 400, 403, 404, 409, 429, 500, 503])
    async def test_an_answer_of_any_status_comes_back(self, bank: FarEnd, build: Build, status: int) -> None:
        """What came back is returned, whatever its status."""
        body = b"" if status == 204 else b'{"status":"X"}'
        bank.plan(said(status, body))
        answer = await build().send(CALL)
        assert (answer.status, answer.body) == (status, body)
        assert len(bank.came) == 1

    async def test_headers_come_back_in_lower_case(self, bank: FarEnd, build: Build) -> None:
        """The headers' names are in lower case, their values as they were sent."""
        bank.plan(said(429, headers={"retry-after": "7", "lean-correlation-id": "Abc"}))
        headers = (await build().send(CALL)).headers
        assert [name for name in headers if name != name.lower()] == []
        assert (headers.get("retry-after"), headers.get("lean-correlation-id")) == ("7", "Abc")

    @pytest.mark.parametrize("body", [b"<html>", b"\xff\x00\xfe", b'{"half', " \n{ } مرحبا\n".encode()])
    async def test_a_body_that_is_no_json_passes_through(self, bank: FarEnd, build: Build, body: bytes) -> None:
        """Bodies come back as they were sent, whatever they are."""
        bank.plan(said(body=body))
        assert (await build().send(CALL)).body == body

    async def test_big_bodies_pass_whole(self, bank: FarEnd, build: Build) -> None:
        """Half a megabyte out and four megabytes back lose no byte."""
        out, back = b'"%s"' % (b"o" * 500_000), bytes(range(256)) * 16_384
        bank.plan(said(body=back))
        answer = await build().send(Call(method="POST", path="/x", body=out))
        assert not difference(answer.body, back)
        assert not difference(bank.came[0].body or b"", out)

    async def test_a_redirect_is_an_answer(self, bank: FarEnd, build: Build) -> None:
        """Redirects are not followed: the credentials would go with the call."""
        for status in (301, 302, 307, 308):
            bank.plan(said(status, headers={"location": "/elsewhere"}))
        transport = build()
        for status in (301, 302, 307, 308):
            answer = await transport.send(POST)
            assert (answer.status, answer.headers["location"]) == (status, "/elsewhere")
        assert [came.path for came in bank.came] == [POST.path] * 4

    async def test_many_calls_are_under_way_at_once(self, bank: FarEnd, build: Build, clock: FakeClock) -> None:
        """No call waits for another's answer, and each gets its own."""
        transport = build()
        bank.plan(*(said(body=b"%d" % number, delay=5 - number / 10) for number in range(8)))
        tasks = [asyncio.ensure_future(transport.send(CALL)) for _ in range(8)]
        await until(lambda: len(bank.came) == 8, "all calls at the far end before the first is answered")
        clock.advance(timedelta(seconds=5))
        answers = await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
        assert sorted(answer.body for answer in answers) == [b"%d" % number for number in range(8)]

    async def test_no_secret_is_shown(self, bank: FarEnd, build: Build) -> None:
        """`repr` shows neither the application's id nor its secret nor a token."""
        transport = build()
        await transport.send(CALL)
        secrets = [bank.app, bank.client_secret, *bank.ends]
        assert [secret for secret in secrets if secret in repr(transport)] == []


class Failing(FarSide):
    """`Transport.send`, when no whole answer comes."""

    networked: ClassVar[bool] = True

    @pytest.fixture
    def nowhere(self) -> Transport:
        """A transport to where nobody listens. Override it where `networked` is True."""
        if self.networked:
            pytest.fail("networked = True: give the fixture `nowhere`")
        pytest.skip("networked = False")

    @pytest.mark.parametrize("call", [CALL, POST, Call(method="PUT", path="/x"), Call(method="DELETE", path="/x")])
    async def test_a_cut_call_may_have_been_sent_and_is_not_repeated(
        self, bank: FarEnd, build: Build, call: Call
    ) -> None:
        """A connection cut before the answer is CallFailed(maybe_sent=True); nothing is sent twice."""
        transport = build()
        await transport.send(CALL)  # on a kept connection, too, of which some libraries think otherwise
        bank.plan(CUT)
        with pytest.raises(CallFailed) as failed:
            await transport.send(call)
        assert failed.value.maybe_sent
        assert len(bank.came) == 2
        assert (await transport.send(CALL)).status == 200

    @pytest.mark.parametrize("after", [1, 10])
    async def test_an_answer_that_is_not_whole_is_none(self, bank: FarEnd, build: Build, after: int) -> None:
        """An answer cut in its body is CallFailed(maybe_sent=True), never half an answer."""
        transport = build()
        bank.plan(said(body=b'{"status":"OK","much":"more"}', cut_after=after))
        with pytest.raises(CallFailed) as failed:
            await transport.send(CALL)
        assert failed.value.maybe_sent
        assert len(bank.came) == 1

    async def test_a_slow_answer_is_waited_for(self, bank: FarEnd, build: Build, clock: FakeClock) -> None:
        """Within the timeout an answer comes back, however late."""
        transport = build(timeout=60)
        await transport.send(CALL)
        bank.plan(said(body=b"late", delay=50))
        sending = asyncio.ensure_future(transport.send(CALL))
        await until(lambda: len(bank.came) == 2, "the call at the far end")
        clock.advance(timedelta(seconds=50))
        assert (await asyncio.wait_for(sending, PATIENCE)).body == b"late"

    async def test_an_answer_that_does_not_come_ends_in_the_timeout(
        self, bank: FarEnd, build: Build, clock: FakeClock
    ) -> None:
        """After the transport's timeout it is CallFailed(maybe_sent=True), and the transport goes on."""
        transport = build(timeout=1.0)
        await transport.send(CALL)
        bank.plan(said(delay=3600))
        sending = asyncio.ensure_future(transport.send(CALL))
        await until(lambda: len(bank.came) == 2, "the call at the far end")
        clock.advance(timedelta(seconds=1.0))  # for a transport whose timeout is on this clock
        with pytest.raises(CallFailed) as failed:
            await asyncio.wait_for(sending, PATIENCE)
        assert failed.value.maybe_sent
        clock.advance(timedelta(hours=2))  # the far end is rid of it
        assert (await transport.send(CALL)).status == 200

    async def test_where_nobody_listens_nothing_was_sent(self, nowhere: Transport) -> None:
        """No connection is CallFailed(maybe_sent=False): Lean certainly has not seen the call."""
        with pytest.raises(CallFailed) as failed:
            await asyncio.wait_for(nowhere.send(CALL), PATIENCE)
        assert failed.value.maybe_sent is False

    async def test_a_cancelled_call_takes_nothing_from_the_others(
        self, bank: FarEnd, build: Build, clock: FakeClock
    ) -> None:
        """A cancelled caller ends at once; those beside it get their answers, and so do later ones."""
        transport = build()
        bank.plan(*(said(body=b"late", delay=5) for _ in range(4)))
        tasks = [asyncio.ensure_future(transport.send(CALL)) for _ in range(4)]
        await until(lambda: len(bank.came) == 4, "the calls at the far end")
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(tasks[0], PATIENCE)
        clock.advance(timedelta(seconds=5))
        assert [answer.body for answer in await asyncio.wait_for(asyncio.gather(*tasks[1:]), PATIENCE)] == [b"late"] * 3
        assert (await transport.send(CALL)).status == 200


class Closing(FarSide):
    """`Transport.aclose`."""

    shares: ClassVar[bool] = False

    @pytest.fixture
    def handed(self) -> Handed:
        """A transport to the far end that works with a client of the test's, and whether that is closed.

        Override it where `shares` is True.
        """
        if self.shares:
            pytest.fail("shares = True: give the fixture `handed`")
        pytest.skip("shares = False")

    async def test_what_it_was_handed_stays_open(self, handed: Handed) -> None:
        """A client that the transport was handed, and did not open, is not closed with it."""
        transport, is_closed = handed
        assert (await transport.send(CALL)).status == 200
        await transport.aclose()
        assert not is_closed()

    async def test_closing_a_closed_transport_does_nothing(self, build: Build) -> None:
        """`aclose` may be called again, and on a transport that was never used."""
        await build().aclose()
        transport = build()
        await transport.send(CALL)
        await transport.aclose()
        await transport.aclose()

    async def test_what_is_under_way_ends_when_it_is_closed(self, bank: FarEnd, build: Build, clock: FakeClock) -> None:
        """A call under way at `aclose` ends with its answer or as CallFailed; nobody waits for ever."""
        transport = build()
        bank.plan(said(delay=5))
        sending = asyncio.ensure_future(transport.send(CALL))
        await until(lambda: len(bank.came) == 1, "the call at the far end")
        await asyncio.wait_for(transport.aclose(), PATIENCE)
        clock.advance(timedelta(seconds=5))
        (ended,) = await asyncio.wait_for(asyncio.gather(sending, return_exceptions=True), PATIENCE)
        assert isinstance(ended, Answer | CallFailed), f"it ended as {ended!r}"
