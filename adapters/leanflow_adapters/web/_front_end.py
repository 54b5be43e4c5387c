"""What a front end may ask of a request, whatever the framework: its progress, the prompt, and to pass the SDK's word.

Answers are values (`Reply`), refusals are JSON problem documents (RFC 9457), progress is told as Server-Sent Events.
Nothing here knows a framework, or waits for anything; `_awaiting` puts it together for those that await.

Below the path at which an application puts them there are four routes:

======  ==================  ================================================================================
GET     ``{id}``            where the request is: `progress`
GET     ``{id}/events``     the same, as a stream, until it has ended
POST    ``{id}/prompt``     ``{"number": 1, "reconnect": {…}}``: the latter is the argument of `Lean.reconnect`
POST    ``{id}/callback``   takes ``{"number": 1, "payload": {…}}``: what the SDK's callback got
======  ==================  ================================================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import attrs

from leanflow._call import Reply
from leanflow._prompts import ReconnectPrompt
from leanflow._request import DataRequest
from leanflow.errors import CallerError, InvalidRequest, RequestNotFound, TemporaryError

from ._reading import BodyRefused

__all__ = [
    "BEAT",
    "LATER",
    "MAX_CALLBACK",
    "RETRY",
    "ROUTES",
    "STREAMS",
    "STREAM_HEADERS",
    "Authorise",
    "Problem",
    "Streams",
    "Visit",
    "allow",
    "check_hook",
    "event_of",
    "handed_out",
    "looked",
    "parse_callback",
    "problem_of",
    "progress",
    "route_of",
    "seen_by",
    "taken",
]

Body = TypeVar("Body", bytes, Awaitable[bytes])

MAX_CALLBACK = 65_536  # bytes: what the SDK says has a few hundred, a bank's answer in it included
RETRY = b"retry: 1000\n\n"  # milliseconds after which a browser whose stream has ended comes again
BEAT = b":\n\n"
LATER = b"retry: 5000\n\n"  # to whom was let in with too many others at once
STREAM_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store",
        "x-accel-buffering": "no",  # nginx would keep events back until it has a buffer of them
    }
)
ROUTES: Mapping[str, str] = MappingProxyType({"": "GET", "events": "GET", "prompt": "POST", "callback": "POST"})
"""What can be asked, and with which method."""

Authorise = Callable[[Any, DataRequest], bool | Awaitable[bool]]
"""The application's hook: given the framework's request and the record, is it theirs? Anything but True refuses."""

_NO_HOOK = (
    "these routes let nobody in: pass authorise=, a function of the HTTP request and the data request that returns "
    "True if whoever is logged in may use it"
)
_LATER = {"retry-after": "5"}
_VERSION = re.compile(r"[0-9]{1,10}", re.ASCII)


class Problem(Exception):
    """What is not done, and why: becomes a problem document."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        super().__init__(status, detail)

    def reply(self) -> Reply:
        """Return the document."""
        told = {"title": HTTPStatus(self.status).phrase, "status": self.status, "detail": self.detail}
        headers = {**self.headers, "content-type": "application/problem+json", "cache-control": "no-store"}
        return Reply(status=self.status, body=json.dumps(told).encode(), headers=headers)


def problem_of(error: Exception) -> Reply:
    """Return the problem document for what was raised; what is no refusal is raised again."""
    match error:
        case Problem():
            return error.reply()
        case RequestNotFound():
            return Problem(404, str(error)).reply()
        case InvalidRequest():
            return Problem(400, str(error)).reply()
        case BodyRefused():
            return Problem(error.status, "the body is too long, or does not come whole").reply()
        case CallerError():
            return Problem(409, str(error)).reply()
        case TemporaryError():
            return Problem(503, str(error), _LATER).reply()
        case _:
            raise error


@attrs.frozen(kw_only=True)
class Streams:
    """How many streams of progress there may be, and for how long.

    Attributes:
        at_once: open at once in this process; one more is answered 503. Each is a connection, and a wait that looks at
            the store now and then.
        heartbeat: seconds of silence after which a stream says that it lives: proxies cut what is silent for 30 to 60.
        seconds: after which a stream ends. The browser comes again, and is authorised again; and a server that stops
            need not wait longer for it.
    """

    at_once: int = 1_000
    heartbeat: float = 15.0
    seconds: float = 60.0

    def check(self, number: int) -> None:
        """Let in one more than `number`.

        Raises:
            Problem: there are too many (503).
        """
        if number >= self.at_once:
            raise Problem(503, f"{number} streams of progress are open already; look instead", _LATER)


STREAMS = Streams()


# who may


def allow(verdict: object) -> None:
    """Let in whom the application's hook let in.

    Raises:
        Problem: the verdict is anything but True (403): a coroutine that nobody awaited is no yes.
    """
    if verdict is not True:
        raise Problem(403, "this request is not yours")


def check_hook(authorise: Authorise | None) -> Authorise:
    """Return the hook.

    Raises:
        Problem: there is none (403): nobody is let in unless somebody decides who.
    """
    if authorise is None:
        raise Problem(403, _NO_HOOK)
    return authorise


# what is asked


@attrs.frozen(kw_only=True)
class Visit(Generic[Body]):
    """One HTTP request to one of the routes.

    Attributes:
        http: the framework's request, as the hook knows it.
        method: in capitals.
        path: its last one or two segments count.
        read: returns the body, or awaits it; what it raises as `BodyRefused` is answered.
        last_event_id: the header of that name.
    """

    http: Any
    method: str
    path: str
    read: Callable[[], Body]
    last_event_id: str | None = None


def route_of(method: str, path: str) -> tuple[str, str]:
    """Return the id and the action (a key of `ROUTES`) of a path, whatever stands before them.

    Raises:
        Problem: there is no such path (404), or it takes another method (405).
    """
    *before, last = path.rstrip("/").split("/")
    action = last if last in ROUTES else ""
    request_id = (before[-1] if before else "") if action else last
    if not request_id:
        raise Problem(404, "there is nothing here")
    if (wanted := ROUTES[action]) != method and (wanted, method) != ("GET", "HEAD"):
        raise Problem(405, f"use {wanted}", {"allow": wanted})
    return request_id, action


def parse_callback(raw: bytes) -> tuple[int, Mapping[str, Any]]:
    """Return the prompt's number and the SDK's payload of a callback's body.

    Raises:
        Problem: it is not ``{"number": 1, "payload": {…}}`` (400).
    """
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError):
        said = None
    match said:
        case {"number": int() as number, "payload": dict() as payload} if not isinstance(number, bool):
            return number, payload
    raise Problem(400, 'send {"number": …, "payload": {…}}: the prompt\'s number, and what the SDK called back with')


def seen_by(last_event_id: str | None) -> int:
    """Return the version that a browser has seen, by the header ``Last-Event-ID``; -1 if it has seen none."""
    return int(last_event_id) if last_event_id and _VERSION.fullmatch(last_event_id) else -1


# what is answered


def progress(request: DataRequest) -> dict[str, Any]:
    """Return what a front end may know of a request: no bank data, no ids of Lean's, no words of the bank's."""
    failure = request.failure
    return {
        "id": request.id,
        "version": request.version,
        "state": request.state,
        "wants_user": request.state.needs_user,
        "end": request.state.is_end,
        "failure": None if failure is None else {"code": failure.code, "remedy": failure.remedy},
        "successor_id": request.successor_id,
    }


def event_of(request: DataRequest) -> bytes:
    """Return the event that tells of a request's progress: its id is the version."""
    return f"id: {request.version}\ndata: {json.dumps(progress(request))}\n\n".encode()


def looked(request: DataRequest) -> Reply:
    """Answer where a request is."""
    return _json(progress(request))


def handed_out(prompt: ReconnectPrompt) -> Reply:
    """Answer with a prompt."""
    return _json({"number": prompt.number, "reconnect": prompt.to_dict()})


def taken(request: DataRequest) -> Reply:
    """Answer that the SDK's word was taken."""
    return _json({"state": request.state})


def _json(body: Mapping[str, Any]) -> Reply:
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    return Reply(status=200, body=json.dumps(body).encode(), headers=headers)
