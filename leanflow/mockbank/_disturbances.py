"""The adversary of webhooks: what happens to them on their way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs

from leanflow.errors import InvalidRequest

__all__ = ["Disturbance", "Disturbances"]


def _frozenset_or_none(value: Any) -> frozenset[str] | None:
    if value is None:
        return None
    return frozenset({value}) if isinstance(value, str) else frozenset(value)


@attrs.frozen(kw_only=True)
class Disturbance:
    """What happens to webhooks.

    Attributes:
        types: the webhook types that it strikes; None: all.
        times: how many webhooks it strikes; None: until it is calmed.
        skip: how many matching webhooks pass first.
        copies: how many extra copies are sent, at once.
        delay: how much later the first attempt is.
        drop: whether it is never sent (the Events API has it all the same).
        reverse: whether it overtakes what was emitted before it in the same moment.
        early: whether it is sent before the answer of the API call that caused it.
        wrong_signature: whether it is signed with another secret; each attempt is.
        unsigned: whether it is sent without ``lean-signature``.
        forgeries: how many forged copies (own ids, wrong signature, never retried, not in the Events API) come first.
        without_event_id: whether ``event_id`` is left out.
        without_timestamp: whether ``timestamp`` is left out.
        nanoseconds: whether ``timestamp`` has nine fractional digits.
        replace: members of the payload that are replaced, as ``{"reconnect_id": "…"}`` for a stale one.
    """

    types: frozenset[str] | None = attrs.field(default=None, converter=_frozenset_or_none)
    times: int | None = None
    skip: int = 0
    copies: int = 0
    delay: timedelta = timedelta()
    drop: bool = False
    reverse: bool = False
    early: bool = False
    wrong_signature: bool = False
    unsigned: bool = False
    forgeries: int = 0
    without_event_id: bool = False
    without_timestamp: bool = False
    nanoseconds: bool = False
    replace: dict[str, Any] | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("copies", "forgeries", "skip"):
            if getattr(self, name) < 0:
                raise InvalidRequest(name, "must not be negative")
        if self.times is not None and self.times < 1:
            raise InvalidRequest("times", "must be at least 1, or None for until calmed")

    def joined(self, other: Disturbance) -> Disturbance:
        """Return what both do."""
        return Disturbance(
            copies=self.copies + other.copies,
            delay=self.delay + other.delay,
            forgeries=self.forgeries + other.forgeries,
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
)


@attrs.define
class _Armed:
    disturbance: Disturbance
    left: int | None
    skip: int


class Disturbances:
    """The armed disturbances."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def add(self, disturbance: Disturbance) -> None:
        """Arm one."""
        self._armed.append(_Armed(disturbance, disturbance.times, disturbance.skip))

    def clear(self) -> None:
        """Disarm all."""
        self._armed.clear()

    def armed(self) -> list[Disturbance]:
        """Return what is armed, with what is left of `times`."""
        return [attrs.evolve(one.disturbance, times=one.left, skip=one.skip) for one in self._armed]

    def take(self, kind: str) -> Disturbance:
        """Return what happens to one webhook of a type: all that strike it, joined."""
        struck = Disturbance()
        for one in tuple(self._armed):
            if one.disturbance.types is not None and kind not in one.disturbance.types:
                continue
            if one.skip:
                one.skip -= 1
                continue
            if one.left is not None:
                one.left -= 1
                if one.left == 0:
                    self._armed.remove(one)
            struck = struck.joined(one.disturbance)
        return struck
