"""What spans and measurements are told apart by: nothing that points to a person."""

from __future__ import annotations

from typing import Any

from leanflow import DataRequest

__all__ = ["about", "state_of", "template_of"]

_WORDS = frozenset(
    {
        "data", "customers", "entities", "events", "banks", "link", "connect", "results", "refreshes", "app-user-id",
        "identity", "identities", "accounts", "balance", "balances", "transactions", "beneficiaries", "direct-debits",
        "scheduled-payments", "standing-orders", "v1", "v2",
    }
)  # fmt: skip
"""What the paths of Lean's API are made of; all else is taken for an id."""


def about(request: DataRequest) -> dict[str, Any]:
    """Return what every span of a request is told with."""
    return {
        "leanflow.resource": request.resource.value,
        "leanflow.environment": request.environment,
        "leanflow.region": request.region,
    }


def state_of(request: DataRequest) -> dict[str, Any]:
    """Return the state that a request has entered, and why if it failed."""
    told = {"leanflow.state": request.state.value, "leanflow.resource": request.resource.value}
    if request.failure is not None:
        told["leanflow.failure"] = request.failure.code
    return told


def template_of(path: str) -> str:
    """Return a path with its ids taken out."""
    parts = path.partition("?")[0].strip("/").split("/")
    return "/" + "/".join(part if part in _WORDS else "{id}" for part in parts)
