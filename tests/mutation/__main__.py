"""`python -m tests.mutation`: print how many mutants of the table the generated paths notice."""

from __future__ import annotations

import sys
from collections import Counter

from tests.mutation.mutants import Mutant, mutants
from tests.mutation.score import is_noticed, record, score, searched


def main() -> int:
    """Print the score, and the reason for each survivor; return 1 if one has none."""
    steps = record()
    found = score(steps)
    totals = Counter(mutant.family for mutant in mutants())
    equivalents = Counter(mutant.family for mutant, _ in found.equivalent)
    print(f"{len(steps)} different steps of the generated paths, {totals.total()} mutants of the table")
    print(f"\n{'':<20} {'mutants':>8} {'noticed':>8} {'equivalent':>11} {'missed':>7}")
    for family, total in totals.items():
        noticed, same = found.noticed[family], equivalents[family]
        print(f"{family:<20} {total:>8} {noticed:>8} {same:>11} {total - noticed - same:>7}")
    killable = totals.total() - len(found.equivalent)
    print(f"\nscore: {found.noticed.total()} of {killable}")
    everything = searched()
    print(f"\nEquivalent, and {len(everything)} steps of the whole search find no difference either:")
    reasons: dict[str, list[Mutant]] = {}
    for mutant, why in found.equivalent:
        reasons.setdefault(why, []).append(mutant)
    for why, alike in reasons.items():
        print(f"  {why}:")
        for kind in dict.fromkeys(mutant.kind for mutant in alike):
            print(f"    {kind}: row {', '.join(str(mutant.row) for mutant in alike if mutant.kind == kind)}")
    wrong = [mutant for mutant, _ in found.equivalent if is_noticed(mutant, everything)]
    for mutant in wrong:
        print(f"NOT EQUIVALENT: {mutant}")
    for mutant in found.unexplained:
        print(f"MISSED: {mutant}")
    return 1 if found.unexplained or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
