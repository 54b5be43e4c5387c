"""What the page of messages shows of the schemas, and the AsyncAPI document beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from leanflow._asyncapi import asyncapi
from leanflow._schemas import DEFINITIONS, schema
from tests.docs.documents import ROOT

__all__ = ["DOCUMENT", "MESSAGES", "document"]

DOCUMENT = ROOT / "docs" / "reference" / "asyncapi.json"


def document() -> str:
    """Return the AsyncAPI document as it lies in the documentation."""
    made = asyncapi(version=version("leanflow-openbanking"))
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _table(name: str) -> Callable[[], str]:
    def text() -> str:
        made = schema(name)
        rows = [
            f"| `{field}` | {_kind(what)} | {'yes' if field in made['required'] else ''} | {_words(what)} |"
            for field, what in made["properties"].items()
        ]
        return "\n".join(["| field | type | always | what it is |", "|---|---|---|---|", *rows])

    return text


def _kind(what: Mapping[str, Any]) -> str:
    if "const" in what:
        return f"`{json.dumps(what['const'])}`"
    for name in ("oneOf", "allOf"):
        if name in what:
            return " or ".join(map(_kind, what[name]))
    if "$ref" in what:
        return str(what["$ref"].rpartition("/")[2])
    kinds = what["type"] if isinstance(what["type"], list) else [what["type"]]
    return " or ".join("time" if kind == "string" and what.get("format") == "date-time" else kind for kind in kinds)


def _words(what: Mapping[str, Any]) -> str:
    return str(what.get("description", "")).replace("``", "`").replace("|", "\\|")


MESSAGES = {
    f"message:{name}": _table(name) for name in DEFINITIONS if "properties" in schema(name) and name != "Webhook"
}
"""Of Lean's webhooks the page shows no table: their fields depend on the type."""
