"""The token endpoint, and who may call what.

Tokens are JWTs (HS256, signed with the client secret), because Lean's Link SDK reads ``exp`` from them; so nothing
needs to be remembered about a token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from leanflow._call import Answer

from ._answers import Refused
from ._ask import Ask
from ._json import loads, to_bytes
from ._world import World

__all__ = ["authorise", "issue_token", "token"]


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


def _claims(world: World, token: str, now: datetime) -> dict[str, Any] | None:
    """Return what a valid token says, or None."""
    signed, _, seal = token.rpartition(".")
    if not token.isascii() or not hmac.compare_digest(seal, _seal(world, signed)):
        return None
    try:
        claims = loads(_unb64(signed.partition(".")[2]))
    except ValueError:
        return None
    if not isinstance(claims, dict) or claims.get("generation") != world.token_generation:
        return None
    return claims if claims["exp"] > now.timestamp() else None


def _same(given: str, wanted: str) -> bool:
    # Headers that are no UTF-8 arrive with surrogates in them.
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())


def _header(ask: Ask, name: str) -> str | None:
    return next((value for key, value in ask.call.headers.items() if key.lower() == name), None)


def authorise(ask: Ask) -> None:
    """Let a call pass, by bearer token of scope ``api`` or by ``lean-app-token``, as the settings say.

    Raises:
        Refused: 401 without valid credentials, 403 with a token of another scope.
    """
    world = ask.world
    how = world.settings.auth
    if how == "none":
        return
    app_token = _header(ask, "lean-app-token")
    if how in ("either", "app_token") and app_token is not None:
        if _same(app_token, world.settings.app):
            return
        raise Refused(status=401, code="UNAUTHORIZED")
    scheme, _, value = (_header(ask, "authorization") or "").partition(" ")
    claims = _claims(world, value, ask.now) if how != "app_token" and scheme.lower() == "bearer" else None
    if claims is None:
        raise Refused(status=401, code="UNAUTHORIZED")
    if claims["scope"] != "api":
        raise Refused(status=403, code="INCORRECT_ACCESS_LEVEL")


def _credentials(ask: Ask, form: dict[str, str]) -> tuple[str, str]:
    """Return client id and secret: from the form, or from HTTP Basic (RFC 6749, 2.3.1)."""
    scheme, _, value = (_header(ask, "authorization") or "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client, _, secret = base64.b64decode(value).decode().partition(":")
        except ValueError:
            return "", ""
        return client, secret
    return form.get("client_id", ""), form.get("client_secret", "")


def token(ask: Ask) -> Answer:
    """Answer ``POST /oauth2/token`` (RFC 6749, 4.4; errors as in 5.2)."""
    world = ask.world
    try:
        fields = parse_qs((ask.call.body or b"").decode(), keep_blank_values=True)
    except ValueError:
        fields = {}
    form = {name: values[0] for name, values in fields.items()}
    client, secret = _credentials(ask, form)
    known = _same(client, world.settings.app)
    if not (_same(secret, world.settings.client_secret) and known):
        return ask.write.json({"error": "invalid_client"}, 401)
    if form.get("grant_type") != "client_credentials":
        return ask.write.json({"error": "unsupported_grant_type"}, 400)
    scope = form.get("scope", "")
    customer = scope.removeprefix("customer.") if scope.startswith("customer.") else None
    if scope != "api" and customer not in world.customers:
        return ask.write.json({"error": "invalid_scope"}, 400)
    body = {
        "access_token": issue_token(world, scope, ask.now),
        "scope": scope,
        "token_type": "Bearer",
        "expires_in": int(world.settings.token_life.total_seconds()),
    }
    return ask.write.json(body, headers={"cache-control": "no-store"})
