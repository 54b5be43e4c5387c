"""How many mutants of the table the generated paths notice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from datetime import timedelta

import attrs

from leanflow import Resource
from leanflow._machine import DEFAULT_POLICY, Rules, decide_by
from leanflow.testing import Step, paths
from leanflow.testing._search import explore
from leanflow.testing.examples import START, example_request
from tests.mutation.mutants import Mutant, equivalent, mutants

__all__ = ["Score", "is_noticed", "record", "score", "searched"]


@attrs.frozen(kw_only=True)
class Score:
    """What became of the mutants.

    Attributes:
        noticed: how many a path noticed, by family.
        survivors: those that no path noticed.
    """

    noticed: Counter[str]
    survivors: tuple[Mutant, ...]

    @property
    def equivalent(self) -> tuple[tuple[Mutant, str], ...]:
        """The survivors that are the real table in other words, each with the reason."""
        return tuple((each, why) for each in self.survivors if (why := equivalent(each)) is not None)

    @property
    def unexplained(self) -> tuple[Mutant, ...]:
        """The survivors that nobody has shown to be equivalent: there should be none."""
        return tuple(each for each in self.survivors if equivalent(each) is None)


def record() -> list[Step]:
    """Return today's record: the steps of the paths that come to every case that the guards tell apart."""
    found = [*paths(covering="decisions"), *paths(covering="decisions", api="v1")]
    return _different(step for path in found for step in path.steps)


def searched() -> list[Step]:
    """Return every try of the search for paths, not only those that paths were made of."""
    starts = [
        example_request(),
        example_request(api="v1"),
        example_request(resource=Resource.refresh),
        example_request(give_up_at=START + timedelta(hours=2)),
    ]
    return _different(node.steps[-1] for start in starts for node in explore(start, DEFAULT_POLICY))


def _different(steps: Iterable[Step]) -> list[Step]:
    """Return the steps without those that are the same: the same event for the same request."""
    seen: dict[Hashable, list[Step]] = {}
    kept = []
    for step in steps:
        alike = seen.setdefault((step.act, step.at, step.before.state, step.before.version), [])
        if not any(step.before == other.before and step.event == other.event for other in alike):
            alike.append(step)
            kept.append(step)
    return kept


def is_noticed(mutant: Mutant, steps: Iterable[Step]) -> bool:
    """Return whether a step, played against the mutated machine, comes to anything else than it does today."""
    rules = Rules.of(mutant.table)
    return any(_differs(step, rules) for step in _likely_first(mutant, steps))


def _likely_first(mutant: Mutant, steps: Iterable[Step]) -> Iterator[Step]:
    """Yield the steps, those of the mutated row first: a mutant is mostly noticed there."""
    others = []
    for step in steps:
        if step.transition is not None and step.transition.row == mutant.row:
            yield step
        else:
            others.append(step)
    yield from others


def _differs(step: Step, rules: Rules) -> bool:
    try:
        return decide_by(rules, step.before, step.event, DEFAULT_POLICY) != step.decision
    except Exception:  # noqa: BLE001 - whatever it is, it is noticed
        return True


def score(steps: Iterable[Step]) -> Score:
    """Play a record against every mutant."""
    steps = list(steps)
    noticed: Counter[str] = Counter()
    survivors = []
    for mutant in mutants():
        if is_noticed(mutant, steps):
            noticed[mutant.family] += 1
        else:
            survivors.append(mutant)
    return Score(noticed=noticed, survivors=tuple(survivors))
