"""The token endpoint, and who may call what."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qs

from leanflow._call import Answer
from leanflow.mockbank._tokens import claims, issue_token

from ._answers import Refused
from ._ask import Ask

__all__ = ["authorise", "token"]

_FORM = "application/x-www-form-urlencoded"
_FIELDS_AT_MOST = 50
_NAMES = ("grant_type", "scope", "client_id", "client_secret")
_CHALLENGE = {"www-authenticate": "Bearer"}  # RFC 9110, 11.6.1


def _same(given: str, wanted: str) -> bool:
    # Headers that are no UTF-8 arrive with surrogates in them.
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())


def authorise(ask: Ask) -> None:
    """Let a call pass, by bearer token of scope ``api`` or by ``lean-app-token``, as the settings say.

    Raises:
        Refused: 401 without valid credentials, 403 with a token of another scope.
    """
    world = ask.world
    how = world.settings.auth
    if how == "none":
        return
    app_token = ask.header("lean-app-token")
    if how in ("either", "app_token") and app_token is not None:
        if _same(app_token, world.settings.app):
            return
        raise Refused(status=401, code="UNAUTHORIZED", headers=_CHALLENGE)
    scheme, _, value = (ask.header("authorization") or "").partition(" ")
    says = claims(world, value, ask.now) if how != "app_token" and scheme.lower() == "bearer" else None
    if says is None:
        raise Refused(status=401, code="UNAUTHORIZED", headers=_CHALLENGE)
    if says["scope"] != "api":
        raise Refused(status=403, code="INCORRECT_ACCESS_LEVEL")


def _credentials(ask: Ask, form: dict[str, str]) -> tuple[str, str]:
    """Return client id and secret: from the form, or from HTTP Basic (RFC 6749, 2.3.1)."""
    scheme, _, value = (ask.header("authorization") or "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client, _, secret = base64.b64decode(value).decode().partition(":")
        except ValueError:
            return "", ""
        return client, secret
    return form.get("client_id", ""), form.get("client_secret", "")


def _form(ask: Ask) -> dict[str, str] | None:
    """Return the form that was sent, or None if it is none: of another type, no text, or with a name twice."""
    media = (ask.header("content-type") or _FORM).partition(";")[0].strip().lower()
    if media != _FORM:
        return None
    try:
        fields = parse_qs((ask.call.body or b"").decode(), keep_blank_values=True, max_num_fields=_FIELDS_AT_MOST)
    except ValueError:
        return None
    form = {name: fields[name] for name in _NAMES if name in fields}
    return {name: values[0] for name, values in form.items()} if all(len(has) == 1 for has in form.values()) else None


def token(ask: Ask) -> Answer:
    """Answer ``POST /oauth2/token`` (RFC 6749, 4.4; errors as in 5.2)."""
    world, form = ask.world, _form(ask)
    if form is None:
        return _no_token(ask, "invalid_request")
    client, secret = _credentials(ask, form)
    known = _same(client, world.settings.app)
    if not (_same(secret, world.settings.client_secret) and known):
        return _no_token(ask, "invalid_client", 401, {"www-authenticate": "Basic"})
    if "grant_type" not in form:
        return _no_token(ask, "invalid_request")
    if form["grant_type"] != "client_credentials":
        return _no_token(ask, "unsupported_grant_type")
    scope = form.get("scope", "")
    customer = scope.removeprefix("customer.") if scope.startswith("customer.") else None
    if scope != "api" and customer not in world.customers:
        return _no_token(ask, "invalid_scope")
    body = {
        "access_token": issue_token(world, scope, ask.now),
        "scope": scope,
        "token_type": "Bearer",
        "expires_in": int(world.settings.token_life.total_seconds()),
    }
    return ask.write.json(body, headers={"cache-control": "no-store"})


def _no_token(ask: Ask, error: str, status: int = 400, headers: Mapping[str, str] | None = None) -> Answer:
    return ask.write.json({"error": error}, status, headers)
