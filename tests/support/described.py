"""Holds what Mockbank answers to Mockbank's own description of itself."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from jsonschema_rs import Draft202012Validator

from leanflow import Answer, Call
from leanflow.mockbank import Mockbank
from leanflow.mockbank.adversary._effects import EFFECTS
from leanflow.mockbank.api._route_table import routes
from leanflow.mockbank.api._router import Router

__all__ = ["hold_to_description"]

# Faults that are meant to break what Lean promises: all but those that decide what it says.
_BREAKING = frozenset(name for name, effect in EFFECTS.items() if effect.stage != "deciding")


@lru_cache(maxsize=8)
def _router(region: str) -> Router:
    return Router(routes(region))


@lru_cache(maxsize=256)
def _validator(shape: str, region: str) -> Draft202012Validator:
    schemas = Mockbank(region=region).openapi()["components"]["schemas"]
    whole = {"$ref": f"#/components/schemas/{shape}", "components": {"schemas": schemas}}
    return Draft202012Validator(whole, validate_formats=True)


def hold_to_description(bank: Mockbank, call: Call, answer: Answer | None) -> None:
    """Fail if an answer is not as Mockbank describes it, unless a fault was to break it."""
    struck = re.findall(r"\w+", bank.log.calls[-1].fault or "")
    if answer is None or not _BREAKING.isdisjoint(struck):
        return
    methods, _ = _router(bank.settings.region).find(call.path)
    route = methods.get(call.method)
    shape = "error" if route is None else route.answers.get(answer.status)
    if shape is None:
        assert route is not None
        assert answer.status in route.errors, f"{call.method} {call.path} answered {answer.status}, undescribed"
        shape = "error"
    body: Any = json.loads(answer.body)
    for error in _validator(shape, bank.settings.region).iter_errors(body):
        message = f"{call.method} {call.path}: {answer.status} is no {shape}: {error}"
        raise AssertionError(message)
