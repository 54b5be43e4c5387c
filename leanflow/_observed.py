"""The engine's parts as an observer sees them: each does what it did, surrounded. Without an observer: the plain parts.

The observer is asked here and in `Operations._make` and `Commands.receive`, and nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from leanflow._call import Answer, Call
from leanflow._caller import Caller
from leanflow._notify import Notifier
from leanflow._receiving import Receiver, Taken
from leanflow._relay import Audience, Relay
from leanflow._request import DataRequest
from leanflow._settings import Settings
from leanflow._steps import Stepped as Outcome, Steps, Stir
from leanflow.events import AnswerEvent, Event
from leanflow.observing import Called, Observer, Received, Sent, Stepped, Told, seeing
from leanflow.ports import Bus, Claimed, Clock, OutboxRow, Store, Transport

__all__ = ["caller_of", "keep_looking", "receiver_of", "relay_of", "starting", "steps_of", "transport_of"]

_log = logging.getLogger("leanflow.engine")


def transport_of(transport: Transport, observer: Observer | None) -> Transport:
    """Return what calls Lean."""
    return transport if observer is None else _Transport(transport, observer)


def steps_of(settings: Settings, store: Store, notifier: Notifier, stir: Stir, *, is_final: bool = True) -> Steps:
    """Return what steps."""
    given = (store, settings.scope, settings.policy, notifier, stir)
    if settings.observer is None:
        return Steps(*given, is_final=is_final)
    return _Steps(settings.observer, *given, is_final=is_final)


def caller_of(settings: Settings, store: Store, steps: Steps, owner: str) -> Caller:
    """Return what makes the calls."""
    given = (settings, store, steps, owner)
    return Caller(*given) if settings.observer is None else _Caller(settings.observer, *given)


def relay_of(settings: Settings, store: Store, steps: Steps, audience: Audience, owner: str) -> Relay:
    """Return what relays the outbox."""
    given = (settings, store, steps, audience, owner)
    return Relay(*given) if settings.observer is None else _Relay(settings.observer, *given)


def receiver_of(settings: Settings, steps: Steps, secrets: tuple[str, ...]) -> Receiver:
    """Return what takes webhooks in."""
    given = (settings, steps, secrets)
    return Receiver(*given) if settings.observer is None else _Receiver(settings.observer, *given)


def starting(observer: Observer | None) -> AbstractContextManager[None]:
    """Return what surrounds the start of the workers."""
    return nullcontext() if observer is None else seeing(observer.starting, None)


async def keep_looking(observer: Observer, engine: Any, clock: Clock) -> None:
    """Have the observer look at the store now and then, until cancelled."""
    while observer.every is not None:
        try:
            observer.looked(await engine.counts(), await engine.health(), clock.now())
        except Exception:  # noqa: BLE001 - whatever it is, the next look may do
            _log.warning("the observer did not get to see the store", exc_info=True)
        await clock.sleep(observer.every)


class _Transport:
    """A transport whose calls are seen."""

    def __init__(self, transport: Transport, observer: Observer) -> None:
        self._transport = transport
        self._observer = observer

    async def send(self, call: Call) -> Answer:
        with seeing(self._observer.sending, Sent(), call) as sent:
            answer = sent.answer = await self._transport.send(call)
        return answer

    async def token(self, customer_id: str) -> str | None:
        return await self._transport.token(customer_id)

    async def aclose(self) -> None:
        await self._transport.aclose()


class _Steps(Steps):
    def __init__(self, observer: Observer, *given: Any, is_final: bool) -> None:
        super().__init__(*given, is_final=is_final)
        self._observer = observer

    async def apply(
        self, request_id: str, event: Event, *, release: str | None = None, announce: bool = True
    ) -> Outcome:
        with seeing(self._observer.stepping, Stepped(), request_id, event) as seen:
            outcome = await super().apply(request_id, event, release=release, announce=announce)
            seen.request, seen.decision = outcome.request, outcome.decision
        return outcome


class _Caller(Caller):
    def __init__(self, observer: Observer, *given: Any) -> None:
        super().__init__(*given)
        self._observer = observer

    async def run(self, claimed: Claimed) -> None:
        with seeing(self._observer.working, None, claimed.request):
            await super().run(claimed)

    async def _call(self, request: DataRequest, asking: Awaitable[AnswerEvent]) -> None:
        await super()._call(request, self._seen(request, asking))

    async def _seen(self, request: DataRequest, asking: Awaitable[AnswerEvent]) -> AnswerEvent:
        with seeing(self._observer.calling, Called(), request) as called:
            event = called.event = await asking
        return event


class _Relay(Relay):
    def __init__(self, observer: Observer, *given: Any) -> None:
        super().__init__(*given)
        self._observer = observer

    async def _handle(self, row: OutboxRow) -> None:
        with seeing(self._observer.telling, Told(), row.sink, [row]):
            await super()._handle(row)

    async def _publish(self, bus: Bus, rows: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        with seeing(self._observer.telling, Told(), bus.name, rows) as told:
            errors = told.errors = await super()._publish(bus, rows)
        return errors


class _Receiver(Receiver):
    def __init__(self, observer: Observer, *given: Any) -> None:
        super().__init__(*given)
        self._observer = observer

    async def take(self, headers: Mapping[str, str], raw_body: bytes) -> Taken:
        with seeing(self._observer.receiving, Received()) as received:
            taken = await super().take(headers, raw_body)
            received.verdict, received.event, received.reply = taken.verdict.value, taken.event, taken.reply
        return taken
