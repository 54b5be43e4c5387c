"""What is due for a request, and when: read from the record alone."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from leanflow._request import DataRequest, State

__all__ = ["LAST_CHANCES", "Action", "due_time", "end_of", "is_collectable", "next_action", "wants_last_probe"]

LAST_CHANCES = 12
"""Unanswered probes at a request's end before it ends without Lean's word: about a day, with their backoff."""


class Action(StrEnum):
    """What a worker does for a due request, in the order in which it is looked for."""

    expire = "expire"
    fetch = "fetch"
    probe = "probe"
    place = "place"
    give_up = "give_up"


def is_collectable(request: DataRequest) -> bool:
    """Return whether there is an id whose results a GET could bring."""
    return request.results_id is not None or request.refresh_id is not None


def end_of(request: DataRequest) -> datetime | None:
    """Return when the request ends of age: at the caller's deadline, or if it needs the user, with the reconnect id."""
    end = request.give_up_at
    if request.state.needs_user and request.expire_at is not None and (end is None or request.expire_at < end):
        end = request.expire_at
    return end


def wants_last_probe(request: DataRequest, end: datetime) -> bool:
    """Return whether the results must be probed once more before the request may end at `end`: OK wins."""
    return (
        is_collectable(request)
        and request.last_chances < LAST_CHANCES
        and (request.probed_at is None or request.probed_at < end)
    )


def next_action(request: DataRequest, now: datetime) -> Action | None:
    """Return what is due, or None. In fixed order: expire, fetch, probe, place, give up.

    A request at its end is probed before it expires, so there `probe` comes first, and once. While that last probe is
    put off (Lean did not answer it, or asked for quiet), what was due before stays due: until the record changes, what
    is due once stays due, so that `due_time` is one moment.
    """
    if request.state.is_end:
        return None
    look = Action.fetch if request.state is State.results_ready else Action.probe
    end = end_of(request)
    if end is not None and end <= now:
        if not wants_last_probe(request, end):
            return Action.expire
        if request.probe_at is None:
            return look
    if request.probe_at is not None and request.probe_at <= now:
        return look
    if request.place_at is not None and request.place_at <= now:
        return Action.place
    if request.wait_until is not None and request.wait_until <= now:
        return Action.give_up
    return None


def due_time(request: DataRequest) -> datetime | None:
    """Return the least time at which `next_action` returns something, or None on ends."""
    if request.state.is_end:
        return None
    due, end = request.probe_at, end_of(request)
    if end is not None and due is not None and wants_last_probe(request, end):
        end = None
    for moment in (request.place_at, request.wait_until, end):
        if moment is not None and (due is None or moment < due):
            due = moment
    return due
