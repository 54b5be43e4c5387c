"""A Mockbank in which there is something of everything, so that calls with valid ids get more than 404."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from leanflow import Call
from leanflow.mockbank import Mockbank

__all__ = ["World", "populated"]

_DOOMED = 30  # entities to be deleted: each can be only once


@attrs.frozen
class World:
    """A Mockbank and the ids in it.

    Attributes:
        known: by the name of a parameter, values that exist.
        entities: one that is live, one whose session is over, one whose consent was revoked, one that the bank locked.
        doomed: entities that a run may delete.
    """

    bank: Mockbank
    known: Mapping[str, list[Any]]
    entities: list[str]
    v2_results: list[str]
    doomed: list[str]

    def values(self, method: str, path: str) -> dict[str, list[Any]]:
        """Return by name the values that an operation is told; most of them lead to 200."""
        found = dict(self.known)
        if method == "delete" and path.endswith("{entity_id}"):
            found["entity_id"] = self.doomed
        elif path.startswith("/data") and not ("{account_id}" in path or path.endswith(("balance", "transactions"))):
            found["entity_id"] = self.entities
        if method == "post" and "app_user_id" in found:
            del found["app_user_id"]  # a customer who is there already is refused: new ones are to be made
        if path.startswith("/data/v2/results"):
            found["results_id"] = self.v2_results  # one of v1 has v1's shape at any address
        return found


class _Maker:
    def __init__(self, region: str, now: datetime) -> None:
        self.now = now
        self.bank = Mockbank(
            region=region,
            now=now,
            auth="bearer",
            deauthenticates="none",
            refresh_daily_limit=None,
            refreshes_progress="at_once",
        )
        self.headers = {"authorization": f"Bearer {self.bank.token()}"}

    def ask(self, method: str, path: str, body: object = None, **query: str) -> Any:
        raw = None if body is None else json.dumps(body).encode()
        call = Call(method=method, path=path, query=query, headers=self.headers, body=raw)
        answer = self.bank.handle(call, self.now).answer
        if answer is None or answer.status not in (200, 202):
            message = f"{method} {path} was to make something, and got {answer}"
            raise RuntimeError(message)
        return json.loads(answer.body)

    def results(self, entity: str) -> list[str]:
        """Make results of v1 and v2 that are ready, and one that waits for ever."""
        made = [
            self.ask("GET", "/data/v2/accounts", entity_id=entity, **{"async": "true"}),
            self.ask("GET", "/data/v2/identity", entity_id=entity, **{"async": "true"}),
            self.ask("POST", "/data/v1/accounts", {"entity_id": entity, "async": True}),
        ]
        for one in made:
            self.bank.release(one["results_id"])
        return [one["results_id"] for one in made]


def populated(region: str, now: datetime) -> World:
    """Return a Mockbank with something of everything: entities in each condition, results, refreshes."""
    make = _Maker(region, now)
    bank = make.bank
    live, asleep, revoked = bank.connect("user-1"), bank.connect("user-2"), bank.connect("user-3")
    locked = bank.connect("user-4", username="mockbank_user_5")
    doomed = [bank.connect("user-1") for _ in range(_DOOMED)]
    results = make.results(live)
    bank.expire_session(asleep)
    results.append(make.ask("GET", "/data/v2/accounts", entity_id=asleep)["results_id"])
    refreshes = [
        make.ask("POST", "/data/v2/refreshes", {"entity_id": live})["refresh_id"],
        make.ask("POST", "/data/v2/refreshes", {"entity_id": asleep})["refresh_id"],
    ]
    bank.revoke_consent(revoked)
    customer = bank.customer_of(live)
    entity = make.ask("GET", f"/customers/v1/{customer}/entities/{live}")
    known: dict[str, list[Any]] = {
        "account_id": bank.accounts_of(live),
        "app_user_id": ["user-1", "user-2"],
        "bank_id": [1],
        "bank_identifier": list(bank.banks),
        "client_id": [bank.app],
        "client_secret": [bank.client_secret],
        "consent_id": [entity["consents"][0]["id"]],
        "customer_id": [customer],
        "entity_id": [live],
        "expiration_date_time": [(now + timedelta(days=30)).isoformat()],
        "password": ["mockbank_user_1"],
        "permissions": ["accounts", "balance"],
        "refresh_id": refreshes,
        "results_id": results,
        "scope": ["api", f"customer.{customer}"],
        "username": ["mockbank_user_1"],
    }
    v2_results = [results[0], results[1], results[3]]
    return World(bank=bank, known=known, entities=[live, asleep, revoked, locked], v2_results=v2_results, doomed=doomed)
