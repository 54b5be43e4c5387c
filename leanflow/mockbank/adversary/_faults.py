"""Faults on demand: what goes wrong, for which calls, and how often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Self

import attrs

from leanflow.errors import InvalidRequest
from leanflow.mockbank.basics._checks import (
    FROM_0,
    FROM_1,
    RESOURCE,
    TEXT_OR_NONE,
    TIMES,
    Check,
    as_times,
    check,
    known,
)
from leanflow.mockbank.basics._lines import inline, parse_inline

from ._effects import EFFECTS
from ._progress import Progress

__all__ = ["Context", "Fault"]


@attrs.frozen(kw_only=True)
class Context:
    """What a fault can be aimed at.

    Attributes:
        kind: what sort of call: ``data``, ``results``, ``refresh`` (POST), ``refreshes`` (GET), ``events``,
            ``customers``, ``entities``, ``banks``, ``connect``, ``link`` (the hosted page) or
            ``token``.
    """

    kind: str
    method: str
    path: str
    resource: str | None = None
    entity_id: str | None = None
    bank: str | None = None


def _as_kinds(value: str | Iterable[str] | None) -> frozenset[str] | None:
    if value is None or value == "any":
        return None
    return frozenset({value}) if isinstance(value, str) else frozenset(value)


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong. Make them with the class methods; None in an aim means any.

    ``str(fault)`` is the line of a scenario that arms it.

    Attributes:
        effect: what happens, one of `EFFECTS`.
        details: its parameters.
        on: the kinds of calls it strikes (see `Context.kind`); None (or ``"any"``): all but the token endpoint.
        resource, entity_id, bank, path: further aims; `path` is a part of the path.
        nth: only the so-many-th call that Mockbank gets, from 1.
        times: how often it strikes; None (or ``"always"``): until it is disarmed.
        skip: how many matching calls pass first.
    """

    effect: str
    details: Mapping[str, Any] = attrs.field(factory=dict)
    on: frozenset[str] | None = attrs.field(default=None, converter=_as_kinds)
    resource: str | None = None
    entity_id: str | None = None
    bank: str | None = None
    path: str | None = None
    nth: int | None = None
    times: int | None = attrs.field(default=1, converter=as_times)
    skip: int = 0

    def __attrs_post_init__(self) -> None:
        effect = EFFECTS.get(self.effect)
        if effect is None:
            raise InvalidRequest("effect", f"{self.effect!r} is none of {', '.join(sorted(EFFECTS))}")
        if self.on is not None and not self.on <= effect.among:
            wrong, allowed = ", ".join(sorted(self.on - effect.among)), ", ".join(sorted(effect.among))
            raise InvalidRequest("on", f"{self.effect} strikes no {wrong}; only {allowed}")
        object.__setattr__(self, "details", effect.completed(self.effect, self.details))
        for aim, fits in _AIMS.items():
            check(aim, getattr(self, aim), fits)

    # what Lean says

    @classmethod
    def failed(cls, code: str = "BANK_ISSUE", info: str | None = None, **aim: Any) -> Self:
        """FAILED with a granular code, under HTTP 200. Strikes data calls; with ``on="results"`` the results."""
        return cls._made("failed", {"code": code, "info": info}, aim)

    @classmethod
    def pending(cls, progress: Progress | None = None, **aim: Any) -> Self:
        """PENDING, and how that ends: after 2 s if nothing else is said."""
        return cls._made("pending", {} if progress is None else {"progress": progress.told()}, aim)

    @classmethod
    def reconnect(cls, *, new_ids: bool = False, **aim: Any) -> Self:
        """RECONNECT_REQUIRED though the session lives. With ``on="results"``: again, instead of the data.

        Args:
            new_ids: for results: whether the answer names other ids (v1 has a new reconnect id in any case).
            aim: as the attributes of `Fault`.
        """
        return cls._made("reconnect", {"new_ids": new_ids}, aim)

    @classmethod
    def duplicated(cls, *, enveloped: bool = False, **aim: Any) -> Self:
        """DUPLICATED_REQUEST: 429 at the top level, or enveloped as FAILED under 200."""
        return cls._made("duplicated", {"enveloped": enveloped}, aim)

    @classmethod
    def consent_expired(cls, shape: str = "status_403", **aim: Any) -> Self:
        """CONSENT_EXPIRED in one of its three shapes: ``status_403``, ``envelope``, ``failed_403``."""
        return cls._made("consent_expired", {"shape": shape}, aim)

    @classmethod
    def unknown_results(cls, times: int | None = 1, **aim: Any) -> Self:
        """404 UNKNOWN_RESULTS_ID for the first `times` GETs of results."""
        return cls._made("unknown_results", {}, {**aim, "times": times})

    @classmethod
    def slow(cls, seconds: float = 5, **aim: Any) -> Self:
        """The answer takes so long; past Lean's 50 s (`Settings.sync_limit`) a data call falls back to PENDING."""
        return cls._made("slow", {"seconds": seconds}, aim)

    @classmethod
    def partial_refresh(cls, *parts: str, **aim: Any) -> Self:
        """A refresh that ends FINISHED with these parts FAILED."""
        return cls._made("partial_refresh", {"parts": list(parts) or ["identity"]}, aim)

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
        """The answer without some of its fields, as ``status`` or ``payload.reconnect_id``."""
        return cls._made("missing", {"fields": list(fields) or ["status"]}, aim)

    @classmethod
    def extra(cls, fields: Mapping[str, Any] | None = None, **aim: Any) -> Self:
        """The answer with further top-level fields."""
        return cls._made("extra", {} if fields is None else {"fields": dict(fields)}, aim)

    @classmethod
    def nanoseconds(cls, **aim: Any) -> Self:
        """The answer with nine fractional digits, none of them zero, in all its times."""
        return cls._made("nanoseconds", {}, aim)

    @classmethod
    def cut(cls, after: int = 0, **aim: Any) -> Self:
        """The call is handled, then the connection is cut after so many bytes of the body (0: before the first)."""
        return cls._made("cut", {"after": after}, aim)

    @classmethod
    def refuse(cls, **aim: Any) -> Self:
        """The connection is cut before the call is handled: nothing happens at Lean."""
        return cls._made("refuse", {}, aim)

    @classmethod
    def _made(cls, effect: str, details: dict[str, Any], aim: dict[str, Any]) -> Self:
        known(aim, (*EFFECTS[effect].details, "on", *_AIMS), f"parameter of {effect}")
        return cls(effect=effect, details=details, **{"on": EFFECTS[effect].on, **aim})

    # as data

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Return the fault that ``{"effect": "failed", "code": "BANK_ISSUE", "times": 2}`` stands for.

        Raises:
            InvalidRequest: an unknown effect or parameter, or one of the wrong kind.
        """
        given = dict(told)
        effect = given.pop("effect", None)
        if not isinstance(effect, str) or effect not in EFFECTS:
            raise InvalidRequest("effect", f"{effect!r} is none of {', '.join(sorted(EFFECTS))}")
        details = {name: given.pop(name) for name in EFFECTS[effect].details if name in given}
        return cls._made(effect, details, given)

    @classmethod
    def parse(cls, line: str) -> Self:
        """Return the fault that a line of a scenario arms, as ``effect = "failed", code = "BANK_ISSUE", times = 2``.

        Raises:
            InvalidRequest: it is no line of TOML, or `of` does not take it.
        """
        return cls.of(parse_inline(line))

    def told(self) -> dict[str, Any]:
        """Return it as JSON values that `of` takes; what is as by default is left out."""
        effect = EFFECTS[self.effect]
        said: dict[str, Any] = {"effect": self.effect}
        said |= {name: value for name, value in self.details.items() if value != effect.details[name][0]}
        if self.on != _as_kinds(effect.on):
            kinds = sorted(self.on or {"any"})
            said["on"] = kinds[0] if len(kinds) == 1 else kinds
        said |= {name: value for name in _AIMS if (value := getattr(self, name)) is not None}
        if self.times is None:
            said["times"] = "always"
        return {name: value for name, value in said.items() if _DEFAULTS.get(name) != value}

    def __str__(self) -> str:
        return inline(self.told())

    def strikes(self, context: Context, number: int) -> bool:
        """Return whether the fault is aimed at such a call, the so-many-th of all."""
        return (
            (context.kind in self.on if self.on is not None else context.kind != "token")
            and self.nth in (None, number)
            and self.resource in (None, context.resource)
            and self.entity_id in (None, context.entity_id)
            and self.bank in (None, context.bank)
            and (self.path is None or self.path in context.path)
        )


_AIMS: Mapping[str, Check] = MappingProxyType(
    {
        "resource": RESOURCE,
        "entity_id": TEXT_OR_NONE,
        "bank": TEXT_OR_NONE,
        "path": TEXT_OR_NONE,
        "nth": FROM_1,
        "times": TIMES,
        "skip": FROM_0,
    }
)
_DEFAULTS: Mapping[str, int] = MappingProxyType({"times": 1, "skip": 0})
