"""Lean's side of a play, as bytes: answers to the call that is due for a request, and webhooks about it.

Each function makes what Lean would send for a request as it stands, or None where Lean could not send it. Ids are
readable and new at each version: ``results-1``, ``reconnect-4``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

from leanflow._call import Answer
from leanflow._due import Action, next_action
from leanflow._lean.times import format_time
from leanflow._request import DataRequest, Resource
from leanflow.events import CallBroke, Source

__all__ = ["ANSWERS", "WEBHOOKS", "announced"]

_DAY = timedelta(days=1)


# --- answers -----------------------------------------------------------------------------------------------------


def _body(at: datetime, status: str, **more: Any) -> bytes:
    told = {"status": status, "message": status.lower(), "timestamp": format_time(at), **more}
    return json.dumps(told, separators=(",", ":")).encode()


def _is_placement(request: DataRequest, at: datetime) -> bool:
    return next_action(request, at) is Action.place


def _ids(request: DataRequest, *, new: bool, prefix: str | None = None) -> dict[str, str]:
    """Return the ids of an answer under their wire names: new ones, or those that the request has."""
    name = "refresh_id" if request.resource is Resource.refresh else "results_id"
    own = getattr(request, name)
    return {name: own if own is not None and not new else f"{prefix or name[:-3]}-{request.version + 1}"}


def _ok(request: DataRequest, at: datetime) -> Answer | None:
    if request.resource is Resource.refresh:
        if _is_placement(request, at):
            return None  # taken on, not done: `pending`
        return Answer(status=200, body=_body(at, "FINISHED", **_ids(request, new=False)))
    name = "identities" if request.resource is Resource.identity else request.resource.value
    data: dict[str, Any] = {name: [{"id": f"{name}-1"}]}
    member = {"payload": data} if request.api == "v1" else {"data": data}
    return Answer(status=200, body=_body(at, "OK", **_ids(request, new=False), **member))


def _pending(request: DataRequest, at: datetime) -> Answer:
    ids = _ids(request, new=_is_placement(request, at))
    return Answer(status=202, body=_body(at, "PENDING", **ids))


def _reconnect(request: DataRequest, at: datetime, *, anew: bool = False, timed: bool = True) -> Answer | None:
    placement = _is_placement(request, at)
    if anew and placement:
        return None  # a placement's ids are new anyway
    new = placement or anew
    # From v2 on it is one id under two names.
    more: dict[str, Any] = _ids(request, new=new, prefix=None if request.api == "v1" else "reconnect")
    if request.api == "v1":
        known = None if new else request.reconnect_id
        more["payload"] = {"type": "reconnect", "reconnect_id": known or f"reconnect-{request.version + 1}"}
    told = {"status": "RECONNECT_REQUIRED", "message": "as it is", **more}
    if timed:
        told["timestamp"] = format_time(at)
    return Answer(status=200, body=json.dumps(told, separators=(",", ":")).encode())


def _bare_reconnect(request: DataRequest, at: datetime) -> Answer | None:
    """Return v1's demand with nothing but a reconnect id."""
    if request.api != "v1" or not _is_placement(request, at):
        return None
    payload = {"type": "reconnect", "reconnect_id": f"reconnect-{request.version + 1}"}
    return Answer(status=200, body=_body(at, "RECONNECT_REQUIRED", payload=payload))


def _failed(request: DataRequest, at: datetime, *, code: str) -> Answer:
    detail = {"granular_status_code": code}
    return Answer(status=200, body=_body(at, "FAILED", **_known(request, at), status_detail=detail))


def _known(request: DataRequest, at: datetime) -> dict[str, str]:
    return {} if _is_placement(request, at) else _ids(request, new=False)


def _http(_request: DataRequest, at: datetime, *, status: int, code: str) -> Answer:
    return Answer(status=status, body=_body(at, code))


def _unknown(request: DataRequest, at: datetime) -> Answer | None:
    return None if _is_placement(request, at) else _http(request, at, status=404, code="UNKNOWN_RESULTS_ID")


def _silence(_request: DataRequest, _at: datetime, *, maybe_sent: bool) -> CallBroke:
    return CallBroke(maybe_sent=maybe_sent, reason="the path has it so", source=Source.placement)


ANSWERS: tuple[tuple[str, Callable[[DataRequest, datetime], Answer | CallBroke | None]], ...] = (
    ("ok", _ok),
    ("pending", _pending),
    ("reconnect", _reconnect),
    ("reconnect-anew", partial(_reconnect, anew=True)),
    ("reconnect-untimed", partial(_reconnect, timed=False)),
    ("reconnect-bare", _bare_reconnect),
    ("bank-issue", partial(_failed, code="BANK_ISSUE")),
    ("bank-disabled", partial(_failed, code="DISABLED_BY_LEAN")),
    ("no-data", partial(_failed, code="DATA_NOT_FOUND")),
    ("consent-expired", partial(_failed, code="CONSENT_EXPIRED")),
    ("not-ready", _unknown),
    ("server-error", partial(_http, status=500, code="INTERNAL_SERVER_ERROR")),
    ("bad-certificate", partial(_http, status=401, code="INVALID_CERTIFICATE")),
    ("silence", partial(_silence, maybe_sent=True)),
    ("unsent", partial(_silence, maybe_sent=False)),
)


# --- webhooks ----------------------------------------------------------------------------------------------------


WEBHOOKS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "results.ready": ("results_id", "id"),
        "entity.reconnected": ("reconnect_id", "reconnect_id"),
        "entity.data.refresh.updated": ("refresh_id", "refresh_id"),
    }
)
"""The types that name a request: the field of the record whose id they name, and its name in the payload."""


def _webhook(request: DataRequest, kind: str, time: datetime | None, name: str, payload: Mapping[str, Any]) -> bytes:
    told = {
        "type": kind,
        "event_id": f"{request.id}:{request.version}:{name}",
        "message": "as it is",
        "payload": dict(payload),
    }
    if time is not None:
        told["timestamp"] = format_time(time)
    return json.dumps(told, separators=(",", ":")).encode()


def _may_be(id_name: str, old: str, request: DataRequest) -> bool:
    """Return whether an id of the past was one of this kind."""
    if old.startswith("reconnect-"):
        return id_name == "reconnect_id" or (request.api != "v1" and _is_own(id_name, request))
    return old.startswith(id_name.removesuffix("_id"))


def _is_own(id_name: str, request: DataRequest) -> bool:
    return (id_name == "refresh_id") is (request.resource is Resource.refresh)


def announced(request: DataRequest, at: datetime, *, kind: str, variant: str, status: str) -> bytes | None:
    """Return a webhook that names the request.

    Args:
        request: as it stands.
        at: Lean's time of it.
        kind: Lean's type.
        variant: ``untimed``, ``before`` the round began, ``of-the-past`` (an id that the request had), or nothing.
        status: of a refresh.
    """
    id_name, payload_name = WEBHOOKS[kind]
    own: str | None = getattr(request, id_name)
    if variant == "of-the-past":
        own = next((old for old in reversed(request.past_ids) if old != own and _may_be(id_name, old, request)), None)
    if own is None or (variant == "before" and request.round_started_at is None):
        return None
    time: datetime | None = at
    if variant == "untimed":
        time = None
    elif variant == "before" and request.round_started_at is not None:
        time = request.round_started_at - _DAY
    payload: dict[str, Any] = {payload_name: own}
    if kind == "entity.reconnected":
        payload["id"] = request.entity_id
    elif kind != "results.ready":
        payload |= {"entity_id": request.entity_id, "status": status}
    return _webhook(request, kind, time, f"{variant}-{status}", payload)
