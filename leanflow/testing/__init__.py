"""Testing what is built on leanflow: a clock moved by hand, and conformance suites for adapters."""

from __future__ import annotations

from leanflow.testing._clock import FakeClock, Traveller, travel

__all__ = ["FakeClock", "Traveller", "travel"]
