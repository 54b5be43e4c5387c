"""All scenarios, in the order of docs/reference/reliability.md."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tests.torture import (
    bus_outage,
    bus_poison,
    buses,
    clocks,
    crash,
    crowd,
    durable,
    forged,
    full,
    gunicorn,
    hostile,
    joined,
    lost,
    refused,
    sites,
    stop,
    storm,
    upgrade,
    webhooks,
    workers,
)
from tests.torture.figures import Scenario

__all__ = ["SCENARIOS"]

_FILE, _SERVER, _JOINED, _TABLES = ("sqlite",), ("postgres", "redis"), ("postgres",), ("sqlite", "postgres")

_ALL = (
    Scenario("R1", "SIGKILL a moment after an event", crash.random_kills, 500, 25),
    Scenario("R2", "SIGKILL at each named commit point", sites.kills_at_sites, 10, 1),
    Scenario("R1-storm", "the same, Mockbank in a storm as Lean", storm.random_kills_in_a_storm, 300, 25),
    Scenario("R2-storm", "the same, Mockbank in a storm as Lean", storm.site_kills_in_a_storm, 4, 1),
    Scenario("R1-workers", "four workers, one killed every second", workers.workers_killed, 10_000, 150, _SERVER),
    Scenario("R3", "kills during recovery, two processes recover", crash.kills_during_recovery, 200, 4),
    Scenario("R4", "on disk before the 200, by strace", durable.commits_before_answers, 10_000, 200),
    Scenario("R5", "SIGTERM under load", stop.stops_under_load, 100, 4),
    Scenario("R7", "duplicates, up to 100 at once", webhooks.duplicates, 300, 12),
    Scenario("R9", "webhooks before their request is known, no timers", webhooks.early, 1000, 30),
    Scenario("R12", "forged, cut, doubled and missing signatures", forged.forgeries, 100_000, 200),
    Scenario("R13", "old webhooks again, up to 91 days later", forged.replays, 300, 10),
    Scenario("R14", "senders of 100 MB, and nonsense", hostile.hostile_senders, 1000, 20),
    Scenario("R15", "poison", webhooks.poison, 10_000, 300),
    Scenario("R16", "unknown types", webhooks.unknown_types, 100, 20),
    Scenario("R17", "the file held by somebody else", webhooks.slow_store, 30, 6),
    Scenario("R19", "clock jumps of an hour and of 40 days", clocks.clock_jumps, 100, 6),
    Scenario("R19-workers", "workers an hour ahead and behind", workers.wrong_clocks, 1000, 60, _SERVER),
    Scenario("R20", "webhook against expiry", clocks.event_against_expiry, 2000, 40),
    Scenario("R21", "a file opened 31 days later", clocks.long_sleep, 10_000, 100),
    Scenario("R22", "eight processes, same requests, same events", crowd.many_processes, 500, 12),
    Scenario("R22-held", "whole batches, one request held by somebody", joined.a_request_held, 1, 1, _JOINED),
    Scenario("R23", "two processes, a reader, a writer that holds the file", crowd.two_processes_and_a_third, 10, 1),
    Scenario("R24", "a frozen worker", crowd.frozen_workers, 200, 10),
    Scenario("R25-cut", "connections cut in the middle of steps", workers.cut_connections, 2000, 150, _SERVER),
    Scenario("R25-restart", "the database crashes and comes back", workers.restarted_database, 60, 4, _SERVER),
    Scenario("R25-held", "the tables held for longer than a lease", workers.held_tables, 300, 48, _JOINED),
    Scenario("R25-full", "the disk full, and room again", full.full_disk, 1000, 60, _FILE),
    Scenario("R27", "calls and fetches that fail, with kills in the waits", refused.refusals, 5, 1),
    Scenario("R28", "every webhook lost", lost.lost_webhooks, 200, 10),
    Scenario("R29", "the Events API again", lost.reconcile_again, 100_000, 500),
    Scenario("R30", "the receiver down for four hours", lost.receiver_down, 500, 10),
    Scenario("R31", "every hint lost", lost.lost_hints, 200, 10),
    Scenario("joined", "transactions joined, ended in every way", joined.joined_transactions, 1000, 60, _JOINED),
    Scenario("confirm", "handlers killed around their transaction", joined.handlers_that_confirm, 1000, 40, _JOINED),
    Scenario(
        "flask-gunicorn",
        "four web processes, one worker, HUP and TERM",
        gunicorn.flask_under_gunicorn,
        1000,
        20,
        _FILE,
    ),
    Scenario("R33", "kills in migrations; files of other versions", upgrade.upgrades, 1, 1, _TABLES),
    *(Scenario(name, what, playing, 10_000, 200, _FILE) for name, what, playing in buses.scenarios()),
    *(Scenario(name, what, playing, 10_000, 200, _FILE) for name, what, playing in bus_outage.scenarios()),
    *(Scenario(name, what, playing, 10_000, 200, _FILE) for name, what, playing in bus_poison.scenarios()),
)

SCENARIOS: Mapping[str, Scenario] = MappingProxyType({scenario.name: scenario for scenario in _ALL})
