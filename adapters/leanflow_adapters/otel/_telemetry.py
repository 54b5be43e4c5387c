"""`Telemetry`: what an engine does, as spans and measurements.

Neither bank data, secrets, Lean's words, nor what may point to a person is in an attribute: only leanflow's own ids,
states, tags and codes. Errors are told by their type alone, since the text of a driver's may hold values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from time import perf_counter
from typing import Any

from opentelemetry import context as otel_context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, TracerProvider

from leanflow import Accepted, Call, DataRequest, State
from leanflow._effects import Announce
from leanflow._health import Health
from leanflow.events import AnsweredRefused, Event
from leanflow.observing import Asked, Called, Commanded, Observer, Received, Sent, Stepped, Told
from leanflow.ports import OutboxRow
from leanflow_adapters.otel._contexts import asker_of, brought, links_to, told_of, traceparent_of
from leanflow_adapters.otel._metrics import Instruments
from leanflow_adapters.otel._names import about, state_of, template_of

__all__ = ["Telemetry"]

SCOPE = "leanflow"


class Telemetry(Observer):
    """Tells OpenTelemetry what an engine does: ``LeanFlow(observer=Telemetry())``.

    The same one may serve several engines. It needs no SDK; without one nothing is recorded.

    Args:
        tracer_provider: makes the tracer; the global one unless given.
        meter_provider: makes the meter; the global one unless given.
        every: seconds between two looks at the store, for the gauges; None: no looks, for all but one of many processes
            on one store.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        every: float | None = 15.0,
    ) -> None:
        self.every = every
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        self._instruments = Instruments(metrics.get_meter(SCOPE, meter_provider=meter_provider))
        self._askers: ContextVar[dict[int, SpanContext] | None] = ContextVar("leanflow_askers", default=None)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Have the workers begin traces of their own, whatever span the engine was opened in."""
        token = otel_context.attach(Context())
        try:
            yield
        finally:
            otel_context.detach(token)

    @contextmanager
    def _span(
        self,
        name: str,
        attributes: Mapping[str, Any],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        context: Context | None = None,
        links: Sequence[Link] = (),
    ) -> Iterator[Span]:
        """Make a span the current one; what is raised in it is told by its type alone."""
        # By hand: `start_as_current_span` goes through two more context managers for each span.
        span = self._tracer.start_span(name, context, kind, attributes, links)
        token = otel_context.attach(trace.set_span_in_context(span))
        try:
            yield span
        except BaseException as error:  # work that was called off has not succeeded either
            _fail(span, type(error).__name__)
            raise
        finally:
            otel_context.detach(token)
            span.end()

    # what is asked for

    @contextmanager
    def asking(self, request: DataRequest) -> Iterator[Asked]:
        """Make the span that the record names: calls that follow at once are its children, what comes later links."""
        with self._span(f"request {request.resource.value}", about(request), kind=SpanKind.PRODUCER) as span:
            asked = Asked(traceparent=traceparent_of(span))
            yield asked
            if (made := asked.request) is None:
                return
            span.set_attributes({"leanflow.request.id": made.id, "leanflow.request.is_new": asked.is_new})
            if asked.is_new:
                self._instruments.changes.add(1, state_of(made))
            elif (asker := asker_of(made.traceparent)[1]) is not None:
                span.add_link(asker)

    @contextmanager
    def working(self, request: DataRequest) -> Iterator[None]:
        """Make a span: for the first call in the asker's trace, for later ones in a trace of its own, linked to it."""
        told = {**about(request), "leanflow.request.id": request.id, "leanflow.call.number": request.call_no}
        parent, asker = asker_of(request.traceparent)
        if request.call_no > 1 or parent is None:
            parent = Context()
            links = [Link(asker)] if asker is not None else []
        else:
            links = []
        with self._span(f"work {request.resource.value}", told, context=parent, links=links):
            yield

    @contextmanager
    def calling(self, request: DataRequest) -> Iterator[Called]:
        """Make a span for one placement, fetch or probe, and measure it by what came of it."""
        called, begin = Called(), perf_counter()
        with self._span(f"call {request.resource.value}", about(request)) as span:
            yield called
            if (event := called.event) is None:
                return
            told: dict[str, Any] = {
                "leanflow.call.source": event.source.value,
                "leanflow.call.outcome": event.tag.removeprefix("answered_"),
            }
            if isinstance(event, AnsweredRefused):
                told["error.type"] = event.code
            span.set_attributes(told)
            self._instruments.calls.record(
                perf_counter() - begin, {"leanflow.resource": request.resource.value, **told}
            )

    @contextmanager
    def sending(self, call: Call) -> Iterator[Sent]:
        """Make a client's span for one HTTP call."""
        template = template_of(call.path)
        told = {"http.request.method": call.method, "url.template": template}
        with self._span(f"{call.method} {template}", told, kind=SpanKind.CLIENT) as span:
            sent = Sent()
            yield sent
            if (answer := sent.answer) is None:
                return
            span.set_attribute("http.response.status_code", answer.status)
            if correlation := answer.headers.get("lean-correlation-id"):
                span.set_attribute("leanflow.correlation_id", correlation)
            if answer.status >= 400:
                _fail(span, str(answer.status))

    @contextmanager
    def stepping(self, request_id: str, event: Event) -> Iterator[Stepped]:
        """Make a span for a step, linked to whoever asked for the request if that was in another trace."""
        told = {"leanflow.request.id": request_id, "leanflow.event": event.tag}
        with self._span(f"step {event.tag}", told) as span:
            stepped = Stepped()
            yield stepped
            request, decision = stepped.request, stepped.decision
            if request is None or decision is None:
                return
            span.set_attributes({**about(request), **state_of(request)})
            if isinstance(decision, Accepted):
                span.set_attribute("leanflow.trigger", decision.trigger)
                if any(isinstance(effect, Announce) for effect in decision.effects):
                    self._instruments.changes.add(1, state_of(request))
            else:
                span.set_attribute("leanflow.declined", str(decision))
            self._link(span, request)

    def _link(self, span: Span, request: DataRequest) -> None:
        asker = asker_of(request.traceparent)[1]
        if asker is None or asker.trace_id == span.get_span_context().trace_id:
            return
        span.add_link(asker)
        if (askers := self._askers.get()) is not None:
            askers[asker.span_id] = asker

    # what comes in, and what goes out

    @contextmanager
    def receiving(self) -> Iterator[Received]:
        """Make a span for a webhook, linked to whoever asked for the requests that it moves."""
        askers: dict[int, SpanContext] = {}
        token = self._askers.set(askers)
        try:
            with self._span("webhook", {}, kind=SpanKind.CONSUMER) as span:
                received = Received()
                yield received
                told = {"leanflow.webhook.verdict": received.verdict or "unknown"}
                if received.event is not None:
                    told["leanflow.webhook.type"] = received.event.type
                    span.update_name(f"webhook {received.event.type}")
                span.set_attributes(told)
                self._instruments.webhooks.add(1, told)
                for asker in askers.values():
                    span.add_link(asker)
                if received.reply is not None and received.reply.retry:
                    _fail(span, "unavailable")
        finally:
            self._askers.reset(token)

    @contextmanager
    def commanding(self, headers: Mapping[str, str]) -> Iterator[Commanded]:
        """Make a span for a command, in the trace that the message brings if none is current."""
        context = None if trace.get_current_span().get_span_context().is_valid else brought(headers)
        with self._span("command", {}, kind=SpanKind.CONSUMER, context=context) as span:
            seen = Commanded()
            yield seen
            told = {"leanflow.command": seen.command or "unknown"}
            if seen.reply is not None:
                told["leanflow.command.status"] = str(seen.reply.status)
                if seen.reply.status != 200:
                    _fail(span, str(seen.reply.status))
            span.update_name(f"command {told['leanflow.command']}")
            span.set_attributes(told)
            self._instruments.commands.add(1, told)

    @contextmanager
    def telling(self, sink: str, rows: Sequence[OutboxRow]) -> Iterator[Told]:
        """Make a span for a batch to a bus, or one announcement to a handler, linked to whoever asked."""
        told = {"leanflow.sink": sink, "messaging.batch.message_count": len(rows)}
        links = links_to(map(told_of, rows))
        with self._span(f"deliver {sink}", told, kind=SpanKind.PRODUCER, links=links) as span:
            note = Told()
            try:
                yield note
            except BaseException:  # cancelled, too: none is known to have arrived
                self._delivered(sink, taken=0, refused=len(rows))
                raise
            refused = [error for error in note.errors if error is not None]
            self._delivered(sink, taken=len(rows) - len(refused), refused=len(refused))
            if refused:
                _fail(span, type(refused[0]).__name__)

    def _delivered(self, sink: str, *, taken: int, refused: int) -> None:
        for outcome, count in (("delivered", taken), ("failed", refused)):
            if count:
                told = {"leanflow.sink": sink, "leanflow.outcome": outcome}
                self._instruments.announcements.add(count, told)

    def looked(self, counts: Mapping[State, int], health: Health, now: datetime) -> None:
        """Set the gauges."""
        self._instruments.looked(counts, health, now)


def _fail(span: Span, kind: str) -> None:
    span.set_status(StatusCode.ERROR)
    span.set_attribute("error.type", kind)
