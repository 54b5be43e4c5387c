"""The generated paths notice every mutant of the table. `python -m tests.mutation` prints the score."""

from __future__ import annotations

import pytest

from leanflow.testing import paths
from tests.mutation.mutants import explained, mutants
from tests.mutation.score import Score, is_noticed, record, score


@pytest.fixture(scope="module")
def found() -> Score:
    """The score of today."""
    return score(record())


def test_every_mutant_is_noticed(found: Score) -> None:
    """Each row removed, moved or altered, each guard negated or stuck: a path's record comes to something else."""
    assert [str(mutant) for mutant in found.unexplained] == []
    assert found.noticed["row removed"] == len({mutant.row for mutant in mutants()}) == 36
    assert found.noticed.total() > 700


def test_no_reason_is_given_for_nothing(found: Score) -> None:
    """Each mutant that is said to be equivalent did survive: a reason that no longer holds is found."""
    survived = {(mutant.row, mutant.kind) for mutant in found.survivors}
    assert explained() <= survived


def test_mutants_differ_from_the_table_and_from_each_other() -> None:
    """None is made twice under different names, and each is one row's."""
    told = [str(mutant) for mutant in mutants()]
    assert len(set(told)) == len(told)


def test_fewer_paths_notice_less() -> None:
    """The score is no accident: the paths to one state alone miss much."""
    steps = [step for path in paths(covering="states") for step in path.steps]
    missed = [mutant for mutant in mutants() if mutant.family == "row removed" and not is_noticed(mutant, steps)]
    assert len(missed) > 10
