"""What the comparison found, for people and for programs. No value of either side is in it."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from leanflow._call import Answer

from ._script import Played, parsed, word_of
from ._shapes import Difference, Shapes

__all__ = ["Report", "report"]

_HEADERS = ("cache-control", "lean-correlation-id", "lean-trace-id", "retry-after")  # worth having


@attrs.frozen(kw_only=True)
class Report:
    """What the comparison found.

    Attributes:
        differences: where the two sides have nothing in common.
        hints: where they differ, and chance may be behind it.
        compared: the steps that both sides answered.
        skipped: what was not compared, with the reason.
    """

    differences: tuple[Difference, ...]
    hints: tuple[Difference, ...]
    compared: tuple[str, ...]
    skipped: tuple[str, ...]

    def lines(self, *, hints: bool = False) -> Iterator[str]:
        """Yield the report, line by line.

        Args:
            hints: whether to tell them too.
        """
        yield from _grouped(self.differences)
        if hints:
            yield from _grouped(self.hints, "perhaps: ")
        for line in self.skipped:
            yield f"not compared: {line}"
        yield f"steps compared: {len(self.compared)}; differences: {len(self.differences)}; hints: {len(self.hints)}"


def _grouped(found: tuple[Difference, ...], prefix: str = "") -> Iterator[str]:
    step = ""
    width = max((len(one.where) for one in found), default=0)
    for one in found:
        if one.step != step:
            step = one.step
            yield prefix + step
        yield f"  {one.where:<{width}}  real: {one.real}; Mockbank: {one.mockbank}"


def report(real: Played, mockbank: Played) -> Report:
    """Compare what came of the script on both sides."""
    differences: list[Difference] = []
    hints: list[Difference] = []
    both = [step for step in real.answers if step in mockbank.answers]
    for step in both:
        for certain, found in _compared(step, real.asked[step], real.answers[step], mockbank.answers[step]):
            (differences if certain else hints).append(found)
    alone = [f"{step}: only the real side was asked" for step in real.answers if step not in mockbank.answers]
    alone += [f"{step}: only Mockbank was asked" for step in mockbank.answers if step not in real.answers]
    return Report(
        differences=tuple(differences),
        hints=tuple(hints),
        compared=tuple(both),
        skipped=(*dict.fromkeys((*real.skipped, *mockbank.skipped)), *alone),
    )


def _compared(step: str, asked: str, real: Answer, mockbank: Answer) -> Iterator[tuple[bool, Difference]]:
    """Yield what differs. Answers that say different things are not compared any further: all of it would differ."""
    name, bodies = f"{step}: {asked}", (parsed(real), parsed(mockbank))
    for where, one, other in (
        ("HTTP status", str(real.status), str(mockbank.status)),
        ("content type", _content_type(real), _content_type(mockbank)),
        ("status", _shown(word_of(bodies[0])), _shown(word_of(bodies[1]))),
    ):
        if one != other:
            yield True, Difference(step=name, where=where, real=one, mockbank=other)
            return
    for header in _HEADERS:
        if (header in real.headers) != (header in mockbank.headers):
            has = ("present" if header in side.headers else "absent" for side in (real, mockbank))
            yield True, Difference(step=name, where=f"header {header}", real=next(has), mockbank=next(has))
    if _content_type(real).endswith("json"):
        by = "type" if step == "events" else ""
        yield from Shapes(bodies[0], by).against(Shapes(bodies[1], by), name)


def _content_type(answer: Answer) -> str:
    return answer.headers.get("content-type", "none").partition(";")[0].strip().lower()


def _shown(word: str) -> str:
    return word if word.replace("_", "").isalpha() else "no word of Lean's"
