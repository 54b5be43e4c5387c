"""What being observed costs: whole flows without an observer, with an idle one, and with OpenTelemetry."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from statistics import median

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from benchmarks._ours import SECRET, Lean, many, whole_flow
from leanflow import LeanFlow
from leanflow.observing import Observer
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.otel import Telemetry

ROUNDS, FLOWS, CALLERS, STEPS = 5, 400, 16, 6


class _Counted(SpanProcessor):
    """Counts spans; sending them is the exporter's cost, and in a thread of its own."""

    def __init__(self) -> None:
        self.count = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Count."""
        del span
        self.count += 1


async def _flows(observer: Observer | None, flows: int) -> float:
    """Return seconds of processor per flow. On the memory store: what is measured is Python, and nothing else."""
    engine = LeanFlow(store=MemoryStore(), transport=Lean(), webhook_secrets=[SECRET], observer=observer)
    async with engine:
        await many(CALLERS, CALLERS, lambda number: whole_flow(engine, -1 - number))
        start = time.process_time()
        await many(flows, CALLERS, lambda number: whole_flow(engine, number))
        return (time.process_time() - start) / flows


def main(flows: int = FLOWS) -> None:
    """Print the costs."""
    counted = _Counted()
    traces = TracerProvider(shutdown_on_exit=False)
    traces.add_span_processor(counted)
    meters = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    kinds: dict[str, Callable[[], Observer | None]] = {
        "without": lambda: None,
        "an observer that sees nothing": Observer,
        "Telemetry without an SDK": Telemetry,
        "Telemetry with the SDK": lambda: Telemetry(traces, meters),
    }
    seen: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, make in kinds.items():
            seen[name].append(asyncio.run(_flows(make(), flows)))
    base = median(seen["without"])
    print(f"being observed (processor microseconds per step of a flow, memory store; median of {ROUNDS} rounds)")
    for name, figures in seen.items():
        own = median(figures)
        more = f" = {own / base:.2f} x, {(own - base) / STEPS * 1e6:+.0f} per step" if name != "without" else ""
        print(f"  {name:30} {own / STEPS * 1e6:6.0f}{more}")
    print(f"  spans per flow: {counted.count / (ROUNDS * (flows + CALLERS)):.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else FLOWS)
