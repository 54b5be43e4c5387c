"""All scenarios, in the order of docs/reference/reliability.md."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tests.torture import crash, sites
from tests.torture.figures import Scenario

__all__ = ["SCENARIOS"]

_ALL = (
    Scenario("R1", "SIGKILL 0-1.2 ms after an event", crash.random_kills, 500, 50),
    Scenario("R2", "SIGKILL at each named commit point", sites.kills_at_sites, 10, 2),
    Scenario("R3", "kills during recovery, two processes recover", crash.kills_during_recovery, 200, 4),
)

SCENARIOS: Mapping[str, Scenario] = MappingProxyType({scenario.name: scenario for scenario in _ALL})
