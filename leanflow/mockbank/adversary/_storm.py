"""A storm: everything that can go wrong, at random, from one seed.

Theory of operation. Before each call, and for each webhook, the storm rolls its dice and arms faults and disturbances
for that one (``nth``). `Storm.log` has those that struck, and printed they are lines of a scenario: the same calls
meet the same faults under these lines as under the storm.

What a storm takes away for ever, and what not. It makes no correct client's end impossible:

* A call that was cut, refused or spoilt can be made again. If its answer named ids, the client never learns those; the
  call made again has its own.
* A dropped, unsigned or wrongly signed webhook is never received, but the Events API has it. So it has one that was
  delayed, from its time on.
* A webhook of an undocumented type or with a wrong reconnect id comes *besides* the true one, never instead of it.
* RECONNECT_REQUIRED with new ids makes the old results id unknown; that answer is never cut or spoilt.
* FAILED with a final code, and CONSENT_EXPIRED, are ends: the next call of the same entity can succeed.
* What the storm holds PENDING, `Mockbank.calm` releases.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from leanflow.errors import InvalidRequest
from leanflow.mockbank.basics._dice import Dice

from ._disturbances import Disturbance
from ._faults import Context, Fault

__all__ = ["GUSTS", "Gust", "Storm"]

_LOG = 100_000  # gusts that the log keeps: memory stays flat

_PASSING = ("BANK_ISSUE", "BANK_MAINTENANCE", "UNSEEN_BANK_ERROR", "LEAN_ERROR", "LOGGED_IN_ELSEWHERE", "NEW_CODE")
_FINAL = ("EU_ACCOUNT_LOCKED", "DATA_NOT_FOUND", "EU_FUNCTIONALITY_RESTRICTED")
_DELAYS = (1, 5, 30, 90, 600, 3600, 14_400)  # seconds: within a step, among the retries, after the last of them
_MISSING = (("timestamp",), ("message",), ("results_id",), ("status",), ("status_detail", "meta"))

Make = Callable[[Dice], dict[str, Any]]


@attrs.frozen
class Gust:
    """One way in which a storm strikes.

    Attributes:
        percent: how often it is tried, at weight 1: of the calls or webhooks that it can strike.
        on: the kinds of calls, or the types of webhooks, that it can strike; empty: all.
        make: what it is this time: parameters of the fault or of the disturbance.
    """

    percent: float
    on: frozenset[str]
    make: Make

    @property
    def of_webhooks(self) -> bool:
        """Whether it strikes webhooks, and not calls."""
        return "effect" not in self.make(Dice("a look"))


def _gust(percent: float, on: str, make: Make) -> Gust:
    return Gust(percent, frozenset(on.split()), make)


_ASKING = "data results"

# The faults of a call by stage; those of a stage exclude each other.
_BEFORE: Mapping[str, Gust] = MappingProxyType(
    {
        "refused": _gust(1.5, "", lambda _: {"effect": "refuse"}),
        "server_error": _gust(2, "", lambda d: {"effect": "http", "status": d.pick((500, 502, 503, 504))}),
        "timeout": _gust(0.5, "", lambda _: {"effect": "http", "status": 408, "code": "TIMEOUT"}),
        "rate_limit": _gust(1, "", lambda _: {"effect": "http", "status": 429}),
        "rate_limit_told": _gust(1, "", lambda d: {"effect": "http", "status": 429, "retry_after": d.between(1, 120)}),
        "unauthorized": _gust(0.5, "", lambda _: {"effect": "http", "status": 401, "code": "UNAUTHORIZED"}),
        "html": _gust(1, "", lambda d: {"effect": "html", "status": d.pick((200, 502, 503))}),
    }
)
_SLOW: Mapping[str, Gust] = MappingProxyType(
    {"slow": _gust(3, "", lambda d: {"effect": "slow", "seconds": d.pick((1, 5, 20, 45, 70))})}
)
_DECIDING: Mapping[str, Gust] = MappingProxyType(
    {
        "failed": _gust(4, "data results refresh", lambda d: {"effect": "failed", "code": d.pick(_PASSING)}),
        "failed_for_good": _gust(0.3, "data results", lambda d: {"effect": "failed", "code": d.pick(_FINAL)}),
        "pending": _gust(6, _ASKING, lambda d: {"effect": "pending", "progress": {"after": d.between(0, 300)}}),
        "pending_polls": _gust(3, _ASKING, lambda d: {"effect": "pending", "progress": {"polls": d.between(1, 4)}}),
        "pending_held": _gust(0.7, _ASKING, lambda _: {"effect": "pending", "progress": "held"}),
        "reconnect": _gust(5, "data results refresh", lambda _: {"effect": "reconnect"}),
        "reconnect_new_ids": _gust(1, "results", lambda _: {"effect": "reconnect", "new_ids": True}),
        "duplicated": _gust(1, "data refresh", lambda _: {"effect": "duplicated"}),
        "duplicated_enveloped": _gust(1, "data", lambda _: {"effect": "duplicated", "enveloped": True}),
        "consent_expired": _gust(
            0.2,
            _ASKING,
            lambda d: {"effect": "consent_expired", "shape": d.pick(("status_403", "envelope", "failed_403"))},
        ),
        "unknown_results": _gust(5, "results refreshes", lambda _: {"effect": "unknown_results"}),
        "partial_refresh": _gust(
            5, "refresh", lambda d: {"effect": "partial_refresh", "parts": [d.pick(("identity", "transactions"))]}
        ),
    }
)
_LEAVING: Mapping[str, Gust] = MappingProxyType(
    {
        "cut": _gust(2, "", lambda _: {"effect": "cut"}),
        "cut_within": _gust(1, "", lambda d: {"effect": "cut", "after": d.between(1, 400)}),
        "truncated": _gust(1, "", lambda _: {"effect": "truncated"}),
        "status": _gust(0.5, "", lambda _: {"effect": "status", "word": "UNHEARD_OF"}),
        "missing": _gust(1.5, "", lambda d: {"effect": "missing", "fields": list(d.pick(_MISSING))}),
        "extra": _gust(3, "", lambda _: {"effect": "extra"}),
        "nanoseconds_in_answers": _gust(3, "", lambda _: {"effect": "nanoseconds"}),
    }
)
# What happens to a webhook: each rolled for by itself.
_WEBHOOK: Mapping[str, Gust] = MappingProxyType(
    {
        "copies": _gust(15, "", lambda d: {"copies": d.between(1, 3)}),
        "delay": _gust(15, "", lambda d: {"delay": d.pick(_DELAYS)}),
        "drop": _gust(8, "", lambda _: {"drop": True}),
        "reverse": _gust(10, "", lambda _: {"reverse": True}),
        "early": _gust(10, "", lambda _: {"early": True}),
        "wrong_signature": _gust(2, "", lambda _: {"wrong_signature": True}),
        "unsigned": _gust(2, "", lambda _: {"unsigned": True}),
        "forgeries": _gust(5, "", lambda d: {"forgeries": d.between(1, 2)}),
        "without_event_id": _gust(5, "", lambda _: {"without_event_id": True}),
        "without_timestamp": _gust(2, "", lambda _: {"without_timestamp": True}),
        "nanoseconds": _gust(8, "", lambda _: {"nanoseconds": True}),
        "unknown_type": _gust(3, "", lambda _: {"retyped": "entity.moon_phase", "besides": True}),
        "wrong_reconnect_id": _gust(8, "entity.reconnected", lambda _: {"reconnect_id": "wrong", "besides": True}),
        "stale_reconnect_id": _gust(8, "entity.reconnected", lambda _: {"reconnect_id": "stale", "besides": True}),
    }
)

GUSTS: Mapping[str, Gust] = MappingProxyType({**_BEFORE, **_SLOW, **_DECIDING, **_LEAVING, **_WEBHOOK})
"""Everything that a storm does, by name, with its probability."""


class Storm:
    """Random faults and disturbances, the same for the same seed and the same calls. Made by `Mockbank.storm`.

    Args:
        seed: every roll follows from it.
        weight: multiplies all probabilities.
        only: the gusts to use (see `GUSTS`); None: all.
        without: gusts not to use.

    Attributes:
        log: what struck, in order: the last 100,000. ``str`` of each is a line of a scenario.
        count: how often it struck.

    Raises:
        InvalidRequest: a negative weight, or a gust that there is not.
    """

    def __init__(
        self, seed: int, weight: float = 1.0, *, only: Iterable[str] | None = None, without: Iterable[str] = ()
    ) -> None:
        if not weight >= 0:
            raise InvalidRequest("weight", f"is {weight!r}; must not be negative")
        chosen = set(GUSTS if only is None else only)
        for name, names in (("only", chosen), ("without", set(without))):
            if unknown := names - GUSTS.keys():
                raise InvalidRequest(name, f"{min(unknown)!r} is none of {', '.join(GUSTS)}")
        self.seed = seed
        self.weight = weight
        self.log: deque[Fault | Disturbance] = deque(maxlen=_LOG)
        self.count = 0
        self._gusts = frozenset(chosen - set(without))

    def __repr__(self) -> str:
        return f"<Storm seed={self.seed} weight={self.weight:g} struck {self.count} times>"

    def lines(self) -> list[str]:
        """Return what it did, as the lines of a scenario."""
        return [str(one) for one in self.log]

    def struck(self, thing: Fault | Disturbance) -> None:
        """Note that something of it struck."""
        self.log.append(thing)
        self.count += 1

    def faults(self, context: Context, number: int) -> list[Fault]:
        """Return what may go wrong with the so-many-th call."""
        dice = Dice(self.seed, "storm over a call", number)
        found = []
        for stage in (_BEFORE, _SLOW, _DECIDING, _LEAVING):
            name = self._one(stage, context.kind, dice)
            if name is None:
                continue
            found.append(Fault.of({**GUSTS[name].make(dice), "on": context.kind, "nth": number}))
            if name == "reconnect_new_ids":
                break  # an answer that is lost would take the new ids with it
        return found

    def disturbances(self, kind: str, number: int) -> list[Disturbance]:
        """Return what happens to the so-many-th webhook."""
        dice = Dice(self.seed, "storm over a webhook", number)
        return [
            Disturbance.of({**gust.make(dice), "nth": number, "times": 1})
            for name, gust in _WEBHOOK.items()
            if self._applies(name, gust, kind) and _roll(dice) < gust.percent * self.weight
        ]

    def _one(self, stage: Mapping[str, Gust], kind: str, dice: Dice) -> str | None:
        """Return the gust of a stage that strikes, or None. Past 100 % one always does, each in proportion."""
        likely = {name: gust.percent for name, gust in stage.items() if self._applies(name, gust, kind)}
        whole = sum(likely.values())
        chance, roll = min(100.0, whole * self.weight), _roll(dice)
        if roll >= chance:
            return None
        left = roll * whole / chance
        for name, percent in likely.items():
            left -= percent
            if left < 0:
                return name
        return None

    def _applies(self, name: str, gust: Gust, kind: str) -> bool:
        return name in self._gusts and (not gust.on or kind in gust.on)


def _roll(dice: Dice) -> float:
    """Return a number from 0 up to 100, in hundredths."""
    return dice.below(10_000) / 100
