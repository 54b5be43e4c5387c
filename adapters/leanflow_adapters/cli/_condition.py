"""What `leanflow check` finds in a store's tables and in its database."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from leanflow import Resource, State
from leanflow._request import Scope
from leanflow.ports import Store
from leanflow_adapters._records import scope_number
from leanflow_adapters.cli._copy import has_tables, tables_of

__all__ = ["Finding", "condition", "without_tables"]


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: which.
        ok: whether it is as it should be.
        words: what was found.
    """

    what: str
    ok: bool
    words: str


async def condition(store: Store, scope: Scope) -> list[Finding]:
    """Look at a store that is not open, behind its encryption; nothing is found where it cannot be looked into."""
    store = getattr(store, "inner", store)
    if not has_tables(store):
        return []
    async with tables_of(store) as tables:
        kinds = await tables.kinds(scope_number(scope))
        conditions = await tables.conditions()
    return [
        _known("states", [(state, count) for state, _, count in kinds], [state.value for state in State]),
        _known("resources", [(resource, count) for _, resource, count in kinds], [one.value for one in Resource]),
        *(Finding(what=what, ok=ok, words=words) for what, ok, words in conditions),
    ]


def without_tables(store: Store) -> bool:
    """Return whether a store has no tables to be migrated, but a server of which there is something to say."""
    return hasattr(store, "conditions")


def _known(what: str, counts: Sequence[tuple[str, int]], known: Sequence[str]) -> Finding:
    """Tell of rows that this version has no rules for."""
    strange = sorted({name for name, _ in counts if name not in known})
    if not strange:
        return Finding(what=what, ok=True, words="this version knows all")
    number = sum(count for name, count in counts if name in strange)
    words = f"{number} requests are {', '.join(strange)}, which this version does not know: a newer one made them"
    return Finding(what=what, ok=False, words=f"{words}; upgrade this one, or let them end under the newer one first")
