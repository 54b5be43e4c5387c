"""hypothesis strategies: what Lean may say, what may arrive of it, and what may happen to a request.

Everything on the wire is raw bytes, in all the shapes that were documented or captured: API v1 and v2, times of any
precision, ids that are left out, types and statuses that nobody knows. Needs hypothesis (the extra ``testing``).
"""

from __future__ import annotations

try:
    import hypothesis  # noqa: F401 - what the modules below need
except ModuleNotFoundError as error:
    _missing = "leanflow.testing.strategies needs the extra: pip install 'leanflow-openbanking[testing]'"
    raise ModuleNotFoundError(_missing, name=error.name) from error

from leanflow.testing._arriving import Delivery, deliveries, forged, malformed
from leanflow.testing._histories import History, disturbed, histories
from leanflow.testing._said import ANSWERS, answers, calls_to_lean, times, webhooks

__all__ = [
    "ANSWERS",
    "Delivery",
    "History",
    "answers",
    "calls_to_lean",
    "deliveries",
    "disturbed",
    "forged",
    "histories",
    "malformed",
    "times",
    "webhooks",
]
