"""Webhooks as Lean sends them: raw bytes, signed, in the shape of their type."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import count
from types import MappingProxyType
from typing import Any

import attrs

from leanflow._lean.signature import HEADER, sign
from leanflow._lean.times import format_time
from leanflow._lean.webhooks import Webhook, parse_webhook

__all__ = ["SHAPES", "SignedWebhook", "Signer"]

_ENTITY = "11111111-1111-4111-8111-111111111111"
_CUSTOMER = "22222222-2222-4222-8222-222222222222"
_RESULTS = "33333333-3333-4333-8333-333333333333"
_REFRESH = "44444444-4444-4444-8444-444444444444"
_OTHER = "55555555-5555-4555-8555-555555555555"

_USER = {"customer_id": _CUSTOMER, "app_user_id": "user-1"}
_CONNECTED = {
    "id": _ENTITY,
    **_USER,
    "permissions": ["identity", "accounts", "balance", "transactions"],
    "bank_details": {
        "name": "Mock Bank",
        "identifier": "MOCKBANK",
        "logo": "https://mockbank.example/MOCKBANK.png",
        "main_color": "#1F3B73",
        "background_color": "#FFFFFF",
        "swift_code": "MOCKAEAD",
        "account_type": "PERSONAL",
        "bank_type": "RETAIL",
    },
}
_PAYMENT = {"id": _OTHER, "customer_id": _CUSTOMER, "status": "PENDING_WITH_BANK", "amount": 150.25, "currency": "AED"}
_INTENT = {"payment_intent_id": _OTHER, "customer_id": _CUSTOMER, "amount": 150.25, "currency": "AED"}
_SOURCE = {"id": _OTHER, "customer_id": _CUSTOMER, "status": "ACTIVE"}
_BENEFICIARY = {"payment_source_id": _OTHER, "payment_destination_id": _RESULTS, "status": "ACTIVE"}
_AVAILABILITY = {
    "identifier": "MOCKBANK",
    "availability": {"active": {"payments": True, "data": True}, "enabled": {"payments": True, "data": True}},
}

SHAPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "results.ready": {"id": _RESULTS},
        "entity.reconnected": {"id": _ENTITY, "reconnect_id": _RESULTS},
        "entity.created": _CONNECTED,
        "entity.updated": _CONNECTED,
        "entity.data.refresh.updated": {
            "entity_id": _ENTITY,
            "refresh_id": _REFRESH,
            **_USER,
            "status": "FINISHED",
            "data_status": {"accounts": "OK", "identity": "OK", "account_data": []},
        },
        "consent.status.updated": {**_USER, "consent_type": "ACCOUNTS", "entity_id": _ENTITY, "status": "REVOKED"},
        "bank.availability.updated": _AVAILABILITY,
        "banks.availability.updated": _AVAILABILITY,
        "iban_account_verification.bank.availability.updated": {"identifier": "MOCKBANK", "availability": True},
        "payment.created": _PAYMENT,
        "payment.updated": {**_PAYMENT, "status": "ACCEPTED_BY_BANK"},
        "payment_intent.created": _INTENT,
        "payment_intent.expired": _INTENT,
        "payment_source.created": _SOURCE,
        "payment_source.updated": _SOURCE,
        "payment_source.beneficiary.created": _BENEFICIARY,
        "payment_source.beneficiary.updated": _BENEFICIARY,
        "bulk_payment_intent.created": {"bulk_payment_intent_id": _OTHER, "status": "CREATED"},
        "bulk_payment_intent.updated": {"bulk_payment_intent_id": _OTHER, "status": "COMPLETED"},
        "payment.reconciliation.updated": {"payment_id": _OTHER, "status": "RECONCILED"},
    }
)
"""A payload of each type that Lean's documents name."""


@attrs.frozen(kw_only=True)
class SignedWebhook:
    """One webhook, as it arrives and as handlers hear it.

    Attributes:
        raw: the body's bytes.
        headers: with ``lean-signature`` over them.
        event: what a handler of `Handlers.on_webhook` is called with.
    """

    raw: bytes = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    event: Webhook


class Signer:
    """Makes webhooks of any type.

    Args:
        secret: they are signed with it.
        now: tells the time that they carry.
    """

    def __init__(self, secret: str, now: Callable[[], datetime]) -> None:
        self._secret = secret
        self._now = now
        self._numbers = count(1)

    def __repr__(self) -> str:
        return "Signer()"

    def __call__(self, kind: str, payload: Mapping[str, Any] | None = None, /, **envelope: Any) -> SignedWebhook:
        """Return a webhook.

        Args:
            kind: its type, as ``entity.created``; one that nobody knows is fine.
            payload: laid over the shape that the type has in Lean's documents.
            envelope: what stands beside the payload: ``event_id``, ``timestamp``, ``message``; None leaves it out.
        """
        now = self._now()
        body = {
            "type": kind,
            "payload": {**SHAPES.get(kind, {"id": _OTHER}), **(payload or {})},
            "message": kind,
            "timestamp": format_time(now),
            "event_id": f"00000000-0000-4000-8000-{next(self._numbers):012d}",
            **envelope,
        }
        raw = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
        event = parse_webhook(raw)
        headers = {"content-type": "application/json", HEADER: sign(self._secret, raw)}
        return SignedWebhook(raw=raw, headers=headers, event=event.stamped(now, event.inbox_key))
