"""Disturbances on demand: what happens to webhooks on their way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Self

import attrs

from leanflow.mockbank.basics._checks import (
    FIELDS,
    FROM_0,
    FROM_1,
    RESOURCE,
    SWITCH,
    TEXT,
    TEXT_OR_NONE,
    TIMES,
    Check,
    as_times,
    check,
    known,
)  # fmt: skip
from leanflow.mockbank.basics._lines import inline, parse_inline

__all__ = ["Disturbance", "Subject"]


def _as_types(value: Any) -> frozenset[str] | None:
    if value is None:
        return None
    return frozenset({value}) if isinstance(value, str) else frozenset(value)


def _as_span(value: Any) -> Any:
    """Return a span of time; numbers are seconds."""
    return timedelta(seconds=value) if isinstance(value, int | float) and not isinstance(value, bool) else value


@attrs.frozen(kw_only=True)
class Subject:
    """What a webhook is about: what a disturbance can be aimed at. None: nothing of the kind.

    Attributes:
        entity_id: whose it is.
        bank: the identifier of the entity's bank, or of the bank that it tells of.
        resource: what the call asked for that it ends or that the user was wanted for.
    """

    entity_id: str | None = None
    bank: str | None = None
    resource: str | None = None


@attrs.frozen(kw_only=True)
class Disturbance:
    """What happens to webhooks. ``str(disturbance)`` is the line of a scenario that arms it.

    The Events API tells the event as it is, whatever happens to the webhook.

    Attributes:
        types: the webhook types that it strikes; None: all.
        entity_id: only webhooks of this entity.
        bank: only webhooks of this bank, by its identifier: of its entities, and ``bank.availability.updated``.
        resource: only webhooks of calls for this resource, as ``transactions``: ``results.ready``, and the
            ``entity.reconnected`` of such a call; ``refresh``: those of refreshes.
        nth: only the so-many-th webhook that Mockbank emits, from 1.
        times: how many webhooks it strikes; None (or ``"always"``): until it is disarmed.
        skip: how many matching webhooks pass first.
        copies: how many extra copies are sent, at once.
        delay: how much later the first attempt is; a number is seconds.
        drop: whether it is never sent (the Events API has it all the same).
        reverse: whether it overtakes what was emitted before it in the same moment.
        early: whether it is sent before the answer of the API call that caused it.
        wrong_signature: whether it is signed with another secret; each attempt is.
        unsigned: whether it is sent without ``lean-signature``.
        forgeries: how many forged copies (own ids, wrong signature, never retried, not in the Events API) come first.
        without_event_id: whether ``event_id`` is left out.
        without_timestamp: whether ``timestamp`` is left out.
        nanoseconds: whether ``timestamp`` has nine fractional digits.
        retyped: another type under which it is sent, as one that nobody documented.
        reconnect_id: ``wrong``: the payload's reconnect id is one that nobody knows; ``stale``: the one that the
            entity reconnected with before (a wrong one if there was none). Strikes webhooks that have one.
        replace: members of the payload that are replaced.
        besides: whether the webhook as `retyped`, `reconnect_id` and `replace` make it is sent besides the true one,
            under an event id of its own and before it, and not instead of it.
    """

    types: frozenset[str] | None = attrs.field(default=None, converter=_as_types)
    entity_id: str | None = None
    bank: str | None = None
    resource: str | None = None
    nth: int | None = None
    times: int | None = attrs.field(default=None, converter=as_times)
    skip: int = 0
    copies: int = 0
    delay: timedelta = attrs.field(default=timedelta(), converter=_as_span)
    drop: bool = False
    reverse: bool = False
    early: bool = False
    wrong_signature: bool = False
    unsigned: bool = False
    forgeries: int = 0
    without_event_id: bool = False
    without_timestamp: bool = False
    nanoseconds: bool = False
    retyped: str | None = None
    reconnect_id: str | None = None
    replace: dict[str, Any] | None = None
    besides: bool = False

    def __attrs_post_init__(self) -> None:
        for name, allowed in _CHECKS.items():
            check(name, getattr(self, name), allowed)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Return the disturbance that ``{"types": ["results.ready"], "drop": true}`` stands for.

        Raises:
            InvalidRequest: an unknown name, or a value of the wrong kind.
        """
        known(told, tuple(attrs.fields_dict(cls)), "disturbance")
        return cls(**told)

    @classmethod
    def parse(cls, line: str) -> Self:
        """Return the disturbance that a line of a scenario arms, as ``types = ["results.ready"], drop = true``.

        Raises:
            InvalidRequest: it is no line of TOML, or `of` does not take it.
        """
        return cls.of(parse_inline(line))

    def told(self) -> dict[str, Any]:
        """Return it as JSON values that `of` takes; what is as by default is left out."""
        said: dict[str, Any] = {}
        for field in attrs.fields(Disturbance):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            if isinstance(value, timedelta):
                value = value.total_seconds()
            elif isinstance(value, frozenset):
                value = sorted(value)
            said[field.name] = value
        return said

    def __str__(self) -> str:
        return inline(self.told())

    @property
    def names(self) -> str:
        """What it does, in a word or a few: for a log."""
        return "+".join(name for name in self.told() if name not in _AIMS)

    def strikes(self, kind: str, subject: Subject, number: int) -> bool:
        """Return whether it is aimed at a webhook of this type about this subject, the so-many-th of all."""
        return (
            (self.types is None or kind in self.types)
            and self.entity_id in (None, subject.entity_id)
            and self.bank in (None, subject.bank)
            and self.resource in (None, subject.resource)
            and self.nth in (None, number)
        )

    def joined(self, other: Disturbance) -> Disturbance:
        """Return what both do."""
        return Disturbance(
            copies=self.copies + other.copies,
            delay=self.delay + other.delay,
            forgeries=self.forgeries + other.forgeries,
            retyped=other.retyped or self.retyped,
            reconnect_id=other.reconnect_id or self.reconnect_id,
            replace={**(self.replace or {}), **(other.replace or {})} or None,
            **{name: getattr(self, name) or getattr(other, name) for name in _SWITCHES},
        )


_SWITCHES = (
    "drop",
    "reverse",
    "early",
    "wrong_signature",
    "unsigned",
    "without_event_id",
    "without_timestamp",
    "nanoseconds",
    "besides",
)


_AIMS = ("types", "entity_id", "bank", "resource", "nth", "times", "skip")
_CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        **dict.fromkeys(_SWITCHES, SWITCH),
        **dict.fromkeys(("copies", "forgeries", "skip"), FROM_0),
        "times": TIMES,
        "nth": FROM_1,
        "entity_id": TEXT_OR_NONE,
        "bank": TEXT_OR_NONE,
        "resource": RESOURCE,
        "retyped": TEXT_OR_NONE,
        "reconnect_id": (lambda value: value in (None, "wrong", "stale"), "wrong or stale"),
        "replace": (lambda value: value is None or FIELDS[0](value), FIELDS[1]),
        "delay": (lambda value: isinstance(value, timedelta) and value >= timedelta(), "a number of seconds"),
        "types": (lambda value: value is None or all(map(TEXT[0], value)), "names of types"),
    }
)
