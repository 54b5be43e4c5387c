"""Faults on demand: what goes wrong, for which calls, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

import attrs

from leanflow.errors import InvalidRequest

__all__ = ["Context", "Fault", "Faults"]

# When a fault strikes: before the call is looked at, when it is decided, or on the answer's way out.
_BEFORE = frozenset({"http", "html", "refuse"})
_DECIDING = frozenset({"failed", "pending", "reconnect", "duplicated", "consent", "unknown_results", "slow", "partial"})
_LEAVING = frozenset({"cut", "truncated", "status", "missing", "extra"})
_KINDS = frozenset(
    {"token", "data", "results", "refresh", "refreshes", "events", "customers", "entities", "banks", "connect"}
)


@attrs.frozen(kw_only=True)
class Context:
    """What a fault can be aimed at.

    Attributes:
        kind: what sort of call: ``data``, ``results``, ``refresh`` (POST), ``refreshes`` (GET), ``events``,
            ``customers``, ``entities``, ``banks``, ``connect`` or ``token``.
    """

    kind: str
    method: str
    path: str
    resource: str | None = None
    entity_id: str | None = None
    bank: str | None = None


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong. Make them with the class methods; None in an aim means any.

    Attributes:
        effect: what happens.
        details: its parameters.
        on: the kinds of calls it strikes (see `Context.kind`).
        resource, entity_id, bank, path: further aims; `path` is a part of the path.
        times: how often it strikes; None: until it is cleared.
        skip: how many matching calls pass first.
    """

    effect: str
    details: Mapping[str, Any] = attrs.field(factory=dict)
    on: frozenset[str] | None = None
    resource: str | None = None
    entity_id: str | None = None
    bank: str | None = None
    path: str | None = None
    times: int | None = 1
    skip: int = 0

    def __attrs_post_init__(self) -> None:
        if self.effect not in _BEFORE | _DECIDING | _LEAVING:
            known = ", ".join(sorted(_BEFORE | _DECIDING | _LEAVING))
            raise InvalidRequest("effect", f"{self.effect!r} is none of {known}")
        if self.on is not None and not self.on <= _KINDS:
            raise InvalidRequest("on", f"{', '.join(sorted(self.on - _KINDS))} is none of {', '.join(sorted(_KINDS))}")
        if self.times is not None and self.times < 1:
            raise InvalidRequest("times", "must be at least 1, or None for until cleared")

    # what Lean says

    @classmethod
    def failed(cls, code: str = "BANK_ISSUE", info: str | None = None, **aim: Any) -> Self:
        """FAILED with a granular code, under HTTP 200. Strikes data calls; with ``on="results"`` the results."""
        return cls._made("failed", {"code": code, "info": info}, aim, on="data")

    @classmethod
    def pending(cls, *, after: timedelta | None = timedelta(seconds=2), polls: int | None = None, **aim: Any) -> Self:
        """PENDING; ready after a time, after so many polls, or (`after` None) when released."""
        return cls._made("pending", {"after": None if polls else after, "polls": polls}, aim, on="data")

    @classmethod
    def reconnect(cls, *, new_ids: bool = False, **aim: Any) -> Self:
        """RECONNECT_REQUIRED though the session lives. With ``on="results"``: again, instead of the data.

        Args:
            new_ids: for results: whether the answer names other ids (v1 has a new reconnect id in any case).
            aim: as the attributes of `Fault`.
        """
        return cls._made("reconnect", {"new_ids": new_ids}, aim, on="data")

    @classmethod
    def duplicated(cls, *, enveloped: bool = False, **aim: Any) -> Self:
        """DUPLICATED_REQUEST: 429 at the top level, or enveloped as FAILED under 200."""
        return cls._made("duplicated", {"enveloped": enveloped}, aim, on="data")

    @classmethod
    def consent_expired(cls, shape: str = "status_403", **aim: Any) -> Self:
        """CONSENT_EXPIRED in one of its three shapes: ``status_403``, ``envelope``, ``failed_403``."""
        return cls._made("consent", {"shape": shape}, aim, on="data")

    @classmethod
    def unknown_results(cls, times: int | None = 1, **aim: Any) -> Self:
        """404 UNKNOWN_RESULTS_ID for the first `times` GETs of results."""
        return cls._made("unknown_results", {}, {**aim, "times": times}, on="results")

    @classmethod
    def slow(cls, seconds: float, **aim: Any) -> Self:
        """The bank takes so long; past Lean's 50 s the data call falls back to PENDING."""
        return cls._made("slow", {"seconds": seconds}, aim, on="data")

    @classmethod
    def partial_refresh(cls, *parts: str, **aim: Any) -> Self:
        """A refresh that ends FINISHED with these parts FAILED."""
        return cls._made("partial", {"parts": list(parts) or ["identity"]}, aim, on="refresh")

    # what HTTP does

    @classmethod
    def http(
        cls, status: int = 500, code: str | None = None, *, retry_after: float | str | None = None, **aim: Any
    ) -> Self:
        """An HTTP error in Lean's error envelope, with a ``Retry-After`` header if one is given."""
        return cls._made("http", {"status": status, "code": code, "retry_after": retry_after}, aim)

    @classmethod
    def html(cls, status: int = 502, **aim: Any) -> Self:
        """A page of HTML instead of JSON, as a proxy in front of the API sends."""
        return cls._made("html", {"status": status}, aim)

    @classmethod
    def truncated(cls, **aim: Any) -> Self:
        """The first half of the JSON, under the status of the whole."""
        return cls._made("truncated", {}, aim)

    @classmethod
    def status(cls, word: str = "SOMETHING_NEW", **aim: Any) -> Self:
        """The answer with a ``status`` that nobody documented."""
        return cls._made("status", {"word": word}, aim)

    @classmethod
    def missing(cls, *fields: str, **aim: Any) -> Self:
        """The answer without some of its top-level fields."""
        return cls._made("missing", {"fields": list(fields)}, aim)

    @classmethod
    def extra(cls, fields: Mapping[str, Any] | None = None, **aim: Any) -> Self:
        """The answer with further top-level fields."""
        return cls._made("extra", {"fields": dict(fields or {"new_field": {"of": "the future"}})}, aim)

    @classmethod
    def cut(cls, after: int | None = 0, **aim: Any) -> Self:
        """The call is handled, then the connection is cut after so many bytes of the body (0: of all)."""
        return cls._made("cut", {"after": after}, aim)

    @classmethod
    def refuse(cls, **aim: Any) -> Self:
        """The connection is cut before the call is handled: nothing happens at Lean."""
        return cls._made("refuse", {}, aim)

    @classmethod
    def _made(cls, effect: str, details: dict[str, Any], aim: dict[str, Any], on: str | None = None) -> Self:
        where = aim.pop("on", on)
        if isinstance(where, str):
            where = frozenset({where})
        elif where is not None:
            where = frozenset(where)
        return cls(effect=effect, details=details, on=where, **aim)

    def strikes(self, context: Context) -> bool:
        """Return whether the fault is aimed at such a call."""
        return (
            (context.kind in self.on if self.on is not None else context.kind != "token")
            and self.resource in (None, context.resource)
            and self.entity_id in (None, context.entity_id)
            and self.bank in (None, context.bank)
            and (self.path is None or self.path in context.path)
        )


@attrs.define
class _Armed:
    fault: Fault
    left: int | None
    skip: int


class Faults:
    """The armed faults, in the order in which they were added."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def add(self, fault: Fault) -> None:
        """Arm a fault."""
        self._armed.append(_Armed(fault, fault.times, fault.skip))

    def clear(self) -> None:
        """Disarm all."""
        self._armed.clear()

    def armed(self) -> list[Fault]:
        """Return what is armed, with what is left of `times`."""
        return [attrs.evolve(one.fault, times=one.left, skip=one.skip) for one in self._armed]

    def before(self, context: Context) -> Fault | None:
        """Take the fault that strikes before the call is looked at."""
        return self._take(_BEFORE, context)

    def deciding(self, context: Context, *effects: str) -> Fault | None:
        """Take the fault that decides what Lean says; of these effects only, if any are named."""
        return self._take(frozenset(effects) or _DECIDING, context)

    def leaving(self, context: Context) -> Fault | None:
        """Take the fault that strikes the answer on its way out."""
        return self._take(_LEAVING, context)

    def _take(self, effects: frozenset[str], context: Context) -> Fault | None:
        for one in self._armed:
            if one.fault.effect in effects and one.fault.strikes(context):
                if one.skip:
                    one.skip -= 1
                    continue
                if one.left is not None:
                    one.left -= 1
                    if one.left == 0:
                        self._armed.remove(one)
                return one.fault
        return None
