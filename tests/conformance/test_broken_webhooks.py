"""The suite is worth something: bindings that break a promise are caught, each by the tests named here."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import pytest
from aiohttp import web

from leanflow._call import Reply
from leanflow.errors import LeanflowError
from leanflow.testing.conformance import Inbox, WebhookConformance
from leanflow_adapters.web.aiohttp import MAX_BODY, webhook_handler
from tests.support.suites import Fixtures, complaint, hasten, sentences

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@attrs.define
class Binding:
    """The aiohttp binding, and what its subclasses break of it."""

    inbox: Inbox

    max_body = WebhookConformance.max_body
    body_timeout = WebhookConformance.body_timeout

    def add_to(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_post("/lean", self.handler())

    def handler(self) -> Handler:
        """Return the shipped handler, which hands over to this object."""
        return webhook_handler(self, max_body=self.max_body, body_timeout=self.body_timeout)

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Hand over."""
        return await self.inbox.receive(headers, raw_body)


class ParsesTheBody(Binding):
    """Takes the body for JSON, and writes it anew."""

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Hand over what JSON says."""
        with suppress(ValueError):
            raw_body = json.dumps(json.loads(raw_body)).encode()
        return await super().receive(headers, raw_body)


class DecodesTheBody(Binding):
    """Takes the body for text."""

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Hand over what can be read."""
        return await super().receive(headers, raw_body.decode("utf-8-sig", "ignore").encode())


class StripsTheBody(Binding):
    """Tidies up."""

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Hand over what is not white."""
        return await super().receive(headers, raw_body.strip())


class TakesThePlainCaseAlone(Binding):
    """Looks for the header as Lean's documents write it."""

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Never reached."""
        raise NotImplementedError

    def handler(self) -> Handler:
        """Look among the raw headers."""

        async def handle(request: web.Request) -> web.StreamResponse:
            wanted = [value.decode() for name, value in request.raw_headers if name == b"Lean-Signature"]
            reply = await self.inbox.receive({"lean-signature": ", ".join(wanted)}, await request.read())
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

        return handle


class TakesTheLastSignature(Binding):
    """Makes a dict of the headers."""

    def handler(self) -> Handler:
        """Make a dict of the headers."""

        async def handle(request: web.Request) -> web.StreamResponse:
            reply = await self.inbox.receive(dict(request.headers.items()), await request.read())
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

        return handle


class ReadsItAll(TakesTheLastSignature):
    """Reads whatever comes, for as long as it comes."""


class SaysThanksFirst(Binding):
    """Answers 200 whatever becomes of it."""

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Hand over, and say 200."""
        await super().receive(headers, raw_body)
        return Reply(status=200, body=b"ok")


class SaysNoContent(Binding):
    """Answers in the 200s."""

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Hand over, and say 204 for 200."""
        reply = await super().receive(headers, raw_body)
        return Reply(status=204) if reply.status == 200 else reply


class DropsHeaders(Binding):
    """Sends no headers of the reply."""

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Hand over, and drop them."""
        return attrs.evolve(await super().receive(headers, raw_body), headers={})


class SwallowsErrors(Binding):
    """Wants to have peace."""

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Hand over, and see nothing."""
        try:
            return await super().receive(headers, raw_body)
        except RuntimeError:
            return Reply(status=200)


class ShowsErrors(Binding):
    """Tells the world what broke."""

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Hand over, and tell."""
        try:
            return await super().receive(headers, raw_body)
        except RuntimeError:
            return Reply(status=500, body=traceback.format_exc().encode())


class TakesEveryMethod(Binding):
    """Does not look at the method."""

    def add_to(self, app: web.Application) -> None:
        """Add a route for all."""
        app.router.add_route("*", "/lean", self.handler())


class RedirectsSlashes(Binding):
    """Sends from one spelling to the other."""

    def add_to(self, app: web.Application) -> None:
        """Add both."""
        super().add_to(app)

        async def away(_: web.Request) -> web.StreamResponse:
            return web.Response(status=308, headers={"location": "/lean"})

        app.router.add_post("/lean/", away)


class WaitsForBodies(Binding):
    """Has all the time in the world."""

    body_timeout = 3600.0


class CapsWhatItHasRead(Binding):
    """Reads a body whole to see whether it is too long."""

    max_body = MAX_BODY * 1000

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Look at the length."""
        if len(raw_body) > WebhookConformance.max_body:
            return Reply(status=413)
        return await super().receive(headers, raw_body)


class TakesOneAtATime(Binding):
    """Reads one body after the other."""

    body_timeout = 3600.0

    def handler(self) -> Handler:
        """Take turns."""
        turn, handle = asyncio.Lock(), super().handler()

        async def one(request: web.Request) -> web.StreamResponse:
            async with turn:
                return await handle(request)

        return one


class TakesHalfABody(Binding):
    """Makes do with what has come."""

    def handler(self) -> Handler:
        """Read on until there is no more."""

        async def handle(request: web.Request) -> web.StreamResponse:
            body = b""
            with suppress(web.RequestPayloadError, OSError):
                async for chunk in request.content.iter_any():
                    body += chunk
            reply = await self.inbox.receive(dict(request.headers.items()), body)
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

        return handle


class HandsOverTwice(Binding):
    """Hands over again, to be sure."""

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Hand over twice."""
        with suppress(LeanflowError):
            await super().receive(headers, raw_body)
        return await super().receive(headers, raw_body)


class MixesUpReplies(Binding):
    """Keeps the body where the next one finds it."""

    last = b""

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Hand over what is kept."""
        type(self).last = raw_body
        with suppress(TimeoutError):
            async with asyncio.timeout(1):  # for the last one
                while type(self).last is raw_body:
                    await asyncio.sleep(0)  # while others come
        return await super().receive(headers, type(self).last)


class KeepsTheLastBody(Binding):
    """Begins a body where the last one ended."""

    kept = b""

    async def receive(self, headers: Mapping[str, str], raw_body: bytes, /) -> Reply:
        """Hand over what is kept."""
        type(self).kept += raw_body
        return await super().receive(headers, type(self).kept)


CATCHES: Mapping[type[Binding], tuple[str, ...]] = {
    ParsesTheBody: ("test_bytes_arrive_as_they_were_sent",),
    DecodesTheBody: ("test_bytes_arrive_as_they_were_sent",),
    StripsTheBody: ("test_bytes_arrive_as_they_were_sent", "test_the_content_type_does_not_matter"),
    TakesThePlainCaseAlone: ("test_the_case_of_a_headers_name_does_not_matter",),
    TakesTheLastSignature: ("test_a_second_signature_is_answered_401",),
    ReadsItAll: (
        "test_a_body_over_the_cap_is_answered_413",
        "test_a_body_announced_too_long_is_refused_before_it_comes",
        "test_an_endless_body_is_refused_at_the_cap",
    ),
    CapsWhatItHasRead: (
        "test_a_body_announced_too_long_is_refused_before_it_comes",
        "test_an_endless_body_is_refused_at_the_cap",
    ),
    SaysThanksFirst: (
        "test_a_webhook_that_nobody_vouches_for_is_answered_401",
        "test_a_store_that_is_down_is_answered_503",
        "test_the_reply_goes_back_as_it_is",
    ),
    SaysNoContent: ("test_a_webhook_that_is_taken_is_answered_200",),
    DropsHeaders: ("test_the_reply_goes_back_as_it_is",),
    SwallowsErrors: ("test_an_engine_that_fails_is_no_200",),
    ShowsErrors: ("test_an_engine_that_fails_is_no_200",),
    TakesEveryMethod: ("test_other_methods_are_answered_405",),
    RedirectsSlashes: ("test_a_trailing_slash_is_not_redirected",),
    WaitsForBodies: ("test_a_body_that_does_not_come_is_given_up",),
    TakesOneAtATime: ("test_a_slow_sender_holds_up_nobody",),
    TakesHalfABody: ("test_a_body_that_is_cut_is_not_taken",),
    HandsOverTwice: ("test_a_body_in_pieces_arrives_whole", "test_a_chunked_body_arrives_whole"),
    KeepsTheLastBody: ("test_webhooks_come_one_after_the_other_on_a_connection",),
    MixesUpReplies: ("test_webhooks_come_side_by_side",),
}


def caught() -> list[tuple[type[Binding], str]]:
    """Return each broken binding with each test that must catch it."""
    return [(broken, name) for broken, names in CATCHES.items() for name in names]


def fixtures(made: type[Binding]) -> Fixtures:
    """Return what gives the suite's fixtures, for bindings of this class."""

    @asynccontextmanager
    async def give() -> AsyncIterator[Mapping[str, Any]]:
        inbox = Inbox()
        app = web.Application(client_max_size=10**9)
        made(inbox).add_to(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield {"inbox": inbox, "url": f"http://127.0.0.1:{runner.addresses[0][1]}/lean"}
        await runner.cleanup()

    return give


@pytest.mark.parametrize(("broken", "name"), caught(), ids=lambda value: getattr(value, "__name__", value))
async def test_a_broken_binding_is_caught(broken: type[Binding], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The named test fails on the broken binding, by a complaint of its own."""
    hasten(monkeypatch)
    assert await complaint(WebhookConformance, name, fixtures(broken)) is not None


@pytest.mark.parametrize("name", sorted({name for _, name in caught()}))
async def test_what_catches_broken_bindings_passes_on_a_whole_one(name: str) -> None:
    """The tests that catch broken bindings pass on one that is not."""
    assert await complaint(WebhookConformance, name, fixtures(Binding)) is None


def test_every_test_of_the_suite_says_what_it_proves() -> None:
    """Each has a sentence of its own, and some binding that it catches."""
    said = sentences(WebhookConformance)
    assert [sentence for sentence in said.values() if not sentence.endswith(".")] == []
    assert set(said) == {name for _, name in caught()}
