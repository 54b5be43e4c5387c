"""THE table: every transition of a data request, on one page.

Rules of residence. What decides *whether* and *where to* a request moves lives here (the guards in `_guards` are the
words this page is written in). What else a move changes lives in `_changes`. That an event is for another round, another
call or another request is found out in `_machine` before the table is asked. Nothing else moves a request.

Theory of operation. A request is placed, and Lean answers with data, with patience, with a demand for its user, or with
a refusal. Answers come from two calls: the *placement*, and the *collection* (a GET of results), which is a fetch in
`results_ready` and a probe elsewhere. A probe is no transition: unless it brings data, or a new demand, the request
stays where it is. Webhooks move a request only by matching id. Hints (the Link SDK's callback) move it only between
`reconnect_required` and `awaiting_user`. Every wait has a probe and a deadline, so that nothing hangs when webhooks do
not come. Ends absorb.

Reading. For a state and a trigger, the first row whose guard holds is taken; none: the event is declined. SAME means that
the request stays where it is, though not as it is. `fresh` marks the rows that need a new placement or open a new round:
what only they could make acceptable is not early but late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from leanflow import _changes as change, _guards as when
from leanflow._policy import Policy
from leanflow._request import DataRequest, State
from leanflow.errors import InvalidTable
from leanflow.events import Event

__all__ = ["LIVE", "SAME", "TABLE", "Row", "check", "early_triggers"]

Guard = Callable[[DataRequest, Event, Policy], bool]
ChangeOf = Callable[[DataRequest, Event, Policy], dict[str, object]]

SAME = None
LIVE = (State.requested, State.reconnect_required, State.awaiting_user, State.reconnected, State.results_ready)


@attrs.frozen
class Row:
    """One row: at `trigger`, in any of `sources`, if all `guards` hold, go to `dest` and apply `change`."""

    trigger: str
    sources: tuple[State, ...]
    dest: State | None
    guards: tuple[Guard, ...]
    change: ChangeOf
    fresh: bool = False

    @property
    def guard_name(self) -> str | None:
        """The names of its guards, joined."""
        return "+".join(g.__name__ for g in self.guards) or None


def _row(
    trigger: str,
    sources: tuple[State, ...],
    dest: State | None,
    guard: Guard | tuple[Guard, ...] | None,
    apply: ChangeOf,
    *,
    fresh: bool = False,
) -> Row:
    guards = guard if isinstance(guard, tuple) else () if guard is None else (guard,)
    return Row(trigger, sources, dest, guards, apply, fresh)


(requested, reconnect_required, awaiting_user, reconnected, results_ready) = LIVE
fetched, expired, failed, cancelled = State.fetched, State.expired, State.failed, State.cancelled
user = (reconnect_required, awaiting_user)
open_ = (requested, reconnected, results_ready)
unready = (requested, reconnect_required, awaiting_user, reconnected)

# fmt: off
TABLE: tuple[Row, ...] = (
    # trigger              from                          to                  guard                               change
    # Lean answers
    _row("answered_ok",        LIVE,                         fetched,            None,                               change.end),
    _row("answered_pending",   (requested,),                 SAME,               when.placed,                        change.wait_for_results, fresh=True),
    _row("answered_pending",   LIVE,                         SAME,               when.collected,                     change.rearm),
    _row("answered_reconnect", (requested, *user),           SAME,               when.collected_same_ids,            change.rearm),
    _row("answered_reconnect", (reconnected, results_ready), SAME,               when.collected_same_ids_in_grace,   change.rearm),
    _row("answered_reconnect", LIVE,                         reconnect_required, when.rounds_left,                   change.open_round, fresh=True),
    _row("answered_reconnect", LIVE,                         failed,             None,                               change.fail_in_a_loop),
    _row("answered_refused",   user,                         SAME,               when.collected_with_no_last_word,   change.rearm),
    _row("answered_refused",   open_,                        SAME,               when.may_repeat_collection,         change.rearm),
    _row("answered_refused",   open_,                        requested,          when.budget_left,                   change.place_later, fresh=True),
    _row("answered_refused",   LIVE,                         failed,             None,                               change.fail),
    _row("call_broke",         LIVE,                         SAME,               when.collected,                     change.rearm),
    _row("call_broke",         (requested,),                 SAME,               when.unanswered_budget_left,        change.place_unanswered, fresh=True),
    _row("call_broke",         (requested,),                 failed,             None,                               change.fail_unanswered),
    # Lean announces; the id matches, or `_machine` would have declined it
    _row("results_ready",      unready,                      SAME,               when.ambiguous,                     change.look_soon),
    _row("results_ready",      unready,                      results_ready,      None,                               change.fetch_now),
    _row("entity_reconnected", user,                         SAME,               when.ambiguous,                     change.look_soon),
    _row("entity_reconnected", user,                         reconnected,        None,                               change.await_results),
    _row("refresh_updated",    unready,                      SAME,               (when.finished, when.ambiguous),    change.look_soon),
    _row("refresh_updated",    unready,                      results_ready,      when.finished,                      change.fetch_now),
    # the application acts
    _row("prompted",           user,                         awaiting_user,      when.may_be_prompted,               change.prompt),
    _row("hinted",             (awaiting_user,),             requested,          when.entity_live_since_prompt,      change.place_revived, fresh=True),
    _row("hinted",             (awaiting_user,),             reconnect_required, when.abandoned,                     change.take_back_hinted),
    _row("hinted",             (awaiting_user,),             SAME,               None,                               change.note_hint),
    _row("cancelled",          LIVE,                         cancelled,          None,                               change.end),
    _row("renewed",            (expired, failed),            SAME,               when.not_renewed,                   change.link),
    # time passes
    _row("action_due",         LIVE,                         expired,            when.expires,                       change.end),
    _row("action_due",         (awaiting_user,),             requested,          when.gives_up_with_entity_live,     change.place_revived, fresh=True),
    _row("action_due",         (awaiting_user,),             reconnect_required, when.gives_up,                      change.take_back),
    _row("action_due",         open_,                        requested,          when.gives_up_first_time,           change.place_once_more, fresh=True),
    _row("action_due",         open_,                        failed,             when.gives_up,                      change.fail_unavailable),
    # something else happened
    _row("entity_proved_live", (reconnect_required,),        requested,          when.revivable,                     change.place_revived, fresh=True),
    _row("entity_proved_live", (awaiting_user,),             SAME,               when.proof_is_news,                 change.note_live),
    _row("bank_returned",      (requested,),                 SAME,               when.held,                          change.place_soon, fresh=True),
    _row("nudged",             unready,                      SAME,               when.collectable,                   change.look_soon),
    _row("consent_lost",       LIVE,                         failed,             None,                               change.fail_consent),
)
# fmt: on


def _moves(table: tuple[Row, ...], *, fresh: bool = True) -> Mapping[State, set[State]]:
    """Return for each state where one row leads, with or without the fresh ones."""
    moves: dict[State, set[State]] = {state: set() for state in State}
    for row in table:
        if isinstance(row.dest, State) and (fresh or not row.fresh):
            for source in row.sources:
                moves.setdefault(source, set()).add(row.dest)
    return moves


def _reach(moves: Mapping[State, set[State]], start: State) -> set[State]:
    seen: set[State] = set()
    front = [start]
    while front:
        for state in moves[front.pop()] - seen:
            seen.add(state)
            front.append(state)
    return seen


def early_triggers(table: tuple[Row, ...]) -> Mapping[State, frozenset[str]]:
    """Return for each state the triggers that it has no row for, and a state reachable without a fresh row has."""
    moves = _moves(table, fresh=False)
    rows: dict[State, set[str]] = {state: set() for state in State}
    for row in table:
        for source in row.sources:
            rows[source].add(row.trigger)
    return {
        state: frozenset(set().union(*(rows[s] for s in _reach(moves, state))) - rows[state] - {"renewed"})
        for state in State
    }


def check(table: tuple[Row, ...]) -> None:
    """Hold the table to its own rules.

    Raises:
        InvalidTable: with all problems at once.
    """
    problems: list[str] = []
    reachable = _reach(_moves(table), State.requested) | {State.requested}
    for state in State:
        own = {row.trigger for row in table if state in row.sources}
        leaves = {row.dest for row in table if state in row.sources and row.dest not in (None, state)}
        if state not in reachable:
            problems.append(f"{state} cannot be reached")
        if state.is_end and leaves:
            problems.append(f"{state} is an end and is left for {', '.join(sorted(str(s) for s in leaves))}")
        if not state.is_end and "answered_ok" not in own:
            problems.append(f"{state} waits without a probe")
        if not state.is_end and "action_due" not in own:
            problems.append(f"{state} waits without a deadline")
    for row in table:
        problems.extend(f"{row.trigger}: {s!r} is no state" for s in (*row.sources, row.dest) if not _is_state(s))
    problems.extend(_shadowed(table))
    if problems:
        raise InvalidTable(tuple(problems))


def _is_state(value: object) -> bool:
    return value is SAME or isinstance(value, State)


def _shadowed(table: tuple[Row, ...]) -> list[str]:
    """Return a problem for each row that no event can reach: rows before it ask for no more than it does."""
    asked: dict[tuple[str, State], list[frozenset[Guard]]] = {}
    problems: list[str] = []
    for number, row in enumerate(table):
        guards = frozenset(row.guards)
        earlier = [asked.setdefault((row.trigger, source), []) for source in row.sources]
        if all(any(fewer <= guards for fewer in rows) for rows in earlier):
            problems.append(f"row {number} ({row.trigger}) can never be taken")
        for rows in earlier:
            rows.append(guards)
    return problems
