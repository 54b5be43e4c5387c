"""Tokens, made and opened.

They are JWTs (HS256, signed with the client secret), because Lean's Link SDK reads ``exp`` from them; so nothing needs
to be remembered about a token. What the last ones say is, because opening one takes as long as a small answer.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Any

from ._world import World
from .basics._json import loads, to_bytes
from .basics._memory import thin

__all__ = ["claims", "issue_token"]

_OPENED_AT_MOST = 100  # clients have one or two at a time


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _seal(world: World, signed: str) -> str:
    return _b64(hmac.new(world.settings.client_secret.encode(), signed.encode(), hashlib.sha256).digest())


def issue_token(world: World, scope: str, now: datetime) -> str:
    """Return a fresh token for a scope: ``api`` or ``customer.<customer_id>``."""
    issued = int(now.timestamp())
    claims = {
        "iss": "mockbank",
        "sub": world.settings.app,
        "scope": scope,
        "iat": issued,
        "exp": issued + int(world.settings.token_life.total_seconds()),
        "jti": world.ids.next("token"),
        "generation": world.token_generation,
    }
    signed = f"{_b64(to_bytes({'alg': 'HS256', 'typ': 'JWT'}))}.{_b64(to_bytes(claims))}"
    return f"{signed}.{_seal(world, signed)}"


def claims(world: World, token: str, now: datetime) -> dict[str, Any] | None:
    """Return what a valid token says, or None."""
    says = world.opened.get(token)
    if says is None:
        says = _opened(world, token)
        if says is None:
            return None
        world.opened[token] = says
        thin(world.opened, _OPENED_AT_MOST)
    return says if says.get("generation") == world.token_generation and says["exp"] > now.timestamp() else None


def _opened(world: World, token: str) -> dict[str, Any] | None:
    """Return what a token says whose seal is right, or None."""
    signed, _, seal = token.rpartition(".")
    if not token.isascii() or not hmac.compare_digest(seal, _seal(world, signed)):
        return None
    try:
        says = loads(_unb64(signed.partition(".")[2]))
    except ValueError:
        return None
    return says if isinstance(says, dict) else None
