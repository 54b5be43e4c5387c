"""One HTTP call to Lean, and what came back: values, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs

__all__ = ["Answer", "Call", "Reply"]

_EMPTY: Mapping[str, str] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class Call:
    """One HTTP call to Lean, relative to its base. The transport adds host and authentication.

    Attributes:
        method: ``GET``, ``POST``, ``PUT`` or ``DELETE``.
        path: begins with ``/``; already quoted.
        query: names to values, unquoted.
        headers: beyond authentication and content type; never a secret.
        body: JSON bytes, or None.
    """

    method: str
    path: str
    query: Mapping[str, str] = _EMPTY
    headers: Mapping[str, str] = _EMPTY
    body: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class Answer:
    """What came back for a call.

    Attributes:
        status: the HTTP status.
        headers: names in lower case.
        body: the raw bytes.
    """

    status: int
    headers: Mapping[str, str] = _EMPTY
    body: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen(kw_only=True)
class Reply:
    """What to answer to whoever delivered a webhook.

    Attributes:
        status: the HTTP status: exactly 200 when it is safely stored.
        body: a short text, safe to send.
        headers: names in lower case.
        retry: True when the sender should send the same again.
        reason: why it is not taken in, for whoever runs this: never for the sender.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = _EMPTY
    retry: bool = False
    reason: str = attrs.field(default="", eq=False)
