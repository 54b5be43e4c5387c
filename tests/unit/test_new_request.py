"""Making records: what is taken over, and what a successor has of its predecessor."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from leanflow import DataRequest, State
from leanflow._new_request import new_request, successor_of
from leanflow._request import Scope
from leanflow.errors import InvalidRequest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SCOPE = Scope(app="a", environment="sandbox", region="uae")
ID = "019b796e-ebbc-7000-8bdf-f1a794eb97a1"


def made(**more: Any) -> DataRequest:
    """Return a record of transactions, or of what is said."""
    settings: dict[str, Any] = {
        "resource": "transactions", "request_id": ID, "now": NOW, "scope": SCOPE, "api": "v2", "entity_id": "e",
        "account_id": "a", "start_date": None, "end_date": None, "params": None, "customer_id": None,
        "customer_ip": None, "reference": None, "metadata": None, "give_up_after": None, "key": None, **more,
    }  # fmt: skip
    return new_request(settings.pop("resource"), **settings)


def test_a_new_record_is_due_at_once() -> None:
    """Version 0, in `requested`, to be placed now."""
    request = made(start_date=date(2026, 1, 1), end_date="2026-01-31", give_up_after=timedelta(hours=1))
    assert (request.version, request.state, request.call_no) == (0, State.requested, 0)
    assert request.due_at == request.place_at == request.created_at == NOW
    assert request.give_up_at == NOW + timedelta(hours=1)
    assert request.params == {"start_date": "2026-01-01", "end_date": "2026-01-31"}


@pytest.mark.parametrize(
    ("wrong", "parameter"),
    [
        ({"resource": "x"}, "resource"),
        ({"entity_id": None}, "entity_id"),
        ({"entity_id": 7}, "entity_id"),
        ({"account_id": None}, "account_id"),
        ({"start_date": datetime(2026, 1, 1, tzinfo=UTC)}, "start_date"),
        ({"start_date": "soon"}, "start_date"),
        ({"start_date": "2026-02-01", "end_date": "2026-01-01"}, "start_date"),
        ({"params": {"async": True}}, "params"),
        ({"params": {1: "x"}}, "params"),
        ({"params": {"size": "1"}}, "size"),
        ({"metadata": {"a": None}}, "metadata"),
        ({"metadata": {"a": "ä" * 2048}}, "metadata"),
        ({"key": "k" * 256}, "key"),
        ({"reference": ""}, "reference"),
        ({"give_up_after": -timedelta(1)}, "give_up_after"),
        ({"give_up_after": 60}, "give_up_after"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], parameter: str) -> None:
    """`InvalidRequest` names the parameter."""
    with pytest.raises(InvalidRequest) as caught:
        made(**wrong)
    assert caught.value.parameter == parameter


def test_what_just_fits_is_taken() -> None:
    """255 characters of reference and key, 4096 bytes of metadata."""
    request = made(reference="r" * 255, key="k" * 255, metadata={"a": "m" * (4096 - len('{"a": ""}'))})
    assert len(request.metadata["a"]) == 4087


def test_a_successor_asks_for_the_same_afresh() -> None:
    """The same question with the same patience, from now; a new id, no idempotency key, and its predecessor's name."""
    old = made(reference="r", metadata={"m": "1"}, key="k", give_up_after=timedelta(hours=1))
    later = NOW + timedelta(days=40)
    new = successor_of(old, request_id="new", now=later)
    assert (new.fingerprint, new.params, new.reference, new.metadata) == (
        old.fingerprint, old.params, old.reference, old.metadata,
    )  # fmt: skip
    assert (new.id, new.predecessor_id, new.key, new.version) == ("new", ID, None, 0)
    assert (new.created_at, new.due_at, new.give_up_at) == (later, later, later + timedelta(hours=1))
