"""The system's clock, for adapters that must tell the time when they are not given a clock."""

from __future__ import annotations

from leanflow._system import SystemClock

__all__ = ["SystemClock"]
