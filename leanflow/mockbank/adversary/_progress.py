"""How what is PENDING comes to its end: at once, after a time, after so many polls, or when it is released."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

import attrs

from leanflow.errors import InvalidRequest
from leanflow.mockbank.basics._checks import RESOURCE, TEXT_OR_NONE, Check, check, is_number, is_whole, known, one_of
from leanflow.mockbank.basics._lines import inline, parse_inline

__all__ = ["MODELS", "PROGRESS", "Pace", "Progress", "as_progress"]

MODELS = ("results", "reconnects", "refreshes")
"""What has a progress: data calls answered PENDING, results whose user has reconnected, refreshes."""

_WORDS = "must be at_once, held, { after = SECONDS } or { polls = NUMBER }"


@attrs.frozen
class Progress:
    """How something PENDING comes to its end. Made with the class methods.

    Attributes:
        kind: ``at_once``, ``after``, ``polls`` or ``held``.
        amount: seconds, or polls; 0 for the others.
    """

    kind: str
    amount: float = 0

    def __attrs_post_init__(self) -> None:
        amount = self.amount
        fits = {
            "at_once": amount == 0,
            "held": amount == 0,
            "after": is_number(amount) and amount >= 0,
            "polls": is_whole(amount) and amount > 0,
        }
        if not fits.get(self.kind, False):
            raise InvalidRequest("progress", f"is {self.told()!r}; {_WORDS}")

    @classmethod
    def at_once(cls) -> Self:
        """It ends in the moment in which it begins; the answer says PENDING all the same."""
        return cls("at_once")

    @classmethod
    def after(cls, time: float | timedelta) -> Self:
        """It ends after a time; a number is seconds."""
        return cls("after", time.total_seconds() if isinstance(time, timedelta) else time)

    @classmethod
    def polls(cls, number: int) -> Self:
        """So many GETs find it PENDING; the next one ends it."""
        return cls("polls", number)

    @classmethod
    def held(cls) -> Self:
        """It ends when it is released (`Mockbank.release`, `Mockbank.calm`)."""
        return cls("held")

    @classmethod
    def of(cls, told: object) -> Self:
        """Return what ``"at_once"``, ``"held"``, ``{"after": 5}`` or ``{"polls": 3}`` stand for.

        Raises:
            InvalidRequest: it is none of them.
        """
        if isinstance(told, cls):
            return told
        if isinstance(told, str):
            return cls(told)
        if isinstance(told, Mapping) and len(told) == 1:
            [(kind, amount)] = told.items()
            return cls(kind, amount)
        raise InvalidRequest("progress", f"is {told!r}; {_WORDS}")

    def told(self) -> Any:
        """Return it as a JSON value that `of` takes."""
        return {self.kind: self.amount} if self.amount or self.kind in ("after", "polls") else self.kind

    @property
    def delay(self) -> timedelta | None:
        """After what time it ends by itself; None: it does not."""
        return timedelta(seconds=self.amount) if self.kind in ("at_once", "after") else None

    @property
    def polls_left(self) -> int | None:
        """How many polls it lasts; None: it does not go by them."""
        return int(self.amount) if self.kind == "polls" else None

    def __str__(self) -> str:
        return inline(self.told())


def as_progress(told: object) -> Progress:
    """Return what `Progress.of` does; a plain function, which type checkers take for a converter."""
    return Progress.of(told)


def _is_progress(value: object) -> bool:
    try:
        Progress.of(value)
    except InvalidRequest:
        return False
    return True


PROGRESS: Check = (_is_progress, _WORDS.removeprefix("must be "))


@attrs.frozen(kw_only=True)
class Pace:
    """The progress of one model, perhaps only of one resource, entity or bank. ``str(pace)`` is the line of a scenario.

    Attributes:
        model: one of `MODELS`.
        progress: what it is.
        resource: only of this resource; None: of all.
        entity_id: only of this entity; None: of all.
        bank: only of entities of this bank, by its identifier; None: of all.
    """

    model: str
    progress: Progress = attrs.field(converter=as_progress)
    resource: str | None = None
    entity_id: str | None = None
    bank: str | None = None

    def __attrs_post_init__(self) -> None:
        check("model", self.model, one_of(*MODELS))
        check("resource", self.resource, RESOURCE)
        check("entity_id", self.entity_id, TEXT_OR_NONE)
        check("bank", self.bank, TEXT_OR_NONE)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Return what ``{"model": "results", "progress": "held"}`` stands for.

        Raises:
            InvalidRequest: an unknown name, or a value of the wrong kind.
        """
        known(told, tuple(attrs.fields_dict(cls)), "parameter of a progress")
        for name in ("model", "progress"):
            if name not in told:
                raise InvalidRequest(name, "must be given")
        return cls(**told)

    @classmethod
    def parse(cls, line: str) -> Self:
        """Return the pace that a line of a scenario arms, as ``model = "results", progress = "held"``.

        Raises:
            InvalidRequest: it is no line of TOML, or `of` does not take it.
        """
        return cls.of(parse_inline(line))

    def told(self) -> dict[str, Any]:
        """Return it as JSON values that `of` takes."""
        said = {"model": self.model, "progress": self.progress.told()}
        return said | {name: value for name in _AIMS if (value := getattr(self, name)) is not None}

    def __str__(self) -> str:
        return inline(self.told())

    def sets(self, model: str, resource: str, entity_id: str, bank: str) -> bool:
        """Return whether it speaks of such a thing."""
        return (
            self.model == model
            and self.resource in (None, resource)
            and self.entity_id in (None, entity_id)
            and self.bank in (None, bank)
        )


_AIMS = ("resource", "entity_id", "bank")
