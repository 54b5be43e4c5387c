"""What `Lean.connect` and `Lean.reconnect` may be called with. Lean's own SDK lets much pass; this stand-in tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from leanflow.errors import InvalidRequest
from leanflow.mockbank._link_session import LinkParameters
from leanflow.mockbank._state import PERMISSIONS
from leanflow.mockbank._tokens import claims
from leanflow.mockbank._world import World

__all__ = ["check_token", "read_parameters"]

_TOKEN_LEFT = timedelta(minutes=10)  # the SDK refuses a token with less (Lean docs, Link SDK)
_RUNS_SCRIPT = frozenset({"javascript", "data", "vbscript", "blob"})  # no place to send anybody to


def _text(value: object) -> str | None:
    return None if isinstance(value, str) and value else "must be a text"


def _one_of(*allowed: str) -> Callable[[object], str | None]:
    return lambda value: None if value in allowed else f"is {value!r}; must be one of {', '.join(allowed)}"


def _sandbox(value: object) -> str | None:
    if value is True or value == "true":
        return None
    if value is False or value == "false":
        return "is false, and Mockbank is a sandbox: in production this would ask real banks"
    return "must be true or false, as a boolean or as a text"


def _permissions(value: object) -> str | None:
    if not isinstance(value, list | tuple) or not value:
        return "must be a list with at least one permission"
    unknown = [str(one) for one in value if one not in PERMISSIONS]
    return f"{', '.join(unknown)} is none of {', '.join(PERMISSIONS)}" if unknown else None


def _address(value: object) -> str | None:
    try:
        scheme = urlsplit(value).scheme.lower() if isinstance(value, str) else ""
    except ValueError:
        scheme = ""
    return None if scheme and scheme not in _RUNS_SCRIPT else "must be an absolute URL"


def _object(value: object) -> str | None:
    return None if isinstance(value, Mapping) else "must be an object"


def _text_or_object(value: object) -> str | None:
    return None if isinstance(value, str | Mapping) else "must be a text or an object"


Checks = Mapping[str, Callable[[object], str | None]]

_BOTH: Checks = {"app_token": _text, "sandbox": _sandbox}
_BOTH_OPTIONAL: Checks = {
    "access_token": _text,
    "language": _one_of("en", "ar"),
    "customization": _object,
    "success_redirect_url": _address,
    "fail_redirect_url": _address,
}
_REQUIRED: Mapping[str, Checks] = MappingProxyType(
    {
        "connect": {**_BOTH, "customer_id": _text, "permissions": _permissions},
        "reconnect": {**_BOTH, "reconnect_id": _text},
    }
)
_OPTIONAL: Mapping[str, Checks] = MappingProxyType(
    {
        "connect": {
            **_BOTH_OPTIONAL,
            "bank_identifier": _text,
            "country": _text,
            "account_type": _one_of("PERSONAL", "BUSINESS"),
        },
        "reconnect": {
            **_BOTH_OPTIONAL,
            "customer_metadata": _text_or_object,
            "destination_alias": _text,
            "destination_avatar": _text,
        },
    }
)


def read_parameters(world: World, method: str, given: Mapping[str, Any]) -> LinkParameters:
    """Return the parameters of a call of the SDK. None counts as left out.

    Raises:
        InvalidRequest: an unknown method; a parameter is unknown, missing, of the wrong kind, or names nothing here.
    """
    if method not in _REQUIRED:
        raise InvalidRequest("method", f"{method!r} is none of {', '.join(_REQUIRED)}")
    required, optional = _REQUIRED[method], _OPTIONAL[method]
    said = {name: value for name, value in given.items() if value is not None}
    for name in said:
        if name not in required and name not in optional:
            raise InvalidRequest(name, f"is no parameter of Lean.{method}; known: {', '.join((*required, *optional))}")
    for name in required:
        if name not in said:
            raise InvalidRequest(name, f"is missing: Lean.{method} needs it")
    for name, value in said.items():
        wrong = (required.get(name) or optional[name])(value)
        if wrong is not None:
            raise InvalidRequest(name, wrong)
    _check_names(world, said)
    return LinkParameters(
        method=method,
        language=said.get("language", "en"),
        success_redirect_url=said.get("success_redirect_url"),
        fail_redirect_url=said.get("fail_redirect_url"),
        customer_id=said.get("customer_id", ""),
        permissions=tuple(name for name in PERMISSIONS if name in said.get("permissions", ())),
        bank_identifier=said.get("bank_identifier"),
        reconnect_id=said.get("reconnect_id", ""),
        access_token=said.get("access_token"),
    )


def _check_names(world: World, said: Mapping[str, Any]) -> None:
    if said["app_token"] != world.settings.app:
        raise InvalidRequest("app_token", "is not this Mockbank's application id")
    if "customer_id" in said and said["customer_id"] not in world.customers:
        raise InvalidRequest("customer_id", "is not known: create the customer first")
    if "bank_identifier" in said:
        world.bank(said["bank_identifier"])
    here = (world.country.code, world.country.alpha3)
    if said.get("country", here[0]) not in here:
        raise InvalidRequest("country", f"is {said['country']!r}; this Mockbank is in {' or '.join(here)}")


def check_token(world: World, parameters: LinkParameters, customer_id: str | None, now: datetime) -> None:
    """Check the customer's access token: it must be there where the API takes nothing else.

    Args:
        world: whose tokens.
        parameters: with the token, perhaps.
        customer_id: whose it must be; None: nobody knows whose.
        now: the present time.

    Raises:
        InvalidRequest: it is missing, wrong, somebody else's, or has less than 10 minutes left.
    """
    name, text = "access_token", parameters.access_token
    if text is None:
        if world.settings.auth == "bearer":
            raise InvalidRequest(name, "is missing: this Mockbank takes OAuth tokens only")
        return
    says = claims(world, text, now)
    if says is None:
        raise InvalidRequest(name, "is not a valid token, or has expired")
    scope = str(says["scope"])
    if not scope.startswith("customer."):
        raise InvalidRequest(
            name, f"has scope {scope}; a browser must only be given one of scope customer.<customer_id>"
        )
    if customer_id is not None and scope != f"customer.{customer_id}":
        raise InvalidRequest(name, "is another customer's")
    if says["exp"] - now.timestamp() < _TOKEN_LEFT.total_seconds():
        raise InvalidRequest(name, "has less than 10 minutes left")
