"""What the front end needs: the arguments of `Lean.reconnect` and `Lean.connect`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

__all__ = ["ConnectPrompt", "ReconnectPrompt"]


@attrs.frozen(kw_only=True)
class ReconnectPrompt:
    """One prompt for the user. Hand `to_dict()` to the browser, and its callback with `number` to `flows.callback`.

    Attributes:
        request_id: whose prompt it is.
        number: which of the request's prompts; a callback that names another is stale.
        app_token: Lean's application id.
        reconnect_id: Lean's id of this reconnect.
        sandbox: whether it is for the sandbox.
        access_token: customer-scoped, with at least 10 minutes left; None if the transport has none to give.
        expires_at: when the reconnect id dies, UTC.
    """

    request_id: str
    number: int
    app_token: str
    reconnect_id: str
    sandbox: bool
    access_token: str | None = attrs.field(default=None, repr=False)
    expires_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return exactly the argument of `Lean.reconnect` (Lean docs, Link SDK)."""
        out: dict[str, Any] = {
            "app_token": self.app_token,
            "reconnect_id": self.reconnect_id,
            "sandbox": self.sandbox,
        }
        if self.access_token is not None:
            out["access_token"] = self.access_token
        return out


@attrs.frozen(kw_only=True)
class ConnectPrompt:
    """What `Lean.connect` needs: the way out of `Remedy.connect`. Nothing of it is stored.

    Attributes:
        app_token: Lean's application id.
        customer_id: Lean's customer.
        permissions: as ``identity``, ``accounts``, ``balance``, ``transactions``.
        sandbox: whether it is for the sandbox.
        access_token: customer-scoped; None if the transport has none to give.
    """

    app_token: str
    customer_id: str
    permissions: tuple[str, ...]
    sandbox: bool
    access_token: str | None = attrs.field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return exactly the argument of `Lean.connect` (Lean docs, Link SDK)."""
        out: dict[str, Any] = {
            "app_token": self.app_token,
            "customer_id": self.customer_id,
            "permissions": list(self.permissions),
            "sandbox": self.sandbox,
        }
        if self.access_token is not None:
            out["access_token"] = self.access_token
        return out
