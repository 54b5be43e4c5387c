"""Seeing what an engine does: the seam for traces and metrics.

``LeanFlow(observer=…)`` takes an `Observer`. Each of its methods surrounds one kind of work: it is entered before, is
handed a note that the engine fills in meanwhile, and is left after, with the exception if there was one. Without an
observer none of this exists: the engine is then put together of parts that know nothing of it.

An observer sees and changes nothing, with one exception: the trace context that it gives to a new request is kept in
the record (`DataRequest.traceparent`), so that what happens days later, elsewhere, can be linked to whoever asked.
It must not wait. What it raises is logged, and goes no further.
"""

# ruff: noqa: ARG002 - the base class sees nothing
from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from types import TracebackType
from typing import Generic, TypeVar

import attrs

from leanflow._call import Answer, Call, Reply
from leanflow._effects import Decision
from leanflow._health import Health
from leanflow._request import DataRequest, State
from leanflow.events import AnswerEvent, Event, WebhookEvent
from leanflow.ports import OutboxRow

__all__ = ["Asked", "Called", "Commanded", "Observer", "Received", "Sent", "Stepped", "Told", "seeing"]

_log = logging.getLogger("leanflow.engine")

N = TypeVar("N")


@attrs.define
class Asked:
    """A request that is made.

    Attributes:
        traceparent: what the record is to keep (W3C Trace Context); the observer sets it.
        request: what the caller gets: the new record, or one that was there.
        is_new: whether it was made.
    """

    traceparent: str | None = None
    request: DataRequest | None = None
    is_new: bool = False


@attrs.define
class Called:
    """What Lean was asked for a request: one placement, fetch or probe, with all its pages.

    Attributes:
        event: what the answer means.
    """

    event: AnswerEvent | None = None


@attrs.define
class Sent:
    """One HTTP call to Lean.

    Attributes:
        answer: what came back.
    """

    answer: Answer | None = None


@attrs.define
class Stepped:
    """One event for one request.

    Attributes:
        request: as stored after it.
        decision: what was decided.
    """

    request: DataRequest | None = None
    decision: Decision | None = None


@attrs.define
class Received:
    """One webhook.

    Attributes:
        verdict: what became of it: ``applied``, ``parked``, ``recorded``, ``duplicate``, ``dropped``,
            ``bad_signature``, ``malformed``, ``too_large`` or ``unavailable``.
        event: what it says; None if it was refused before it was read.
        reply: what is answered.
    """

    verdict: str | None = None
    event: WebhookEvent | None = None
    reply: Reply | None = None


@attrs.define
class Commanded:
    """One command from a bus.

    Attributes:
        command: its name, if it could be read.
        reply: what is answered.
    """

    command: str | None = None
    reply: Reply | None = None


@attrs.define
class Told:
    """Announcements handed to one sink.

    Attributes:
        errors: for each row None once it is taken, or what went wrong.
    """

    errors: Sequence[BaseException | None] = ()


class seeing(Generic[N]):  # noqa: N801 - reads like a function, as contextlib's own
    """Surround work with one method of an observer; whatever that raises, the work goes on.

    Args:
        method: the observer's.
        note: what the work fills in if the observer has none to give.
        about: what the method is called with.
    """

    def __init__(self, method: Callable[..., AbstractContextManager[N]], note: N, *about: object) -> None:
        self._method = method
        self._note = note
        self._about = about
        self._manager: AbstractContextManager[N] | None = None

    def __enter__(self) -> N:
        """Enter the observer's."""
        try:
            manager = self._method(*self._about)
            note = manager.__enter__()
        except Exception:  # noqa: BLE001 - it only looks on
            _log.exception("an observer failed; the work goes on")
            return self._note
        self._manager = manager
        return note

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the observer's; what the work raised goes on, whatever the observer says."""
        if self._manager is None:
            return
        try:
            self._manager.__exit__(kind, error, trace)
        except BaseException as raised:  # what the work raised comes through here, its cancellation too
            if raised is error:
                return
            if not isinstance(raised, Exception):
                raise
            _log.exception("an observer failed; the work goes on")


@contextmanager
def _noted(note: N) -> Iterator[N]:
    yield note


class Observer:
    """Sees nothing. Override what you want to see.

    Attributes:
        every: seconds between two looks at the store (`looked`) while an engine's workers run; None: none.
    """

    every: float | None = None

    def starting(self) -> AbstractContextManager[None]:
        """Surround the start of the workers: whatever context is set here is theirs, and not that of who opened."""
        return _noted(None)

    def asking(self, request: DataRequest) -> AbstractContextManager[Asked]:
        """Surround the making of a request, by `request` or `renew`."""
        return _noted(Asked())

    def working(self, request: DataRequest) -> AbstractContextManager[None]:
        """Surround what a worker does for a claimed request: the call, and the step with its answer."""
        return _noted(None)

    def calling(self, request: DataRequest) -> AbstractContextManager[Called]:
        """Surround the call, with all its pages, until it is known what the answer means."""
        return _noted(Called())

    def sending(self, call: Call) -> AbstractContextManager[Sent]:
        """Surround one HTTP call."""
        return _noted(Sent())

    def stepping(self, request_id: str, event: Event) -> AbstractContextManager[Stepped]:
        """Surround one step: loading, deciding, committing."""
        return _noted(Stepped())

    def receiving(self) -> AbstractContextManager[Received]:
        """Surround the taking in of one webhook."""
        return _noted(Received())

    def commanding(self, headers: Mapping[str, str]) -> AbstractContextManager[Commanded]:
        """Surround one command, that came with these headers."""
        return _noted(Commanded())

    def telling(self, sink: str, rows: Sequence[OutboxRow]) -> AbstractContextManager[Told]:
        """Surround the handing of announcements to a handler (one row) or a bus (a batch)."""
        return _noted(Told())

    def looked(self, counts: Mapping[State, int], health: Health, now: datetime) -> None:
        """See how many requests are in each state, and how the engine is."""
