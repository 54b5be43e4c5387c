"""Acts: what somebody does, of which an event for a request comes. Made from the record alone, as the wire has it.

An act is one line of a play. It says when it happens and what it is, both read from the request as it stands, so that
the same act can be tried by `decide` alone and played through a whole engine: Lean's answers and webhooks are bytes,
which leanflow's own parsers read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

import attrs

from leanflow import calls
from leanflow._call import Answer, Call
from leanflow._due import Action, end_of, is_collectable, next_action
from leanflow._lean.answers import parse_answer
from leanflow._lean.webhooks import parse_webhook
from leanflow._request import DataRequest, State
from leanflow.events import (
    ActionDue,
    BankReturned,
    CallBroke,
    Cancelled,
    ConsentLost,
    EntityProvedLive,
    Event,
    Hinted,
    Nudged,
    Prompted,
    Renewed,
)
from leanflow.testing._wire import ANSWERS, WEBHOOKS, announced

__all__ = ["ACTS", "MOVES", "Act", "Actor", "When", "answer_to", "call_of"]

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


class Actor(StrEnum):
    """Who acts."""

    answer = "answer"  # Lean, asked
    webhook = "webhook"  # Lean, by itself
    application = "application"
    leanflow = "leanflow"  # another request, another worker, or a look at the entity
    clock = "clock"  # nobody: time passes


class When(StrEnum):
    """When somebody acts."""

    due = "due"  # as soon as the request is due
    wait_over = "wait_over"  # nobody worked meanwhile: only when its wait is over
    end = "end"  # nobody worked meanwhile: only at its end
    soon = "soon"  # a second later, nothing being due before
    dead = "dead"  # when its reconnect id has died, and nothing is due


@attrs.frozen(kw_only=True)
class Act:
    """One thing that somebody does.

    Attributes:
        name: as in the names of paths.
        actor: who does it.
        when: it happens.
        make: returns what is done to a request at a time, or None where it cannot be: a webhook's bytes, an `Answer`
            (None as answer: silence), or the event itself.
        needs: what must be due for it.
    """

    name: str
    actor: Actor
    when: When
    make: Callable[[DataRequest, datetime], Any]
    needs: frozenset[Action] = frozenset()

    def at(self, request: DataRequest, now: datetime) -> datetime | None:
        """Return when it would happen, or None if it cannot happen to this request."""
        at = _moment_of(request, self.when, now)
        if at is None or (self.needs and next_action(request, at) not in self.needs):
            return None
        return at

    def event(self, request: DataRequest, at: datetime) -> Event | None:
        """Return the event that comes of it, not stamped; None if it cannot happen."""
        made = self.make(request, at)
        if made is None:
            return None
        if self.actor is Actor.webhook:
            return parse_webhook(made)
        if self.actor is Actor.answer:
            return _heard(call_of(request, at), request.call_no, made)
        event: Event = made
        return event


def _moment_of(request: DataRequest, when: When, now: datetime) -> datetime | None:
    """Return when a moment of a request comes, or None if it does not, or is the same as that of its being due."""
    due_at = request.due_at
    match when:
        case When.due:
            return None if due_at is None else max(now, due_at)
        case When.wait_over | When.end:
            at = request.wait_until if when is When.wait_over else end_of(request)
            return at if due_at is not None and at is not None and now < due_at < at else None
        case When.soon:
            return _unless_due(request, now + _SECOND)
        case When.dead:
            dead_at = request.expires_at
            return None if dead_at is None or dead_at <= now else _unless_due(request, dead_at)


def _unless_due(request: DataRequest, at: datetime) -> datetime | None:
    return at if request.due_at is None or request.due_at > at else None


# --- Lean answers ------------------------------------------------------------------------------------------------


def call_of(request: DataRequest, at: datetime) -> Call:
    """Return the call that is due for a request."""
    return calls.place(request) if next_action(request, at) is Action.place else calls.collect(request)


def answer_to(act: Act, request: DataRequest, at: datetime) -> Answer | None:
    """Return what Lean answers in an act; None: nothing comes back."""
    made: Answer | CallBroke = act.make(request, at)
    return made if isinstance(made, Answer) else None


def _heard(call: Call, call_no: int, made: Answer | CallBroke) -> Event:
    if isinstance(made, Answer):
        return parse_answer(call, made).numbered(call_no)
    return attrs.evolve(made, source=calls.source_of(call), call_no=call_no)


_ASKING = frozenset({Action.place, Action.probe, Action.fetch})

_LATE = frozenset({"ok", "pending", "reconnect", "not-ready", "silence"})
"""Answers that are also tried when nobody has worked for as long as the wait, or the request, lasts."""


def _answers() -> Iterator[Act]:
    for name, make in ANSWERS:
        yield Act(name=name, actor=Actor.answer, when=When.due, make=make, needs=_ASKING)
    for when, suffix in ((When.wait_over, "at-last"), (When.end, "at-the-end")):
        for name, make in ANSWERS:
            if name in _LATE:
                yield Act(name=f"{name}-{suffix}", actor=Actor.answer, when=when, make=make, needs=_ASKING)


# --- Lean announces ----------------------------------------------------------------------------------------------


def _webhooks() -> Iterator[Act]:
    for kind in WEBHOOKS:
        for variant in ("", "untimed", "before", "of-the-past"):
            yield _webhook_act(kind, variant)
    yield _webhook_act("entity.data.refresh.updated", "", status="OK")
    yield _webhook_act("entity.data.refresh.updated", "", status="PENDING")
    yield _webhook_act("entity.data.refresh.updated", "untimed", status="PENDING")


def _webhook_act(kind: str, variant: str, status: str = "") -> Act:
    parts = (kind.removeprefix("entity.data.").replace(".", "-"), variant, status.lower())
    name = "-".join(part for part in parts if part)
    make = partial(announced, kind=kind, variant=variant, status=status or "FINISHED")
    return Act(name=name, actor=Actor.webhook, when=When.soon, make=make)


# --- the application acts, others act, time passes -----------------------------------------------------------------


def _hint(request: DataRequest, _at: datetime, *, status: str) -> Hinted | None:
    return Hinted(prompt_number=request.prompt_number, status=status) if request.prompt_number else None


def _old_hint(request: DataRequest, _at: datetime) -> Hinted | None:
    return Hinted(prompt_number=request.prompt_number - 1, status="CANCELLED") if request.prompt_number else None


def _renewed(request: DataRequest, _at: datetime, *, again: bool) -> Renewed | None:
    if request.state not in _RENEWABLE or again is not (request.successor_id is not None):
        return None
    return Renewed(successor_id="the-successor")


def _renewed_out_of_turn(request: DataRequest, _at: datetime) -> Renewed | None:
    return None if request.state in _RENEWABLE else Renewed(successor_id="the-successor")


_RENEWABLE = (State.expired, State.failed)


def _proved(request: DataRequest, at: datetime, *, before: bool = False) -> EntityProvedLive | None:
    if before:
        started = request.round_started_at
        return None if started is None else EntityProvedLive(proved_at=started - _DAY)
    return EntityProvedLive(proved_at=at)


def _in_flight(
    request: DataRequest, at: datetime, *, make: Callable[[DataRequest, datetime], Answer | CallBroke | None]
) -> Event | None:
    made = make(request, at) if request.state.is_end and is_collectable(request) else None
    return None if made is None else _heard(calls.collect(request), request.call_no, made)


def _overtaken(
    request: DataRequest, at: datetime, *, make: Callable[[DataRequest, datetime], Answer | CallBroke | None]
) -> Event | None:
    made = make(request, at) if not request.state.is_end and is_collectable(request) and request.call_no > 1 else None
    return None if made is None else _heard(calls.collect(request), request.call_no - 1, made)


_IN_FLIGHT = frozenset({"ok", "pending", "reconnect", "bank-issue", "silence"})


def _time_is_up(request: DataRequest, at: datetime) -> ActionDue:
    action = next_action(request, at)
    assert action is not None, "the act needs one to be due"
    return ActionDue(action=action.value)


def _application() -> Iterator[Act]:
    def act(name: str, make: Callable[[DataRequest, datetime], Event | None], when: When = When.soon) -> Act:
        return Act(name=name, actor=Actor.application, when=when, make=make)

    yield act("prompt", lambda _request, _at: Prompted())
    yield act("prompt-too-late", lambda _request, _at: Prompted(), When.dead)
    for status in ("SUCCESS", "CANCELLED", "ERROR"):
        yield act(f"hint-{status.lower()}", partial(_hint, status=status))
    yield act("hint-of-the-past", _old_hint)
    yield act("cancel", lambda _request, _at: Cancelled())
    yield act("renew", partial(_renewed, again=False))


def _others() -> Iterator[Act]:
    def act(name: str, make: Callable[[DataRequest, datetime], Event | None]) -> Act:
        return Act(name=name, actor=Actor.leanflow, when=When.soon, make=make)

    yield act("entity-live", _proved)
    yield act("entity-live-before", partial(_proved, before=True))
    yield act("bank-back", lambda _request, _at: BankReturned())
    yield act("nudge", lambda _request, _at: Nudged())
    yield act("consent-lost", lambda _request, _at: ConsentLost())
    # A worker that was overtaken: what it found due is no longer so when its event is decided.
    yield act("overtaken-give-up", lambda _request, _at: ActionDue(action=Action.give_up))
    yield act("overtaken-expire", lambda _request, _at: ActionDue(action=Action.expire))
    yield act("renewed-again", partial(_renewed, again=True))
    yield act("renewed-out-of-turn", _renewed_out_of_turn)
    # A call was under way when something else happened: its answer comes to a request that has ended, or asked again.
    for name, make in ANSWERS:
        if name in _IN_FLIGHT:
            yield act(f"{name}-after-the-end", partial(_in_flight, make=make))
            yield act(f"{name}-to-an-older-call", partial(_overtaken, make=make))


def _clock() -> Iterator[Act]:
    for action, name in ((Action.give_up, "wait-over"), (Action.expire, "age")):
        yield Act(name=name, actor=Actor.clock, when=When.due, make=_time_is_up, needs=frozenset({action}))


ACTS: tuple[Act, ...] = (*_answers(), *_webhooks(), *_application(), *_others(), *_clock())
"""Every act, in the order in which a path prefers them."""

_ODD = (
    "-before",
    "-of-the-past",
    "-too-late",
    "-again",
    "-out-of-turn",
    "updated-pending",
    "untimed-pending",
    "-after-the-end",
    "-to-an-older-call",
)
MOVES: tuple[Act, ...] = tuple(
    act for act in ACTS if not act.name.startswith("overtaken") and not act.name.endswith(_ODD)
)
"""Acts that move a request where they can; the others are there to be declined."""
