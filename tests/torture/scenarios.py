"""All scenarios, in the order of docs/reference/reliability.md."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tests.torture import crash, sites, stop, webhooks
from tests.torture.figures import Scenario

__all__ = ["SCENARIOS"]

_ALL = (
    Scenario("R1", "SIGKILL 0-1.2 ms after an event", crash.random_kills, 500, 50),
    Scenario("R2", "SIGKILL at each named commit point", sites.kills_at_sites, 10, 2),
    Scenario("R3", "kills during recovery, two processes recover", crash.kills_during_recovery, 200, 4),
    Scenario("R5", "SIGTERM under load", stop.stops_under_load, 100, 4),
    Scenario("R7", "duplicates, up to 100 at once", webhooks.duplicates, 300, 12),
    Scenario("R9", "webhooks before their request is known, no timers", webhooks.early, 1000, 30),
    Scenario("R15", "poison", webhooks.poison, 10_000, 300),
    Scenario("R16", "unknown types", webhooks.unknown_types, 100, 20),
    Scenario("R17", "the file held by somebody else", webhooks.slow_store, 30, 6),
)

SCENARIOS: Mapping[str, Scenario] = MappingProxyType({scenario.name: scenario for scenario in _ALL})
