"""Rows of the outbox, as an engine would hand them to a bus."""

from __future__ import annotations

from typing import Any

from leanflow.ports import OutboxRow

__all__ = ["change_row"]


def change_row(number: int = 1, request: int = 1, **fields: Any) -> OutboxRow:
    """Return a row of a change: the `number`-th of a request."""
    about = f"019b8a00-0000-7000-8000-{request:012d}"
    payload = f'{{"request": {{"id": "{about}", "entity_id": "entity-{request}", "version": {number}}}}}'
    values: dict[str, Any] = {
        "key": f"{about}:{number}:change",
        "sink": "bus",
        "kind": "change",
        "request_id": about,
        "payload": payload,
    }
    return OutboxRow(**{**values, **fields})
