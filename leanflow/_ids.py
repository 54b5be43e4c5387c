"""Ids in order of time (UUIDv7, RFC 9562), so that what is made together lies together in every index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from leanflow._request import Resource, Scope
from leanflow.ports import RandomSource

__all__ = ["fingerprint_of", "first_id", "new_id"]

_BITS = 62
_DICE = 53


def new_id(now: datetime, dice: RandomSource) -> str:
    """Return a UUIDv7 as text: 48 bits of milliseconds, 12 of the microseconds within, 53 of dice.

    Args:
        now: aware.
        dice: asked once; one number has 53 bits.
    """
    return _id(now, int(dice.random() * (1 << _DICE)) << (_BITS - _DICE))


def first_id(now: datetime) -> str:
    """Return an id before which are all that were made earlier, and behind which are all that are made later."""
    return _id(now, 0)


def _id(now: datetime, tail: int) -> str:
    micros = int(now.timestamp() * 1_000_000)
    millis, rest = divmod(micros, 1000)
    value = (millis & (1 << 48) - 1) << 80 | 0x7 << 76 | (rest * 4096 // 1000) << 64 | 0b10 << _BITS | tail
    return str(UUID(int=value))


def fingerprint_of(
    scope: Scope, api: str, resource: Resource, entity_id: str, account_id: str | None, params: Mapping[str, str]
) -> str:
    """Return the digest of what makes two requests the same to Lean (which matches endpoint, entity and parameters)."""
    parts = [
        scope.app,
        scope.environment,
        scope.region,
        api,
        resource.value,
        entity_id,
        account_id,
        sorted(params.items()),
    ]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()
