"""The front end's routes for applications that block: the same as `_awaiting`, over `leanflow.blocking`."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol

from leanflow._call import Reply
from leanflow._prompts import ReconnectPrompt
from leanflow._request import DataRequest
from leanflow.errors import NotStarted, RequestNotFound
from leanflow_adapters.web._awaiting import newer
from leanflow_adapters.web._front_end import (
    BEAT,
    LATER,
    RETRY,
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

__all__ = ["THREADED_STREAMS", "BlockingAsking", "BlockingFrontEnd"]

THREADED_STREAMS = Streams(at_once=4, heartbeat=5.0, seconds=20.0)
"""Under WSGI a stream holds one of the server's threads: few, and short of the 30 s after which gunicorn kills."""


class BlockingAsking(Protocol):
    """What answers a front end: `leanflow.blocking.LeanFlow` does."""

    def get(self, request_id: str, /) -> DataRequest:
        """Return a request."""
        ...

    def prompt(self, request_id: str, /) -> ReconnectPrompt:
        """Hand out the prompt."""
        ...

    def callback(self, request_id: str, payload: Mapping[str, Any], /, *, prompt: int) -> DataRequest:
        """Take the Link SDK's word."""
        ...

    def run(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Call a coroutine function with the engine."""
        ...


class BlockingFrontEnd:
    """Answers visits, in any number of threads.

    Args:
        flows: the engine.
        authorise: the application's hook; without one nobody is let in.
        streams: how many there may be, and for how long.
    """

    def __init__(self, flows: BlockingAsking, authorise: Authorise | None, streams: Streams) -> None:
        self._flows = flows
        self._authorise = authorise
        self._streams = streams
        self._lock = threading.Lock()
        self._open = 0

    def answer(self, visit: Visit[bytes]) -> Reply | Iterator[bytes]:
        """Return the answer to a visit, or the stream of events that is the answer."""
        try:
            request_id, action = route_of(visit.method, visit.path)
            hook = check_hook(self._authorise)
            request = self._flows.get(request_id)
            verdict = hook(visit.http, request)
            allow(asyncio.run(_awaited(verdict)) if inspect.isawaitable(verdict) else verdict)
            return self._do(action, request, visit)
        except Exception as error:  # noqa: BLE001 - what is no refusal is raised again
            return problem_of(error)

    def _do(self, action: str, request: DataRequest, visit: Visit[bytes]) -> Reply | Iterator[bytes]:
        match action:
            case "prompt":
                return handed_out(self._flows.prompt(request.id))
            case "callback":
                number, payload = parse_callback(visit.read())
                return taken(self._flows.callback(request.id, payload, prompt=number))
            case "events":
                return self._stream(request, visit)
            case _:
                return looked(request)

    def _stream(self, request: DataRequest, visit: Visit[bytes]) -> Reply | Iterator[bytes]:
        seen = seen_by(visit.last_event_id)
        if request.state.is_end and request.version <= seen:
            return Reply(status=204)  # a browser that gets this does not come again
        self._streams.check(self._open)
        # HEAD: a stream's headers, and its end at once.
        return iter(()) if visit.method == "HEAD" else self._events(request, seen)

    def _events(self, request: DataRequest, seen: int) -> Iterator[bytes]:
        """Yield the request's progress, each version after `seen` once, the last of those that came together."""
        end = time.monotonic() + self._streams.seconds
        if not self._begin():
            yield LATER
            return
        try:
            yield RETRY
            while True:
                if request.version > seen:
                    yield event_of(request)
                    seen = request.version
                left = min(self._streams.heartbeat, end - time.monotonic())
                if request.state.is_end or left <= 0:
                    return
                later: DataRequest | None = self._flows.run(newer, request, left)
                if later is None:
                    yield BEAT  # who has left is noticed when this cannot be sent
                else:
                    request = later
        except (RequestNotFound, NotStarted):
            return  # erased or purged meanwhile; or the engine closes
        finally:
            with self._lock:
                self._open -= 1

    def _begin(self) -> bool:
        """Count one more, unless there are too many: whoever was let in counts only from here on."""
        with self._lock:
            is_room = self._open < self._streams.at_once
            self._open += is_room
        return is_room


async def _awaited(verdict: Awaitable[bool]) -> bool:
    return await verdict
