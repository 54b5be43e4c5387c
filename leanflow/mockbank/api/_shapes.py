"""The schemas of what Mockbank answers, in JSON Schema 2020-12, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leanflow.mockbank._state import PERMISSIONS

from ._schema import Schema

__all__ = ["shapes"]

_TEXT: Schema = {"type": "string"}
_UUID: Schema = {"type": "string", "format": "uuid"}
_DAY: Schema = {"type": "string", "format": "date"}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_SPACED: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$"}
_FLAG: Schema = {"type": "boolean"}
_WHOLE: Schema = {"type": "integer"}
_NUMBER: Schema = {"type": "number"}
_NULL: Schema = {"type": "null"}
_URL: Schema = {"type": "string", "format": "uri"}
_COLOUR: Schema = {"type": "string", "pattern": "^#[0-9A-F]{6}$"}
_CURRENCY: Schema = {"type": "string", "pattern": "^[A-Z]{3}$"}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _words(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def _or_null(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, _NULL]}


def _either(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """Return an object that has nothing else."""
    return {**_open(required, optional), "additionalProperties": False}


def _open(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """Return an object that may have more: bank data, whose fields differ from bank to bank."""
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


# --- bank data ----------------------------------------------------------------------------------------------------

_MONEY = _object({"currency": _CURRENCY, "amount": _NUMBER})
_SIGN = _words("CREDIT", "DEBIT")
_NAMED = _open({"scheme_name": _TEXT, "identification": _TEXT}, {"name": _TEXT})
_OWNED = {"entity_id": _UUID, "account_id": _UUID}
_PERSON = _open(
    {"entity_id": _UUID, "full_legal_name": _TEXT, "name": _TEXT},
    {
        "birth_date": _DAY,
        "gender": _TEXT,
        "email_address": _TEXT,
        "mobile_number": _TEXT,
        "address": _open({}),
        "party_type": _words("DELEGATE", "JOINT", "SOLE", "UNSUPPORTED"),
    },
)
_ITEMS: Mapping[str, tuple[str, Schema]] = {
    "accounts": (
        "accounts",
        _open(
            {**_OWNED, "currency": _CURRENCY, "account": _list(_NAMED), "servicer": _NAMED},
            {
                "status": _words("DELETED", "DISABLED", "ENABLED", "PENDING", "PROFORMA", "UNSUPPORTED"),
                "account_type": _words("PERSONAL", "BUSINESS", "UNSUPPORTED"),
                "account_sub_type": _TEXT,
                "nickname": _or_null(_TEXT),
                "opening_date": _or_null(_DAY),
            },
        ),
    ),
    "balances": (
        "balances",
        _open(
            {**_OWNED, "credit_debit_indicator": _SIGN, "type": _TEXT, "amount": _MONEY, "date_time": _MOMENT},
            {"credit_line": _list(_open({"amount": _MONEY, "type": _TEXT, "included": _FLAG}))},
        ),
    ),
    "transactions": (
        "transactions",
        _open(
            {
                **_OWNED,
                "transaction_id": _TEXT,
                "amount": _MONEY,
                "status": _TEXT,
                "credit_debit_indicator": _SIGN,
                "booking_date_time": _MOMENT,
            },
        ),
    ),
    "identity": ("identities", _PERSON),
    "identities": ("identities", _PERSON),
    "beneficiaries": (
        "beneficiaries",
        _open({"account_id": _UUID, "beneficiary_id": _TEXT, "creditor_account": _NAMED}),
    ),
    "direct_debits": (
        "direct_debits",
        _open({**_OWNED, "direct_debit_id": _TEXT, "frequency": _TEXT, "previous_payment_amount": _MONEY}),
    ),
    "scheduled_payments": (
        "scheduled_payments",
        _open({**_OWNED, "scheduled_payment_id": _TEXT, "instructed_amount": _MONEY, "creditor_account": _NAMED}),
    ),
    "standing_orders": (
        "standing_orders",
        _open({"account_id": _UUID, "standing_order_id": _TEXT, "frequency": _open({"frequency_type": _TEXT})}),
    ),
}
_PAYLOADS: Mapping[str, Schema] = {
    "accounts": _object(
        {
            "type": {"const": "accounts"},
            "accounts": _list(_open({"account_id": _UUID, "name": _TEXT, "currency_code": _CURRENCY, "type": _TEXT})),
        }
    ),
    "balances": _object(
        {
            "type": {"const": "balance"},
            "balance": _NUMBER,
            "currency_code": _CURRENCY,
            "account_id": _UUID,
            "account_name": _TEXT,
            "account_type": _TEXT,
        }
    ),
    "transactions": _object(
        {
            "type": {"const": "transactions"},
            "transactions": _list(_open({"id": _UUID, "amount": _NUMBER, "currency_code": _CURRENCY})),
        }
    ),
    "identity": _open({"type": {"const": "identity"}, "full_name": _TEXT, "birth_date": _DAY}),
}


# --- envelopes ----------------------------------------------------------------------------------------------------


def _v2(status: str, **parts: Schema) -> Schema:
    """Return an envelope of v2; `parts` replace what it has otherwise, or add to it."""
    return _object(
        {
            "status": {"const": status},
            "results_id": _UUID,
            "message": _TEXT,
            "meta": _or_null({"type": "object", "additionalProperties": _TEXT}),
            "timestamp": _MOMENT,
            "status_detail": _NULL,
            "type": _or_null(_TEXT),
            "refreshed_at": _NULL,
            **parts,
        }
    )


def _v1(status: str, payload: Schema, **parts: Schema) -> Schema:
    envelope = {"status": {"const": status}, "results_id": _UUID, "message": _TEXT, "timestamp": _MOMENT}
    return _object({**envelope, "payload": payload, **parts})


def _envelopes() -> dict[str, Schema]:
    code = {"granular_status_code": _TEXT, "status_additional_info": _TEXT}
    no_code = {"granular_status_code": _NULL, "status_additional_info": _NULL}
    made: dict[str, Schema] = {
        "page": _object({"number": _WHOLE, "size": _WHOLE, "total_elements": _WHOLE, "total_pages": _WHOLE}),
        "error": _object(
            {"timestamp": _MOMENT, "status": _TEXT, "message": _TEXT, "metadata": _NULL}, {"results_id": _UUID}
        ),
        "pending": _v2("PENDING", data=_NULL),
        "waiting": _either(
            _ref("pending"),
            _v2("RECONNECT_REQUIRED", data=_NULL),
            _v2("FAILED", status_detail=_object(code)),
            _v2("CONSENT_EXPIRED", status_detail=_object(no_code)),
        ),
        "waiting_v1": _either(
            _v1("PENDING", _NULL),
            _v1("RECONNECT_REQUIRED", _object({"reconnect_id": _UUID, "type": {"const": "reconnect"}})),
            _v1("FAILED", _NULL, status_detail=_object(code)),
            _v1("CONSENT_EXPIRED", _NULL, status_detail=_object(no_code)),
        ),
        "forbidden": _either(
            _ref("error"),
            _v2("FAILED", status_detail=_object(code)),
            _v1("FAILED", _NULL, status_detail=_object(code)),
        ),
    }
    for name, (key, item) in _ITEMS.items():
        kind = {"const": name.replace("_", "-")}
        made[name] = item
        holds = {"type": kind, key: _list(_ref(name)), "page": _ref("page")}
        data = _object({**holds, **({"account_id": _UUID} if name == "identities" else {})})
        made[f"{name}_ok"] = _v2("OK", data=data, type=kind, refreshed_at=_MOMENT)
        made[f"{name}_answer"] = _either(_ref(f"{name}_ok"), _ref("waiting"))
    for name, payload in _PAYLOADS.items():
        made[f"{name}_v1_ok"] = _v1("OK", payload)
        made[f"{name}_v1_answer"] = _either(_ref(f"{name}_v1_ok"), _ref("waiting_v1"))
    fetched = [f"{name}_ok" for name in _ITEMS] + [f"{name}_v1_ok" for name in _PAYLOADS] + ["waiting", "waiting_v1"]
    made["results"] = _either(*map(_ref, fetched))
    return made


# --- the rest -----------------------------------------------------------------------------------------------------


def _refreshes() -> dict[str, Schema]:
    word = _words("PENDING", "OK", "FAILED", "UNSUPPORTED")
    parts = (
        "balance",
        "identity",
        "transactions",
        "scheduled_payments",
        "direct_debits",
        "standing_orders",
        "beneficiaries",
    )
    head = {
        "refresh_id": _UUID,
        "entity_id": _UUID,
        "customer_id": _UUID,
        "status": _words("PENDING", "FINISHED"),
        "created_at": _MOMENT,
        "updated_at": _MOMENT,
    }
    span = _object({"start": _DAY, "end": _DAY})
    account = _object({"account_id": _UUID, **dict.fromkeys(parts, word)}, {"transactionAvailability": span})
    started = {"refresh_id": _UUID, "message": _TEXT, "timestamp": _MOMENT}
    reconnect = {"status": {"const": "RECONNECT_REQUIRED"}, "reconnect_id": _UUID, "metadata": _NULL}
    return {
        "refresh_started": _either(
            _object({**started, "status": {"const": "OK"}}),
            _object({**started, **reconnect}),
            _ref("waiting"),
        ),
        "refreshes": _object({"content": _list(_object(head)), "page": _ref("page")}),
        "refresh": _object(
            {**head, "data_status": _object({"accounts": word, "identity": word, "account_data": _list(account)})}
        ),
    }


def _directory() -> dict[str, Schema]:
    identifier = _object({"type": _words("EMIRATES_ID", "TRADE_LICENSE_NUMBER"), "value": _TEXT})
    permissions = _object(dict.fromkeys(PERMISSIONS, _FLAG))
    consent = {
        "id": _UUID,
        "bank_consent_id": _TEXT,
        "bank_identifier": _TEXT,
        "consent_type": _words("ACCOUNT_ACCESS"),
        "consent_status": _words("ACTIVE", "REVOKED", "REJECTED"),
        "standard_consent_status": _words("AUTHORISED", "REVOKED", "REJECTED", "EXPIRED", "CONSUMED", "SUSPENDED"),
        "permissions": permissions,
        "creation_date_time": _MOMENT,
        "status_update_date_time": _MOMENT,
        "expiration_date_time": _MOMENT,
        "transaction_from_date_time": _NULL,
        "transaction_to_date_time": _NULL,
        "accounts": _list(_open({"scheme_name": _TEXT, "identification": _TEXT})),
    }
    entity = {
        "id": _UUID,
        "customer_id": _UUID,
        "bank_identifier": _TEXT,
        "permissions": permissions,
        "bank_type": _words("RETAIL", "SME"),
        "created_at": _MOMENT,
        "consents": _list(_object(consent)),
    }
    listed = {**entity, "status": _words("ACTIVE", "DELETED"), "created_at": _SPACED, "updated_at": _SPACED}
    customer = _object({"customer_id": _UUID, "app_user_id": _TEXT}, {"government_identifiers": _list(identifier)})
    owned = _object({**consent, "customer_id": _UUID, "entity_id": _UUID})
    return {
        "customer": customer,
        "customers": _object({"data": _list(_ref("customer")), "page": _ref("page")}),
        "entity": _object(entity),
        "entity_list": _list(_ref("entity")),
        "entities": _object({"data": _list(_object(listed)), "page": _ref("page")}),
        "consent": owned,
        "consents": _list(_ref("consent")),
        "done": _object({}),
        "banks": _list(_bank()),
    }


def _bank() -> Schema:
    switches = _object({"payments": _FLAG, "data": _FLAG})
    texts = ("identifier", "name", "arabic_name", "country_code", "bank_type", "account_type")
    lists = ("traits", "transfer_limits", "international_transfer_limits", "international_destinations")
    return _object(
        {
            **dict.fromkeys(texts, _TEXT),
            **dict.fromkeys(lists, _list({})),
            "logo": _URL,
            "logo_alt": _URL,
            "main_color": _COLOUR,
            "background_color": _COLOUR,
            "theme": _words("dark", "light"),
            "active": _FLAG,
            "mock": _FLAG,
            "supported_account_types": _list(_words("CURRENT", "SAVINGS", "CREDIT")),
            "availability": _object({"active": switches, "enabled": switches}),
        }
    )


def _others() -> dict[str, Schema]:
    event = {"payload": _open({}), "type": _TEXT, "message": _TEXT, "timestamp": _MOMENT, "event_id": _UUID}
    told = _object({"code": _words("200", "401"), "message": _TEXT})
    connected = {
        "entity_uuid": _UUID,
        "customer_id": _UUID,
        "app_user_id": _TEXT,
        "permissions": _list(_words(*PERMISSIONS)),
        "bank_details": _open({"identifier": _TEXT, "name": _TEXT}),
    }
    return {
        "events": _object({"data": _list(_object(event)), "page": _ref("page")}),
        "token": _object(
            {"access_token": _TEXT, "scope": _TEXT, "token_type": {"const": "Bearer"}, "expires_in": _WHOLE}
        ),
        "no_token": _object(
            {"error": _words("invalid_request", "invalid_client", "unsupported_grant_type", "invalid_scope")}
        ),
        "connected": _object({"status": told, "data": _object({"entity": _object(connected)})}),
        "not_connected": _either(_ref("error"), _object({"status": told, "data": _NULL})),
        "link": _open({}),
    }


def shapes() -> dict[str, Any]:
    """Return the schema of every answer. They refer to each other as OpenAPI's components do."""
    return {**_envelopes(), **_refreshes(), **_directory(), **_others()}
