"""Memory of Mockbank over a million calls: data, results, reconnects, refreshes, webhooks, new entities, all mixed.

Everything that it remembers has a bound. First it is filled up to all of them; from then on the resident memory
should stay the same.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks._load import resident
from leanflow import Answer, Call
from leanflow.mockbank import Mockbank

NOW = datetime(2026, 6, 15, 8, tzinfo=UTC)
STEP = timedelta(milliseconds=200)  # the time between two calls: a million of them take two days and a half
PATHS = ("transactions", "balances", "identities", "beneficiaries", "standing-orders", "direct-debits")


class Life:
    """What a busy application does, one call after the other."""

    def __init__(self) -> None:
        self.bank = Mockbank(now=NOW, deauthenticates="none", refresh_daily_limit=None)
        self.bank.webhook_url = "http://nobody/"
        self.now = NOW
        self.calls = 0
        self.webhooks = 0
        self._dice = random.Random(1)
        self._headers = {"authorization": f"Bearer {self.bank.token(now=NOW)}"}
        self._entities: list[str] = []
        self._people = 0
        self._acts: list[tuple[float, Callable[[], None]]] = [
            (90, self._data),
            (6, self._later),
            (2, self._reconnect),
            (1, self._refresh),
            (0.1, self._events),
            (1, self._newcomer),
        ]
        for _ in range(48):
            self._newcomer()

    def fill(self) -> None:
        """Reach every bound: as many customers, entities, refreshes, results and events as are remembered, and more."""
        for _ in range(self.bank.settings.remembers + 100):
            self._connect()
            self._later()
            self._refresh()
            self._deliver()
        self.calls = 0

    def run(self, calls: int) -> None:
        """Make so many calls."""
        weights, acts = zip(*self._acts, strict=True)
        while self.calls < calls:
            for act in self._dice.choices(acts, weights, k=100):
                act()
                self._deliver()

    def _call(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        self.calls += 1
        self.now += STEP
        if self.calls % 10_000 == 0:
            self._headers = {"authorization": f"Bearer {self.bank.token(now=self.now)}"}
        raw = None if body is None else json.dumps(body).encode()
        call = Call(method=method, path=path, query=query, headers=self._headers, body=raw)
        answer = self.bank.handle(call, self.now).answer
        assert isinstance(answer, Answer)
        assert answer.status in (200, 202, 429), answer
        return json.loads(answer.body[:400]) if len(answer.body) < 400 else answer

    def _deliver(self) -> None:
        """Take the webhooks; every twentieth is refused at first."""
        for one in self.bank.deliveries_due(self.now):
            self.webhooks += 1
            self.bank.delivered(one.id, 500 if self.webhooks % 20 == 0 else 200, self.now)

    def _connect(self) -> None:
        self._people += 1
        self._entities.append(self.bank.connect(f"user-{self._people}", now=self.now))
        del self._entities[:-48]  # most are used for a while only

    def _newcomer(self) -> None:
        self._connect()
        self._data()

    def _entity(self) -> str:
        return self._dice.choice(self._entities)

    def _data(self) -> None:
        entity = self._entity()
        account = self._dice.choice(self.bank.accounts_of(entity))
        page = str(self._dice.randrange(5))
        self._call("GET", f"/data/v2/accounts/{account}/{self._dice.choice(PATHS)}", entity_id=entity, page=page)

    def _later(self) -> None:
        """A call that is answered later, and its results."""
        result = self._call("GET", "/data/v2/accounts", entity_id=self._entity(), **{"async": "true"})
        self._call("GET", f"/data/v2/results/{result['results_id']}")

    def _reconnect(self) -> None:
        entity = self._entity()
        self.bank.expire_session(entity, self.now)
        result = self._call("GET", "/data/v2/accounts", entity_id=entity)
        if self._dice.random() < 0.9:  # some users never come back
            self.bank.submit_otp(result["results_id"], "1111", self.now)
            self._call("GET", f"/data/v2/results/{result['results_id']}")
        else:
            self.bank.renew_consent(entity, self.now)

    def _refresh(self) -> None:
        self._call("POST", "/data/v2/refreshes", {"entity_id": self._entity()})

    def _events(self) -> None:
        self._call("GET", "/events/v1", page="0", size="20")


def main(calls: int = 1_000_000) -> None:
    """Print resident memory along the way."""
    print(f"Mockbank's memory over {calls:,} calls, {resident() / 2**20:.1f} MB before there was one")
    life = Life()
    life.fill()
    print(f"  with all bounds reached: {resident() / 2**20:.1f} MB")
    began, sizes = time.process_time(), {}
    for tenth in range(1, 11):
        life.run(calls * tenth // 10)
        sizes[tenth] = resident()
        print(
            f"  after {life.calls:9,} calls, {life.webhooks:7,} webhooks: {sizes[tenth] / 2**20:6.1f} MB"
            f" ({time.process_time() - began:.0f} s of processor time)"
        )
        sys.stdout.flush()
    print(f"  after {calls:,} calls {sizes[10] / sizes[1]:.2f} x of that after {calls // 10:,}")


if __name__ == "__main__":
    main()
