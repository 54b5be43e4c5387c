"""What leanflow asks of the outside world: Store, Transport, Bus and Clock, written as promises.

An adapter is anything that keeps these promises; `leanflow.testing` has a suite for each that holds it to them,
sentence by sentence. The longest of them, `Store`, is written in `_store_port`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from leanflow._call import Answer, Call
from leanflow._rows import (
    WAKE,
    Announcement,
    Body,
    Claimed,
    Committed,
    Created,
    Creation,
    Erased,
    HistoryEntry,
    InboxEntry,
    OutboxRow,
    Outcome,
    ParkedEvent,
    Parking,
    Part,
    Query,
    Reencrypted,
    Sink,
    Step,
    WakeRow,
)
from leanflow._store_port import KEYS, REENCRYPTED, Blocking, Encrypting, Hearing, Hinting, Store

__all__ = [
    "KEYS",
    "REENCRYPTED",
    "WAKE",
    "Announcement",
    "Blocking",
    "Body",
    "Bus",
    "Claimed",
    "Clock",
    "Committed",
    "Created",
    "Creation",
    "Encrypting",
    "Erased",
    "Filtering",
    "Hearing",
    "Hinting",
    "HistoryEntry",
    "InboxEntry",
    "OutboxRow",
    "Outcome",
    "ParkedEvent",
    "Parking",
    "Part",
    "Query",
    "Reencrypted",
    "Sink",
    "Step",
    "Store",
    "Transport",
    "WakeRow",
]


class Transport(Protocol):
    """Sends calls to Lean. Owns hosts and authentication. Built cold: no event loop and no I/O before the first call.

    Promises that hold for both methods: many callers may be under way at once, and none waits for another's answer.
    Cancelling one takes nothing from the others. A token is asked for once however many wait for it, and kept until it
    nears its end. No secret is shown by `repr`.

    One that knows what it calls may say so: an `environment` (``sandbox``, ``production``) and a `region` (``uae``,
    ``ksa``). An engine that was given none of its own has these, and refuses to have others. One that knows as which
    application it calls may say that, too: its id, as `app`. Prompts carry it where the engine was given none.
    """

    async def send(self, call: Call) -> Answer:
        """Send one call and return what came back, whatever its status and whatever its body; a redirect too.

        Method, path, query, headers and body arrive as they are in the call, with the authentication. Status and body
        come back as they were sent, the headers' names in lower case. Nothing is sent twice, except once more after a
        401, with a fresh token: a second 401 is the answer.

        Raises:
            CallFailed: no whole answer came within the transport's timeout. `maybe_sent` is False only when Lean
                certainly has not worked on the call, and always when no token was to be had.
        """
        ...

    async def token(self, customer_id: str) -> str | None:
        """Return a customer-scoped token for the Link SDK with more than 10 minutes left, or None if there are none.

        Raises:
            CallFailed: there is none to be had.
        """
        ...

    async def aclose(self) -> None:
        """Close what this transport opened; what it was handed stays open. Closing a closed one does nothing.

        What is under way then ends soon: with its answer, or as `CallFailed`.
        """
        ...


class Bus(Protocol):
    """Publishes announcements; outgoing only, at least once. Built cold: no I/O before `open`."""

    @property
    def name(self) -> str:
        """The sink's name: stable, unique within a deployment."""
        ...

    async def open(self) -> None:
        """Connect. Opening an open bus is an error; a closed one may be opened again."""
        ...

    async def publish(self, batch: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        """Publish a batch; return for each row, in its order, None once the broker has it durably, or what went wrong.

        A message carries its row's key as its id, the same on a repeat, so that consumers can drop what they have; and
        its kind, its request's id and its payload as they are. Rows of one request reach the broker in the order of the
        batch. A row that the broker refuses costs no other row. A broker that is away is an error for each row, and
        never one for the whole; nothing is published again behind the caller's back once it is told that it was not.

        A broker that is away or never answers is `BusUnavailable`, `ConnectionError` or `TimeoutError`, which counts
        against no row: those are tried until it is back. Anything else counts as a try, and in the end the row is set
        aside. One that takes longer than `Policy.bus_timeout` is left, and taken for away.

        Raises:
            NotStarted: the bus is not open.
        """
        ...

    async def aclose(self) -> None:
        """Finish what is in flight and close what this bus opened. Closing a closed bus does nothing."""
        ...


@runtime_checkable
class Filtering(Protocol):
    """What a bus may have besides: a wish to get some announcements only. Without it a bus gets changes and reports."""

    @property
    def sink(self) -> Sink:
        """What it wants, under its name."""
        ...


class Clock(Protocol):
    """Tells the time and passes it."""

    def now(self) -> datetime:
        """Return the present time, aware, UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once so many seconds have passed on this clock."""
        ...


class RandomSource(Protocol):
    """Where the engine's jitter comes from; `random.Random` keeps it."""

    def random(self) -> float:
        """Return a number from 0 up to, not including, 1."""
        ...
