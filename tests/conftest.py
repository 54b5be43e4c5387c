"""Hypothesis profiles: how many examples, and whether they are always the same.

``HYPOTHESIS_PROFILE`` names one: ``dev`` (the default: quick, new examples each time), ``ci`` (the same examples each
time, so that a red run is red again), ``deep`` (thousands, for `make torture` and for a night).
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

# No deadline: two busy cores make any example slow once. Slow generation is a matter of taste, not a failure.
_COMMON: dict[str, Any] = {"deadline": None, "suppress_health_check": (HealthCheck.too_slow,), "print_blob": True}

settings.register_profile("dev", settings(max_examples=100, **_COMMON))
settings.register_profile("ci", settings(max_examples=200, derandomize=True, **_COMMON))
settings.register_profile("deep", settings(max_examples=10_000, **_COMMON))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
