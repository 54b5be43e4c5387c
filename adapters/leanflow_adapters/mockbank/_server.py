"""Mockbank on a port: the API, the token endpoint and the control commands over HTTP; `_sender` sends its webhooks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from leanflow._call import Answer, Call
from leanflow.errors import InvalidRequest, NotStarted
from leanflow.mockbank import ATTEMPT_LIMIT, COMMANDS, Exchange, LinkOutcome, Mockbank, control
from leanflow.ports import Clock

from ._clocks import ScaledClock
from ._guard import guarded
from ._inspector import add_inspector
from ._pages import add_link_pages
from ._sender import Sender

__all__ = ["MockbankServer", "serve"]

_UNREADABLE = b"\xff"

_SHELL_COMMANDS = ("advance", "settle")


def serve(
    bank: Mockbank | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Clock | None = None,
    scale: float = 1.0,
    webhook_url: str | None = None,
    answer_in: timedelta = ATTEMPT_LIMIT,
) -> MockbankServer:
    """Return a server that listens while it is entered, with ``async with``.

    Whoever reaches it can control it (``POST /_mockbank/<command>``, and the page at ``/``), pages elsewhere in a
    browser excepted: keep it on loopback.

    Args:
        bank: the simulated Lean; None: a fresh one.
        host: where to listen.
        port: 0: any free one.
        clock: what it runs on; None: the wall clock, `scale` times as fast.
        scale: for the clock that is made if none is given.
        webhook_url: where webhooks go; it can be set later.
        answer_in: real time that a receiver of webhooks has for its whole answer: Lean's 10 s, or less in a test.

    Raises:
        InvalidRequest: the scale is not above zero, or the time for an answer.
    """
    if not answer_in > timedelta():
        raise InvalidRequest("answer_in", "must be above 0")
    running = clock if clock is not None else ScaledClock(scale)
    served = bank if bank is not None else Mockbank(now=running.now())
    if webhook_url is not None:
        served.webhook_url = webhook_url
    return MockbankServer(served, running, host, port, answer_in)


class MockbankServer(Mockbank):
    """A Mockbank that listens. Made by `serve`.

    It has all that a `Mockbank` has, on its own clock, and sends at once what becomes due by it.

    Attributes:
        bank: the simulated Lean that it was made of; the two are one.
        clock: what it runs on.
    """

    def __init__(self, bank: Mockbank, clock: Clock, host: str, port: int, answer_in: timedelta) -> None:
        vars(self).update(vars(bank))  # one world, two ways in
        self.bank = bank
        self.clock = clock
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        self._sender = Sender(bank, clock, answer_in)

    @property
    def base_url(self) -> str:
        """Where the API is, without a slash at the end.

        Raises:
            NotStarted: it is not open.
        """
        if self._runner is None:
            raise NotStarted("server")
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def auth_url(self) -> str:
        """Where the token endpoint's host is: the same."""
        return self.base_url

    async def __aenter__(self) -> Self:
        app = web.Application()
        add_inspector(app, self.bank, self.clock, self._host)
        app.router.add_get("/_mockbank/openapi.json", guarded(self._description, self._host))
        app.router.add_route("*", "/_mockbank/{command}", guarded(self._control, self._host))
        add_link_pages(app, self.bank.settings.region)
        app.router.add_route("*", r"/{path:[\s\S]*}", self._api)  # a quoted line feed, too
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self.follow(self.clock.now, self.wake, self.base_url)
        await self._sender.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sender.__aexit__(kind, error, trace)
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    # the world around it

    def user_types(self, reconnect_id: str, otp: str) -> LinkOutcome:
        """Let the user type an OTP in the Link SDK; what it causes is sent at once."""
        return self.submit_otp(reconnect_id, otp)

    def wake(self) -> None:
        """Look again what is due."""
        self._sender.wake()

    async def advance(self, delta: timedelta) -> None:
        """Move the clock, stopping at each moment at which something is due, and wait for its deliveries.

        Raises:
            InvalidRequest: the clock cannot be moved.
        """
        await self._sender.advance(delta)

    async def settle(self) -> None:
        """Send what is due and wait until it has been answered, and what that made due."""
        await self._sender.settle()

    # HTTP

    async def _api(self, request: web.Request) -> web.StreamResponse:
        call = Call(
            method=request.method,
            path=request.rel_url.raw_path,
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await _body(request),
        )
        exchange = self.bank.handle(call, self.clock.now())
        await self._sender.send_early()
        if exchange.delay > 0:
            await self.clock.sleep(exchange.delay)
        self.wake()
        return await self._answer(request, exchange)

    async def _answer(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        answer = exchange.answer
        if answer is not None and exchange.cut_after is None:
            return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
        response = web.StreamResponse()
        if answer is not None and exchange.cut_after is not None:
            response = await self._begin(request, answer, exchange.cut_after)
        if request.transport is not None:
            request.transport.close() if answer is not None else request.transport.abort()
        return response

    async def _begin(self, request: web.Request, answer: Answer, length: int) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        response.content_length = len(answer.body)
        await response.prepare(request)
        await response.write(answer.body[:length])
        return response

    async def _description(self, _: web.Request) -> web.Response:
        return web.json_response(self.bank.openapi())

    async def _control(self, request: web.Request) -> web.Response:
        command = request.match_info["command"]
        raw = await request.read()
        try:
            args: Any = json.loads(raw) if raw else {}
            if not isinstance(args, dict):
                raise InvalidRequest("body", "must be a JSON object")
            done = await self._command(command, args)
        except ValueError as error:
            known = [*COMMANDS, *_SHELL_COMMANDS]
            return web.json_response({"error": str(error), "commands": known}, status=400)
        self.wake()
        return web.json_response(done)

    async def _command(self, command: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        if command == "settle":
            await self.settle()
            return {"now": self.clock.now().isoformat()}
        if command == "advance":
            seconds = args.get("seconds")
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
                raise InvalidRequest("seconds", "must be a number, not below 0")
            await self.advance(timedelta(seconds=seconds))
            return {"now": self.clock.now().isoformat()}
        return control(self.bank, command, args, self.clock.now())


async def _body(request: web.Request) -> bytes | None:
    """Return the body; of one that is too long or wrongly encoded, what is refused as no JSON and no form either."""
    try:
        return await request.read() or None
    except (web.HTTPRequestEntityTooLarge, web.RequestPayloadError):
        return _UNREADABLE
