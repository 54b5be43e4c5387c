"""The ``lean-signature`` header: HMAC-SHA512 of the raw body under the application's webhook secret.

The secret is Lean's "webhook secret" (Dashboard, Integration), not the OAuth client secret. Nothing signed carries a
time: there is no protection against replay but deduplication.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence

from leanflow.errors import InvalidRequest

__all__ = ["HEADER", "find_header", "sign", "verify"]

HEADER = "lean-signature"
_PREFIX = "sha512="
_SHAPE = re.compile(_PREFIX + r"[0-9a-fA-F]{128}", re.ASCII)


def sign(secret: str, raw: bytes) -> str:
    """Return the header value for a body: ``sha512=`` and lower-case hex.

    Raises:
        InvalidRequest: the secret is empty.
    """
    return _PREFIX + hmac.digest(_key(secret), raw, "sha512").hex()


def verify(raw: bytes, header: str | None, secrets: str | Sequence[str]) -> bool:
    """Return whether one of the secrets signed this body.

    Every secret is tried and compared in constant time, whichever matches. Hex of either case is taken; the prefix
    ``sha512=`` must be there, in lower case, and nothing else besides: two headers joined by a comma are refused.

    Args:
        raw: the body as it came, before any parsing.
        header: the ``lean-signature`` header, or None if there was none.
        secrets: one, or several during a rotation.

    Raises:
        InvalidRequest: there is no secret, or an empty one, which would let everybody in.
    """
    keys = [_key(secret) for secret in ((secrets,) if isinstance(secrets, str) else secrets)]
    if not keys:
        raise InvalidRequest("secrets", "there is none; without a secret nothing can be verified")
    if header is None or not _SHAPE.fullmatch(header):
        return False
    claimed = bytes.fromhex(header[len(_PREFIX) :])
    valid = False
    for key in keys:
        valid |= hmac.compare_digest(claimed, hmac.digest(key, raw, "sha512"))
    return valid


def _key(secret: str) -> bytes:
    if not isinstance(secret, str) or not secret.strip():
        raise InvalidRequest("secrets", "a secret is empty or no text; copy the webhook secret from Lean's dashboard")
    return secret.encode("utf-8", "surrogatepass")


def find_header(headers: Mapping[str, str], name: str = HEADER) -> str | None:
    """Return a header's value whatever the case of its name; several are joined by ``", "``, as HTTP says."""
    wanted = name.lower()
    found = [value for key, value in headers.items() if key.lower() == wanted]
    return ", ".join(found) if found else None
