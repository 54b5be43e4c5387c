"""Trace contexts as records keep them, and as messages bring them: W3C Trace Context."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import unquote

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from leanflow.ports import OutboxRow

__all__ = ["asker_of", "brought", "links_to", "told_of", "traceparent_of"]

_W3C = TraceContextTextMapPropagator()
_NAME = "traceparent"
_BROUGHT = re.compile(r"(?:ce[-_]|cloudevents[:_])?traceparent", re.IGNORECASE)
MAX_LINKS = 100  # of one batch: more than a span of the SDK keeps (128) would be dropped without a word


def traceparent_of(span: Span) -> str | None:
    """Return what a record keeps of a span; None if nothing records."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get(_NAME)


def _context(traceparent: str | None) -> Context | None:
    if not traceparent:
        return None
    context = _W3C.extract({_NAME: traceparent}, Context())
    return context if trace.get_current_span(context).get_span_context().is_valid else None


@lru_cache(maxsize=4096)
def asker_of(traceparent: str | None) -> tuple[Context | None, SpanContext | None]:
    """Return the span that a record names, as a parent and as the target of a link."""
    context = _context(traceparent)
    return context, None if context is None else trace.get_current_span(context).get_span_context()


def links_to(traceparents: Iterable[str | None]) -> list[Link]:
    """Return a link to each, once."""
    found = dict.fromkeys(each for each in traceparents if each)
    targets = (asker_of(each)[1] for each in list(found)[:MAX_LINKS])
    return [Link(target) for target in targets if target is not None]


def told_of(row: OutboxRow) -> str | None:
    """Return the trace context in an announcement's request."""
    request = json.loads(row.payload).get("request")
    found = request.get(_NAME) if isinstance(request, dict) else None
    return found if isinstance(found, str) else None


def brought(headers: Mapping[str, str]) -> Context | None:
    """Return the context that a message's headers bring, or None."""
    for name, value in headers.items():
        if _BROUGHT.fullmatch(name) and (found := _context(unquote(value))) is not None:
            return found
    return None
