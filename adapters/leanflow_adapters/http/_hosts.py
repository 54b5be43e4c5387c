"""Where Lean lives: one table, from Lean's docs ("Environments") and the spellings that integrations use."""

from __future__ import annotations

from types import MappingProxyType

import attrs
from yarl import URL

from leanflow.errors import InvalidRequest

__all__ = ["HOSTS", "Hosts", "base_of", "hosts_for"]


@attrs.frozen(kw_only=True)
class Hosts:
    """The hosts of one region and environment.

    Attributes:
        api: takes calls with an OAuth2 bearer token.
        old_api: takes calls with ``lean-app-token``.
        auth: hands out OAuth2 tokens.
    """

    api: str
    old_api: str
    auth: str


# Keys are (region, environment). In production the UAE serves OAuth2 on `api2` and the old app token, behind mTLS, on
# `api`. Of Lean's mTLS-only hosts (`mtls.sandbox…`) none is a default: a TLS context does not say that it
# carries a client certificate, so those are given as `base_url`.
HOSTS = MappingProxyType(
    {
        ("uae", "sandbox"): Hosts(
            api="https://sandbox.leantech.me",
            old_api="https://sandbox.leantech.me",
            auth="https://auth.sandbox.leantech.me",
        ),
        ("uae", "production"): Hosts(
            api="https://api2.leantech.me",
            old_api="https://api.leantech.me",
            auth="https://auth.leantech.me",
        ),
        ("ksa", "sandbox"): Hosts(
            api="https://sandbox.sa.leantech.me",
            old_api="https://sandbox.sa.leantech.me",
            auth="https://auth.sandbox.sa.leantech.me",
        ),
        ("ksa", "production"): Hosts(
            api="https://api2.sa.leantech.me",
            old_api="https://api2.sa.leantech.me",
            auth="https://auth.sa.leantech.me",
        ),
    }
)


def hosts_for(region: str, environment: str) -> Hosts:
    """Return the hosts of a region and environment.

    Raises:
        InvalidRequest: one of them is unknown.
    """
    if region not in {"uae", "ksa"}:
        raise InvalidRequest("region", f"{region!r} is not one of 'uae', 'ksa'")
    if environment not in {"sandbox", "production"}:
        raise InvalidRequest("environment", f"{environment!r} is not one of 'sandbox', 'production'")
    return HOSTS[region, environment]


def base_of(parameter: str, text: str) -> str:
    """Return a base URL without its trailing slash, quoted as it goes over the wire.

    Args:
        parameter: the argument that it came from, for the error.
        text: scheme, host, optional port, optional path prefix.

    Raises:
        InvalidRequest: it is not such a URL. The text is not repeated: somebody may have put a password into it.
    """
    expected = "must be an http:// or https:// URL with a host, and without user, query or fragment"
    try:
        url = URL(text)
    except (TypeError, ValueError):
        raise InvalidRequest(parameter, expected) from None
    is_plain = url.user is None and url.password is None and not url.raw_query_string and not url.raw_fragment
    if url.scheme not in {"http", "https"} or not url.raw_host or not is_plain:
        raise InvalidRequest(parameter, expected)
    return str(url).rstrip("/")
