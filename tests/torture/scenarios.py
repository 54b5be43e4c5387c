"""All scenarios, in the order of docs/reference/reliability.md."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tests.torture import clocks, crash, crowd, durable, hostile, lost, refused, sites, stop, upgrade, webhooks
from tests.torture.figures import Scenario

__all__ = ["SCENARIOS"]

_ALL = (
    Scenario("R1", "SIGKILL 0-1.2 ms after an event", crash.random_kills, 500, 50),
    Scenario("R2", "SIGKILL at each named commit point", sites.kills_at_sites, 10, 2),
    Scenario("R3", "kills during recovery, two processes recover", crash.kills_during_recovery, 200, 4),
    Scenario("R4", "on disk before the 200, by strace", durable.commits_before_answers, 10_000, 200),
    Scenario("R5", "SIGTERM under load", stop.stops_under_load, 100, 4),
    Scenario("R7", "duplicates, up to 100 at once", webhooks.duplicates, 300, 12),
    Scenario("R9", "webhooks before their request is known, no timers", webhooks.early, 1000, 30),
    Scenario("R14", "senders of 100 MB, and nonsense", hostile.hostile_senders, 1000, 20),
    Scenario("R15", "poison", webhooks.poison, 10_000, 300),
    Scenario("R16", "unknown types", webhooks.unknown_types, 100, 20),
    Scenario("R17", "the file held by somebody else", webhooks.slow_store, 30, 6),
    Scenario("R19", "clock jumps of an hour and of 40 days", clocks.clock_jumps, 100, 6),
    Scenario("R20", "webhook against expiry", clocks.event_against_expiry, 2000, 40),
    Scenario("R21", "a file opened 31 days later", clocks.long_sleep, 10_000, 100),
    Scenario("R22", "eight processes, same requests, same events", crowd.many_processes, 500, 12),
    Scenario("R23", "two processes, a reader, a writer that holds the file", crowd.two_processes_and_a_third, 10, 1),
    Scenario("R24", "a frozen worker", crowd.frozen_workers, 200, 10),
    Scenario("R27", "calls and fetches that fail, with kills in the waits", refused.refusals, 5, 1),
    Scenario("R28", "every webhook lost", lost.lost_webhooks, 200, 10),
    Scenario("R29", "the Events API again", lost.reconcile_again, 100_000, 500),
    Scenario("R30", "the receiver down for four hours", lost.receiver_down, 500, 10),
    Scenario("R31", "every hint lost", lost.lost_hints, 200, 10),
    Scenario("R33", "kills in migrations; files of other versions", upgrade.upgrades, 1, 1),
)

SCENARIOS: Mapping[str, Scenario] = MappingProxyType({scenario.name: scenario for scenario in _ALL})
