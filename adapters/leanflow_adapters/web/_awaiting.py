"""The front end's routes for applications that await: who may, what is done, and the stream."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, Protocol

from leanflow._call import Reply
from leanflow._prompts import ReconnectPrompt
from leanflow._request import DataRequest
from leanflow.errors import NotStarted, RequestNotFound, StoreUnavailable

from ._front_end import (
    BEAT,
    LATER,
    RETRY,
    STREAMS,
    Authorise,
    Streams,
    Visit,
    allow,
    check_hook,
    event_of,
    handed_out,
    looked,
    parse_callback,
    problem_of,
    route_of,
    seen_by,
    taken,
)
from ._reading import check_awaits

__all__ = ["Asking", "FrontEnd", "newer"]


class Asking(Protocol):
    """What answers a front end: `LeanFlow` does."""

    async def get(self, request_id: str, /) -> DataRequest:
        """Return a request."""
        ...

    async def prompt(self, request_id: str, /) -> ReconnectPrompt:
        """Hand out the prompt."""
        ...

    async def callback(self, request_id: str, payload: Mapping[str, Any], /, *, prompt: int) -> DataRequest:
        """Take the Link SDK's word."""
        ...

    async def wait(self, request_id: str, /, *, after: int | None = None) -> DataRequest:
        """Wait until it has moved on from a version, or has ended."""
        ...


class FrontEnd:
    """Answers visits.

    Args:
        flows: the engine.
        authorise: the application's hook; without one nobody is let in.
        streams: how many there may be, and for how long.

    Raises:
        InvalidRequest: `flows` is an engine of `leanflow.blocking`.
    """

    def __init__(self, flows: Asking, authorise: Authorise | None, streams: Streams = STREAMS) -> None:
        check_awaits(flows)
        self._flows = flows
        self._authorise = authorise
        self._streams = streams
        self.open_streams = 0

    async def answer(self, visit: Visit[Awaitable[bytes]]) -> Reply | AsyncIterator[bytes]:
        """Return the answer to a visit, or the stream of events that is the answer."""
        try:
            request_id, action = route_of(visit.method, visit.path)
            hook = check_hook(self._authorise)
            request = await self._flows.get(request_id)
            verdict = hook(visit.http, request)
            allow(await verdict if inspect.isawaitable(verdict) else verdict)
            return await self._do(action, request, visit)
        except Exception as error:  # noqa: BLE001 - what is no refusal is raised again
            return problem_of(error)

    async def _do(
        self, action: str, request: DataRequest, visit: Visit[Awaitable[bytes]]
    ) -> Reply | AsyncIterator[bytes]:
        match action:
            case "prompt":
                return handed_out(await self._flows.prompt(request.id))
            case "callback":
                number, payload = parse_callback(await visit.read())
                return taken(await self._flows.callback(request.id, payload, prompt=number))
            case "events":
                return self._stream(request, visit)
            case _:
                return looked(request)

    def _stream(self, request: DataRequest, visit: Visit[Awaitable[bytes]]) -> Reply | AsyncIterator[bytes]:
        seen = seen_by(visit.last_event_id)
        if request.state.is_end and request.version <= seen:
            return Reply(status=204)  # a browser that gets this does not come again
        self._streams.check(self.open_streams)
        return _nothing() if visit.method == "HEAD" else self._events(request, seen)

    async def _events(self, request: DataRequest, seen: int) -> AsyncIterator[bytes]:
        """Yield the request's progress, each version after `seen` once, the last of those that came together."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._streams.seconds
        if self.open_streams >= self._streams.at_once:  # whoever was let in counts only from here on
            yield LATER
            return
        self.open_streams += 1
        try:
            yield RETRY
            while True:
                if request.version > seen:
                    yield event_of(request)
                    seen = request.version
                left = min(self._streams.heartbeat, end - loop.time())
                if request.state.is_end or left <= 0:
                    return
                later = await newer(self._flows, request, left)
                if later is None:
                    yield BEAT
                else:
                    request = later
        except (RequestNotFound, NotStarted):
            return  # erased or purged meanwhile; or the engine closes
        finally:
            self.open_streams -= 1


async def _nothing() -> AsyncIterator[bytes]:
    """Answer HEAD: a stream's headers, and its end at once."""
    none: tuple[bytes, ...] = ()
    for event in none:
        yield event


async def newer(flows: Asking, request: DataRequest, seconds: float) -> DataRequest | None:
    """Wait so long for a later version; a store that is down is waited for, too."""
    try:
        async with asyncio.timeout(seconds):
            try:
                return await flows.wait(request.id, after=request.version)
            except StoreUnavailable:
                await asyncio.Event().wait()
    except TimeoutError:
        pass
    return None
