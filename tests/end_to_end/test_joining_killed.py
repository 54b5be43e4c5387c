"""Joined transactions of processes that are killed: the application's rows and leanflow's always agree."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leanflow._request import Scope
from leanflow.ports import Query
from tests.support.applications import KINDS, Application, Database
from tests.support.joined_crowd import store_of
from tests.support.postgres import do, drop, fresh_schema

TRANSACTIONS = 50  # of each kind on each database
Crowd = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def crowd() -> Iterator[Crowd]:
    """Give what has children work and die: a process that has read all the code once."""
    command = [sys.executable, "-m", "tests.support.joined_crowd"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        asking, answering = process.stdin, process.stdout
        assert asking is not None
        assert answering is not None

        def raised(*how: object) -> dict[str, Any]:
            print(json.dumps(how), file=asking, flush=True)
            line = answering.readline()
            assert line, "the crowd's process has ended: it has said why"
            told: dict[str, Any] = json.loads(line)
            return told

        yield raised


@pytest.mark.parametrize("where", ["sqlite", "postgres"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_both_or_none_whoever_dies(crowd: Crowd, kind: str, where: str, tmp_path: Path) -> None:
    """Killed before, inside and after transactions and handlers: both rows or none, and each effect exactly once."""
    if where == "sqlite":
        database = Database(path=tmp_path / "app.db")
        own = Application(database)
        own.do("CREATE TABLE cases (id TEXT, request TEXT)")
        own.do("CREATE TABLE effects (request TEXT)")
        own.commit()
        own.close()
        _check(crowd(kind, str(database.path), f"seed-{kind}", TRANSACTIONS), database)
        return
    schema = asyncio.run(fresh_schema())
    try:
        for table in ("cases (id text, request text)", "effects (request text)"):
            asyncio.run(do(f'CREATE TABLE "{schema}".{table}'))
        _check(crowd(kind, schema, f"seed-{kind}", TRANSACTIONS), Database(schema=schema))
    finally:
        asyncio.run(drop(schema))


def _check(crowd: dict[str, Any], database: Database) -> None:
    own = Application(database)
    cases = {int(number): request for number, request in own.do(f"SELECT * FROM {database.table('cases')}")}
    effects = [row[0] for row in own.do(f"SELECT * FROM {database.table('effects')}")]
    own.close()
    requests, left = asyncio.run(_stored(database))
    assert {int(request.reference): request.id for request in requests} == cases
    told = {int(number): what for number, what in crowd["told"].items()}
    assert set(told) == set(range(TRANSACTIONS))
    assert {number for number, what in told.items() if what == "commit"} <= cases.keys()
    assert cases.keys().isdisjoint(number for number, what in told.items() if what == "rollback")
    assert sorted(effects) == sorted(request.id for request in requests if request.state == "fetched")
    assert {request.state.value for request in requests} == {"fetched", "cancelled"}
    assert left == []
    assert crowd["children"] > 4


async def _stored(database: Database) -> tuple[list[Any], list[Any]]:
    store = store_of(database)
    await store.open()
    try:
        scope = Scope(app="default", environment="sandbox", region="uae")
        return list(await store.find(scope, Query(limit=1000))), list(await store.outbox(scope))
    finally:
        await store.aclose()
