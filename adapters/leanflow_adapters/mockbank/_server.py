"""Mockbank on a port: the API and the token endpoint over HTTP, webhooks delivered on its own clock."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from leanflow._call import Answer, Call
from leanflow.errors import InvalidRequest, NotStarted
from leanflow.mockbank import COMMANDS, Delivery, Exchange, LinkOutcome, Mockbank, control
from leanflow.ports import Clock

from ._clocks import Advancing, ScaledClock

__all__ = ["MockbankServer", "serve"]

_ANSWER_IN = 10.0  # real seconds a receiver has (Lean docs, Webhooks); on a faster clock too, or none would make it
_SHELL_COMMANDS = ("advance", "settle")


def serve(
    bank: Mockbank | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Clock | None = None,
    scale: float = 1.0,
    webhook_url: str | None = None,
) -> MockbankServer:
    """Return a server that listens while it is entered, with ``async with``.

    Whoever reaches it can control it (``POST /_mockbank/<command>``): keep it on loopback.

    Args:
        bank: the simulated Lean; None: a fresh one.
        host: where to listen.
        port: 0: any free one.
        clock: what it runs on; None: the wall clock, `scale` times as fast.
        scale: for the clock that is made if none is given.
        webhook_url: where webhooks go; it can be set later.

    Raises:
        InvalidRequest: the scale is not above zero.
    """
    running = clock if clock is not None else ScaledClock(scale)
    served = bank if bank is not None else Mockbank(now=running.now())
    if webhook_url is not None:
        served.webhook_url = webhook_url
    return MockbankServer(served, running, host, port)


class MockbankServer:
    """A Mockbank that listens. Made by `serve`.

    Attributes:
        bank: the simulated Lean. After changing it directly, call `wake`: what became due is then sent at once.
        clock: what it runs on.
    """

    def __init__(self, bank: Mockbank, clock: Clock, host: str, port: int) -> None:
        self.bank = bank
        self.clock = clock
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._lanes: dict[str, deque[Delivery]] = {}
        self._senders: set[asyncio.Task[None]] = set()

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

    @property
    def webhook_url(self) -> str:
        """Where webhooks go; empty: nowhere yet, and they wait."""
        return self.bank.webhook_url

    @webhook_url.setter
    def webhook_url(self, url: str) -> None:
        self.bank.webhook_url = url
        self.wake()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/_mockbank/{command}", self._control)
        app.router.add_route("*", "/{path:.*}", self._api)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_IN))
        self._loop_task = asyncio.create_task(self._send_when_due())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [task for task in (self._loop_task, *self._senders) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = self._session = self._loop_task = None

    # the world around it

    def user_types(self, reconnect_id: str, otp: str) -> LinkOutcome:
        """Let the user type an OTP in the Link SDK; what it causes is sent at once."""
        outcome = self.bank.submit_otp(reconnect_id, otp, self.clock.now())
        self.wake()
        return outcome

    def wake(self) -> None:
        """Look again what is due."""
        self._woken.set()

    async def advance(self, delta: timedelta) -> None:
        """Move the clock, stopping at each moment at which something is due, and wait for its deliveries.

        Raises:
            InvalidRequest: the clock cannot be moved.
        """
        if not isinstance(self.clock, Advancing):
            raise InvalidRequest("clock", "this server's clock cannot be advanced")
        end = self.clock.now() + delta
        await self.settle()
        while (
            (due := self.bank.next_due()) is not None and due <= end and (ahead := due - self.clock.now()) > timedelta()
        ):
            self.clock.advance(ahead)
            await self.settle()
        if (rest := end - self.clock.now()) > timedelta():
            self.clock.advance(rest)
        await self.settle()

    async def settle(self) -> None:
        """Send what is due and wait until it has been answered, and what that made due."""
        while self._send_due() or self._senders:
            await asyncio.wait(self._senders)
        self.wake()

    # webhooks

    async def _send_when_due(self) -> None:
        while True:
            self._woken.clear()
            self._send_due()
            due = self.bank.next_due() if self.bank.webhook_url else None
            await self._until(due)

    async def _until(self, due: datetime | None) -> None:
        """Return when it is time, or when woken."""
        if due is None:
            await self._woken.wait()
            return
        waits = {
            asyncio.create_task(self._woken.wait()),
            asyncio.create_task(self._sleep((due - self.clock.now()).total_seconds())),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    def _send_due(self) -> bool:
        """Begin to send what is due; return whether there was something. One lane sends one after the other."""
        now = self.clock.now()
        self.bank.pass_time(now)
        if not self.bank.webhook_url:
            return False
        due = self.bank.deliveries_due(now)
        for delivery in due:
            lane = self._lanes.get(delivery.lane)
            if lane is not None:
                lane.append(delivery)
                continue
            self._lanes[delivery.lane] = deque([delivery])
            task = asyncio.create_task(self._drain(delivery.lane))
            self._senders.add(task)
            task.add_done_callback(self._senders.discard)
        return bool(due)

    async def _drain(self, name: str) -> None:
        lane = self._lanes[name]
        try:
            while lane:
                await self._post(lane.popleft())
        finally:
            del self._lanes[name]
            self.wake()  # an attempt that failed is due again later

    async def _post(self, delivery: Delivery) -> None:
        """Send one attempt. A receiver that is late, gone or speaks no HTTP has not answered."""
        if self._session is None:
            return
        status: int | None = None
        try:
            async with self._session.post(
                delivery.url, data=delivery.body, headers=delivery.headers, allow_redirects=False
            ) as response:
                await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            status = None
        finally:
            self.bank.delivered(delivery.id, status, self.clock.now())

    # HTTP

    async def _api(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        call = Call(
            method=request.method,
            path=request.rel_url.raw_path,
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body or None,
        )
        exchange = self.bank.handle(call, self.clock.now())
        if self.bank.webhook_url:
            for delivery in self.bank.deliveries_due(self.clock.now(), early=True):
                await self._post(delivery)
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
