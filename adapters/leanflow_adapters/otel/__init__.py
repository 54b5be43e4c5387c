"""Traces and metrics by OpenTelemetry. Needs the extra ``otel``; the SDK is the application's."""

from __future__ import annotations

try:
    import opentelemetry.trace  # noqa: F401 - what the modules below need
except ModuleNotFoundError as error:
    _missing = "leanflow_adapters.otel needs the extra: pip install 'leanflow-openbanking[otel]'"
    raise ModuleNotFoundError(_missing, name=error.name) from error

from leanflow_adapters.otel._telemetry import Telemetry

__all__ = ["Telemetry"]
