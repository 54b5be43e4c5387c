"""The instruments, by the names that the documentation lists."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from opentelemetry.metrics import Meter

from leanflow import State
from leanflow._health import Health

__all__ = ["Instruments"]

_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 70.0)
"""Seconds: Lean answers within about one or after many, and the transport gives up at 70."""


class Instruments:
    """What is counted and measured."""

    def __init__(self, meter: Meter) -> None:
        self.changes = meter.create_counter(
            "leanflow.request.changes", unit="{change}", description="States entered, creations included."
        )
        self.calls = meter.create_histogram(
            "leanflow.call.duration",
            unit="s",
            description="Placements, fetches and probes, with all their pages.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self.webhooks = meter.create_counter(
            "leanflow.webhooks", unit="{webhook}", description="Webhooks, by what became of them."
        )
        self.commands = meter.create_counter(
            "leanflow.commands", unit="{command}", description="Commands from buses, by what was answered."
        )
        self.announcements = meter.create_counter(
            "leanflow.announcements", unit="{announcement}", description="Tries to hand an announcement to its sink."
        )
        self._requests = meter.create_gauge(
            "leanflow.requests", unit="{request}", description="Stored requests in each state."
        )
        self._due = meter.create_gauge(
            "leanflow.due.age", unit="s", description="How long the oldest thing that is due has been so."
        )
        self._undelivered = meter.create_gauge(
            "leanflow.outbox.undelivered", unit="{announcement}", description="Announcements that wait."
        )
        self._set_aside = meter.create_gauge(
            "leanflow.outbox.set_aside", unit="{announcement}", description="Announcements given up until redelivered."
        )
        self._lag = meter.create_gauge(
            "leanflow.outbox.lag", unit="s", description="How long the oldest announcement that waits has waited."
        )

    def looked(self, counts: Mapping[State, int], health: Health, now: datetime) -> None:
        """Set the gauges; a store that is away leaves them as they are, and its health is nobody's zero."""
        if not health.store_reachable:
            return
        for state, count in counts.items():
            self._requests.set(count, {"leanflow.state": state.value})
        self._due.set(_age(health.next_due_at, now))
        for sink, lag in health.sinks.items():
            told = {"leanflow.sink": sink}
            self._undelivered.set(lag.undelivered, told)
            self._set_aside.set(lag.set_aside, told)
            self._lag.set(_age(lag.oldest_at, now), told)


def _age(moment: datetime | None, now: datetime) -> float:
    return 0.0 if moment is None else max(0.0, (now - moment).total_seconds())
