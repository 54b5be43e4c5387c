"""`decide`: what one event means for one request. Pure: time comes in the event.

The table in `_table` is executed by `transitions`, which owns no state here: one module-level machine without a model,
and per event a throwaway cursor. The three small overrides below are why that costs half a microsecond and not seven
(`benchmarks` shows it); a property test holds this machine to a stock one built from the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Self, cast

import attrs
from transitions import Event as _StockTriggers, Machine, Transition

from leanflow._due import due_time
from leanflow._effects import Accepted, Announce, Decision, Declined, Effect, Reason, StorePages, Wake, WakeReason
from leanflow._policy import Policy
from leanflow._request import DataRequest, IdKind, Resource, State
from leanflow._table import SAME, TABLE, Row, check, early_triggers
from leanflow.events import (
    AnsweredOk,
    AnsweredPending,
    AnsweredReconnect,
    AnswerEvent,
    EntityReconnected,
    Event,
    Hinted,
    RefreshUpdated,
    ResultsReady,
    Source,
    WebhookEvent,
)

__all__ = ["DEFAULT_POLICY", "RULES", "Rules", "build_machine", "decide", "decide_by", "row_taken"]

DEFAULT_POLICY: Final = Policy()
_NO_EFFECTS: tuple[Effect, ...] = ()


class _Cursor:
    """Where one event finds the request, and the row that it takes."""

    __slots__ = ("declined_by", "row", "state")

    def __init__(self, state: State) -> None:
        self.state = state
        self.row: Row | None = None
        self.declined_by: str | None = None


class _RowTransition(Transition):
    """A transition that remembers its row and does nothing but name it."""

    def __init__(self, *args: Any, row: Row, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.row = row


class _Triggers(_StockTriggers):
    """The rows of one trigger, tried in order, without the stock's event data, callbacks and queues."""

    transitions: dict[str, list[_RowTransition]]  # type: ignore[assignment]  # ours are of our class

    def trigger(self, cursor: _Cursor, *args: Any) -> bool:  # type: ignore[override]  # ours takes no keywords
        """Let `cursor` take the first row whose guards hold; return whether there was one."""
        for transition in self.transitions.get(cursor.state, ()):
            row = transition.row
            for guard in row.guards:
                if not guard(*args):
                    cursor.declined_by = guard.__name__
                    break
            else:
                cursor.row = row
                return True
        return False


class _TableMachine(Machine):
    transition_cls = _RowTransition
    event_cls = _Triggers


def build_machine(table: tuple[Row, ...], machine_cls: type[Machine] = _TableMachine) -> Machine:
    """Return a machine without a model, made of the table's rows."""
    machine = machine_cls(model=None, states=State, initial=State.requested, auto_transitions=False)
    for row in table:
        extra: dict[str, Any] = {"row": row} if issubclass(machine.transition_cls, _RowTransition) else {}
        for source in row.sources:
            dest = source if row.dest is SAME else row.dest
            machine.add_transition(row.trigger, source, dest, conditions=list(row.guards), **extra)
    return machine


@attrs.frozen
class Rules:
    """A table made ready to decide by: its rows by trigger, and what is early in each state."""

    rows: Mapping[str, _Triggers]
    early: Mapping[State, frozenset[str]]

    @classmethod
    def of(cls, table: tuple[Row, ...]) -> Self:
        """Return the rules of a table, which is not checked."""
        return cls(cast(Mapping[str, _Triggers], build_machine(table).events), early_triggers(table))


check(TABLE)
RULES: Final = Rules.of(TABLE)


def decide(request: DataRequest, event: Event, policy: Policy = DEFAULT_POLICY) -> Decision:
    """Return what an event means for a request: the new record and what must be done, or why nothing.

    Args:
        request: as stored.
        event: stamped with the time at which it was taken in.
        policy: waits and budgets.

    Raises:
        ValueError: the event has no time; use `event.stamped(at)`.
    """
    return decide_by(RULES, request, event, policy)


def decide_by(rules: Rules, request: DataRequest, event: Event, policy: Policy) -> Decision:
    """Return what an event means for a request by the rules of a table: see `decide`."""
    if event.at is None:
        msg = "the event has no time: use event.stamped(at)"
        raise ValueError(msg)
    ids = _ids_brought(request, event)
    misplaced = _misplaced(request, event)
    if misplaced is not None:
        return Declined(reason=misplaced, ids=ids)
    cursor = _Cursor(request.state)
    triggers = rules.rows.get(event.tag)
    if triggers is None or not triggers.trigger(cursor, request, event, policy):
        return _declined(rules, request, event, cursor, ids)
    row = cursor.row
    assert row is not None
    moved = _moved(request, event.at, row, row.change(request, event, policy))
    return Accepted(request=moved, trigger=row.trigger, effects=_effects(request, moved, event), ids=ids)


def row_taken(request: DataRequest, event: Event, policy: Policy = DEFAULT_POLICY) -> Row | None:
    """Return the row that an event takes; None if it is declined. For those who look at the machine, as tests do."""
    cursor = _Cursor(request.state)
    if _misplaced(request, event) is None and event.tag in RULES.rows:
        RULES.rows[event.tag].trigger(cursor, request, event, policy)
    return cursor.row


# --- is it for this round at all? --------------------------------------------------------------------------------


def _misplaced(request: DataRequest, event: Event) -> Reason | None:
    if isinstance(event, AnswerEvent):
        return _misplaced_answer(request, event)
    if isinstance(event, WebhookEvent):
        return _misplaced_webhook(request, event)
    if isinstance(event, Hinted) and event.prompt_number != request.prompt_number:
        return Reason.stale
    return None


def _misplaced_answer(request: DataRequest, event: AnswerEvent) -> Reason | None:
    """An older call's answer counts where nothing newer is known; a placement's only in `requested`, or as data."""
    if event.call_no is not None and event.call_no < request.call_no:
        waits = isinstance(event, (AnsweredPending, AnsweredReconnect))  # a refusal is of that call alone, ids or not
        named = event.results_id is not None or event.reconnect_id is not None or event.refresh_id is not None
        brings = isinstance(event, AnsweredOk) or (waits and named)
        if not (request.state is State.requested and request.ids_call_no < event.call_no and brings):
            return Reason.late if request.state.is_end else Reason.stale
    if event.source is Source.placement and request.state is not State.requested and not isinstance(event, AnsweredOk):
        return Reason.late
    return None


def _misplaced_webhook(request: DataRequest, event: WebhookEvent) -> Reason | None:
    """Only a matching id is of this round; where ids repeat, Lean's clock tells the rounds apart."""
    if isinstance(event, ResultsReady):
        matches = event.results_id == request.results_id
    elif isinstance(event, EntityReconnected):
        matches = event.reconnect_id == request.reconnect_id
    elif isinstance(event, RefreshUpdated):
        matches = event.refresh_id == request.refresh_id
    else:
        return None
    if not matches:
        return Reason.late if request.state.is_end else Reason.stale
    before = (
        request.ids_repeat
        and event.timestamp is not None
        and request.round_started_at is not None
        and event.timestamp < request.round_started_at
    )
    return Reason.stale if before else None


def _declined(
    rules: Rules, request: DataRequest, event: Event, cursor: _Cursor, ids: tuple[tuple[IdKind, str], ...]
) -> Declined:
    if cursor.declined_by is not None:
        return Declined(reason=Reason.guard, guard=cursor.declined_by, ids=ids)
    if isinstance(event, WebhookEvent) and event.tag in rules.early[request.state]:
        return Declined(reason=Reason.early, ids=ids)
    if isinstance(event, (AnswerEvent, WebhookEvent, Hinted)):
        return Declined(reason=Reason.late, ids=ids)
    return Declined(reason=Reason.guard, guard="state", ids=ids)


# --- the new record, and what follows from it --------------------------------------------------------------------


def _moved(request: DataRequest, at: datetime, row: Row, fields: dict[str, Any]) -> DataRequest:
    fields["version"] = request.version + 1
    fields["updated_at"] = at
    if row.dest is not SAME:
        fields["state"] = row.dest
    moved = request.moved(fields)
    # `due_at` is read from the finished record, which is not shared yet and may be set in place.
    moved.__dict__["due_at"] = due_time(moved)
    return moved


def _effects(request: DataRequest, moved: DataRequest, event: Event) -> tuple[Effect, ...]:
    if moved.state is request.state and moved.round == request.round:
        return _NO_EFFECTS
    effects: list[Effect] = [Announce(from_state=request.state, to_state=moved.state)]
    if isinstance(event, AnsweredOk) and moved.state is State.fetched:
        effects.append(StorePages(pages=event.pages))
    if _proves_live(request, event):
        proved_at = event.timestamp if isinstance(event, (AnswerEvent, WebhookEvent)) else None
        effects.append(Wake(reason=WakeReason.live, entity_id=request.entity_id, proved_at=proved_at))
    return tuple(effects)


def _proves_live(request: DataRequest, event: Event) -> bool:
    """The bank lets the entity in: `entity.reconnected`, or results, even announced, where the user was wanted."""
    if isinstance(event, EntityReconnected):
        return True
    wanted = request.state.needs_user or request.state is State.reconnected
    return wanted and isinstance(event, (ResultsReady, AnsweredOk)) and request.resource is not Resource.refresh


def _ids_brought(request: DataRequest, event: Event | AnswerEvent) -> tuple[tuple[IdKind, str], ...]:
    """Return the ids by which Lean may name the request from this answer on, and did not before."""
    if not isinstance(event, AnswerEvent):
        return ()
    ids: list[tuple[IdKind, str]] = []  # spelt out: a generator costs a tenth of `decide`
    if event.results_id is not None and event.results_id != request.results_id:
        ids.append((IdKind.results, event.results_id))
    if event.reconnect_id is not None and event.reconnect_id != request.reconnect_id:
        ids.append((IdKind.reconnect, event.reconnect_id))
    if event.refresh_id is not None and event.refresh_id != request.refresh_id:
        ids.append((IdKind.refresh, event.refresh_id))
    return tuple(ids)
