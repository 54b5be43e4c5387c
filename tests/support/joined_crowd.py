"""A process whose children work in joined transactions and kill themselves at random points.

``python -m tests.support.joined_crowd`` reads lines ``[KIND, PATH_OR_SCHEMA, SEED, TRANSACTIONS]``, and answers each
with JSON: what the children said of each transaction before they died, and how many of them there were. It touches no
database itself, so that each child finds its own.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from leanflow import Change, Handlers, State, blocking
from leanflow.testing import FakeClock
from leanflow_adapters.postgres import PostgresStore
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.applications import Database, application
from tests.support.lean import SECRET, Lean
from tests.support.postgres import URL

__all__ = ["database_of", "store_of"]

_DEADLY = 0.03  # how likely a child dies at each of the points at which it may
_DEADLIER = 0.12  # ... of a handler
_MOST = 500  # children: some thirty are enough for work that gets anywhere
_LEASE = timedelta(minutes=5)  # longer than what a killed child leaves behind


def database_of(place: str) -> Database:
    """Return the database at a path, or in a schema."""
    return Database(path=Path(place)) if "/" in place else Database(schema=place)


def store_of(database: Database) -> Any:
    """Return leanflow's store there."""
    if database.path:
        return SQLiteStore(database.path)
    return PostgresStore(URL, schema=database.schema, clock="engine", hints=False)


_Say = Callable[[str], None]


class _Child:
    """One process, until it dies."""

    def __init__(self, kind: str, database: Database, dice: random.Random, born: int, say: _Say) -> None:
        self.kind, self.database, self.dice, self.say = kind, database, dice, say
        clock = FakeClock()
        clock.advance(_LEASE * born)
        handlers = Handlers()
        handlers.on(State.fetched, name="book")(self.book)
        self.flows = blocking.LeanFlow(
            store=store_of(database), transport=Lean(clock), webhook_secrets=[SECRET], handlers=[handlers], clock=clock,
            workers=0,
        )  # fmt: skip

    def may_die(self, likely: float = _DEADLY) -> None:
        """Die, now and then, without a word."""
        if self.dice.random() < likely:
            os.kill(os.getpid(), signal.SIGKILL)

    def ask(self, first: int, last: int) -> None:
        """Make requests together with rows of the application's."""
        own = application(self.kind, self.database)
        for number in range(first, last):
            self.say(f"begun {number}")
            own.begin()
            with self.flows.using(own.connection) as tx:
                self.may_die()
                request = tx.request("accounts", entity_id=f"e-{number}", reference=str(number))
                self.may_die()
                own.do(f"INSERT INTO {self.database.table('cases')} VALUES ('{number}', '{request.id}')")
                if self.dice.random() < 0.3:
                    tx.cancel(request.id)
                self.may_die()
            ending = self.dice.choice(["commit", "rollback"])
            getattr(own, ending)()
            self.may_die()
            self.say(f"{ending} {number}")
        own.close()

    def work(self) -> None:
        """Fetch what was asked for, and call the handler."""
        self.flows.tick()

    def book(self, change: Change, flows: blocking.LeanFlow) -> None:
        """Write a row for each request that was fetched: twice, if called twice and not asking `confirm`."""
        self.may_die(_DEADLIER)
        own = application(self.kind, self.database)
        own.begin()
        with flows.using(own.connection) as tx:
            if tx.confirm(change, "book"):
                self.may_die(_DEADLIER)
                own.do(f"INSERT INTO {self.database.table('effects')} VALUES ('{change.request.id}')")
            self.may_die(_DEADLIER)
        own.commit()
        self.may_die(_DEADLIER)
        own.close()


def _say(pipe: int, said: str) -> None:
    os.write(pipe, f"{said}\n".encode())


def _bear(work: Callable[[_Say], None]) -> tuple[list[list[str]], bool]:
    """Fork a child; return what it said, and whether it lived."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            work(partial(_say, writing))
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a fork must never return
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = [line.split() for line in pipe]
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, "a child failed"
    return said, not killed


def _raised(kind: str, place: str, seed: str, last: int) -> dict[str, Any]:
    """Have children work until all is done; return what they said, and how many there were."""
    database, born = database_of(place), 0
    told: dict[int, str] = {}

    def grown(say: _Say) -> _Child:
        return _Child(kind, database, random.Random(f"{seed}:{born}"), born, say)

    first = 0
    while first < last:
        said, _ = _bear(lambda say: grown(say).ask(first, last))  # noqa: B023 - it is called before it changes
        for what, number in said:
            told[int(number)] = what
        born, first = born + 1, max(told, default=-1) + 1
    lived = False
    while not lived:
        _, lived = _bear(lambda say: grown(say).work())
        born += 1
        assert born < _MOST, "the children get nowhere"
    return {"told": told, "children": born}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(_raised(*json.loads(line))), flush=True)
