"""The effects of faults: when each strikes, which calls, and with what parameters."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs

from leanflow.mockbank.basics._checks import (
    BYTES,
    FIELDS,
    HTTP_STATUS,
    NAMES,
    SECONDS,
    SWITCH,
    TEXT,
    TEXT_OR_NONE,
    Check,
    check,
    is_number,
    known,
    one_of,
)

from ._progress import PROGRESS

__all__ = ["EFFECTS", "KINDS", "STAGES", "Effect"]

KINDS = frozenset(
    {"token", "data", "results", "refresh", "refreshes", "events", "customers", "entities", "banks", "connect", "link"}
)
"""The sorts of calls. ``refresh`` is the POST, ``refreshes`` the GETs."""


@attrs.frozen(kw_only=True)
class Effect:
    """One way in which a call goes wrong.

    Attributes:
        stage: ``before`` the call is looked at, ``slow``: how long it takes, ``deciding`` what Lean says, or
            ``leaving``: the answer's way out. At each stage one fault strikes.
        details: its parameters: default, and what is allowed.
        on: the kind of call that it strikes unless it is told otherwise; None: all but the token endpoint.
        among: the kinds of calls that it can strike.
    """

    stage: str
    details: Mapping[str, tuple[Any, Check]] = attrs.field(factory=dict)
    on: str | None = None
    among: frozenset[str] = KINDS

    def completed(self, name: str, details: Mapping[str, Any]) -> dict[str, Any]:
        """Return these details with the defaults of the others.

        Raises:
            InvalidRequest: one is no parameter of this effect, or of the wrong kind.
        """
        known(details, self.details, f"parameter of {name}")
        for detail, value in details.items():
            check(detail, value, self.details[detail][1])
        return {detail: default for detail, (default, _) in self.details.items()} | dict(details)


_WAIT: Check = (lambda value: value is None or is_number(value) or isinstance(value, str), "seconds, or an HTTP date")
_SHAPE = one_of("status_403", "envelope", "failed_403")


def _http(stage: str, **details: tuple[Any, Check]) -> Effect:
    return Effect(stage=stage, details=details)


def _lean(*among: str, **details: tuple[Any, Check]) -> Effect:
    return Effect(stage="deciding", details=details, on=among[0], among=frozenset(among))


EFFECTS: Mapping[str, Effect] = MappingProxyType(
    {
        "http": _http("before", status=(500, HTTP_STATUS), code=(None, TEXT_OR_NONE), retry_after=(None, _WAIT)),
        "html": _http("before", status=(502, HTTP_STATUS)),
        "refuse": _http("before"),
        "slow": Effect(stage="slow", details={"seconds": (5, SECONDS)}, on="data"),
        "failed": _lean("data", "results", "refresh", code=("BANK_ISSUE", TEXT), info=(None, TEXT_OR_NONE)),
        "pending": _lean("data", "results", "refresh", progress=({"after": 2}, PROGRESS)),
        "reconnect": _lean("data", "results", "refresh", new_ids=(False, SWITCH)),
        "duplicated": _lean("data", "refresh", enveloped=(False, SWITCH)),
        "consent_expired": _lean("data", "results", "refresh", shape=("status_403", _SHAPE)),
        "unknown_results": _lean("results", "refreshes"),
        "partial_refresh": _lean("refresh", parts=(["identity"], NAMES)),
        "cut": _http("leaving", after=(0, BYTES)),
        "truncated": _http("leaving"),
        "status": _http("leaving", word=("SOMETHING_NEW", TEXT)),
        "missing": _http("leaving", fields=(["status"], NAMES)),
        "extra": _http("leaving", fields=({"new_field": {"of": "the future"}}, FIELDS)),
        "nanoseconds": _http("leaving"),
    }
)
"""All effects, by the names that they have in Python, in scenarios and over the control route."""

STAGES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        stage: frozenset(name for name, effect in EFFECTS.items() if effect.stage == stage)
        for stage in ("before", "slow", "deciding", "leaving")
    }
)
