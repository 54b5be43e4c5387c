"""What OpenTelemetry's own SDK records of an engine, in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from leanflow_adapters.otel import Telemetry

__all__ = ["Recorded"]

Point = tuple[Mapping[str, Any], Any]


@attrs.define
class Recorded:
    """A `Telemetry` over SDK providers of its own, and what they record."""

    exporter: InMemorySpanExporter = attrs.field(factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = attrs.field(factory=InMemoryMetricReader)
    traces: TracerProvider = attrs.field(init=False)
    meters: MeterProvider = attrs.field(init=False)
    telemetry: Telemetry = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.traces = TracerProvider(shutdown_on_exit=False)
        self.traces.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.telemetry = Telemetry(self.traces, self.meters)

    @property
    def spans(self) -> list[ReadableSpan]:
        """All spans that have ended, in that order."""
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of one name."""
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one of a name."""
        [span] = self.named(name)
        return span

    def take(self) -> list[ReadableSpan]:
        """Return what has ended since the last time."""
        spans = self.spans
        self.exporter.clear()
        return spans

    def points(self, name: str) -> list[Point]:
        """Return an instrument's points: attributes, and the value (of a histogram: how many)."""
        return [
            (dict(point.attributes or {}), getattr(point, "value", None) or getattr(point, "count", 0))
            for metric in self._metrics()
            if metric.name == name
            for point in metric.data.data_points
        ]

    def _metrics(self) -> Iterator[Any]:
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                yield from scope.metrics
