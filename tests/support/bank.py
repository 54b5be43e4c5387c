"""A client of Mockbank's core, for tests that look at single answers."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

from leanflow import Call
from leanflow.mockbank import Exchange, Mockbank

__all__ = ["BankClient", "customer", "listed", "transactions", "wanted"]


class BankClient:
    """A client of a Mockbank in the same process, on a time that the test sets."""

    def __init__(self, **settings: Any) -> None:
        self.bank = Mockbank(**settings)
        self.now = self.bank.now

    def later(self, **span: float) -> None:
        """Let time pass."""
        self.now += timedelta(**span)

    def exchange(self, method: str, path: str, body: object = None, **query: str) -> Exchange:
        """Send one call with ``lean-app-token``."""
        raw = None if body is None else json.dumps(body).encode()
        headers = {"lean-app-token": self.bank.app}
        return self.bank.handle(Call(method=method, path=path, query=query, headers=headers, body=raw), self.now)

    def ask(self, method: str, path: str, body: object = None, **query: str) -> tuple[int, Any]:
        """Send one call; return HTTP status and parsed body, numbers exact."""
        answer = self.exchange(method, path, body, **query).answer
        assert answer is not None
        return answer.status, json.loads(answer.body, parse_float=Decimal)

    def accounts(self, entity_id: str, **query: str) -> Any:
        """Make the usual v2 data call."""
        return self.ask("GET", "/data/v2/accounts", entity_id=entity_id, **query)[1]

    def webhooks(self, status: int | None = 200) -> list[dict[str, Any]]:
        """Take all webhooks that are due, answering them with a status; return their bodies."""
        taken = []
        while due := self.bank.deliveries_due(self.now):
            for delivery in due:
                taken.append(json.loads(delivery.body))
                self.bank.delivered(delivery.id, status, self.now)
        return taken


def customer(lean: BankClient) -> str:
    """Return the customer id of user-1, made if there is none."""
    made, said = lean.ask("POST", "/customers/v1", {"app_user_id": "user-1"})
    return str((said if made == 200 else lean.ask("GET", "/customers/v1/app-user-id/user-1")[1])["customer_id"])


def wanted(lean: BankClient) -> str:
    """Connect an entity, let the bank forget the user, ask for accounts; return the reconnect id."""
    entity = lean.bank.connect("user-1", username="mockbank_user_3")
    lean.bank.expire_session(entity)
    said = lean.accounts(entity)
    assert said["status"] == "RECONNECT_REQUIRED"
    lean.webhooks()
    return str(said["results_id"])


def transactions(lean: BankClient, entity: str, account: str, **query: str) -> list[Any]:
    """Return all transactions of an account, newest first."""
    path, found = f"/data/v2/accounts/{account}/transactions", []
    for page in range(100):
        data = lean.ask("GET", path, entity_id=entity, size="100", page=str(page), **query)[1]["data"]
        found += data["transactions"]
        if page + 1 >= data["page"]["total_pages"]:
            break
    return found


def listed(lean: BankClient, entity: str, kind: str) -> list[Any]:
    """Return what the main account has of one kind of payments."""
    path = f"/data/v2/accounts/{lean.bank.accounts_of(entity)[0]}/{kind}"
    items: list[Any] = lean.ask("GET", path, entity_id=entity)[1]["data"][kind.replace("-", "_")]
    return items
