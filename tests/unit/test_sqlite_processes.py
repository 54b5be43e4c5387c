"""Several processes on one file, and processes that are killed in the middle."""
# ruff: noqa: ASYNC220, ASYNC221 - nothing else runs on a test's loop

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from leanflow._sites import SITES
from leanflow.testing.conformance._samples import SCOPE, a_request, stored
from leanflow_adapters.sqlite import SQLiteStore

RACER = """
import asyncio, sys
from leanflow.ports import Outcome
from leanflow.testing.conformance._samples import SCOPE, a_request, a_step
from leanflow_adapters.sqlite import SQLiteStore

async def racer(store, name):
    while True:
        request = await store.load(SCOPE, a_request(1).id)
        done = await store.commit(a_step(request, name))
        if done.outcome is Outcome.committed:
            return
        assert done.outcome is Outcome.conflict, done

async def main():
    store = SQLiteStore(sys.argv[1])
    await store.open()
    print("ready", flush=True)
    sys.stdin.readline()
    await asyncio.gather(*(racer(store, f"event-{sys.argv[2]}-{n}") for n in range(25)))
    claimed = await store.claim(SCOPE, owner=sys.argv[2], now=a_request(1).due_at, lease=90, limit=1)
    print("claimed", len(claimed), flush=True)
    await store.aclose()

asyncio.run(main())
"""


async def test_two_processes_race_one_request(tmp_path: Path) -> None:
    """50 events from two processes: one winner per version, none lost, history complete, one claim."""
    path = tmp_path / "flows.db"
    store = SQLiteStore(path)
    await store.open()
    request = await stored(store)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    for child in children:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.stdin.write("\n")
        child.stdin.flush()
    ends = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0, 0], ends
    assert sorted(out for out, _ in ends) == ["claimed 0\n", "claimed 1\n"]
    last = await store.load(SCOPE, request.id)
    assert last is not None
    assert (last.version, last.call_no) == (50, 1)
    history = await store.history(SCOPE, request.id)
    assert [entry.version for entry in history] == list(range(51))
    assert {entry.key for entry in history[1:]} == {f"event-{name}-{n}" for name in "ab" for n in range(25)}
    await store.aclose()


EVERYTHING = """
import asyncio, sys
from leanflow._request import IdKind, State
from leanflow.events import Page
from leanflow.ports import Announcement, Part, Sink
from leanflow.testing.conformance._samples import *
from leanflow_adapters.sqlite import SQLiteStore

async def main():
    store = SQLiteStore(sys.argv[1], checkpoint_period=0.0)
    await store.open()
    for name in range(1000):
        await life(store, name)

async def life(store, name):
    await store.register(SCOPE, [ALL])
    request = (await store.create(a_creation(a_request(10 * name + 1, key=f"key-{name}")))).request
    print("created", request.id, flush=True)
    await park(store, f"parked-{name}", value=f"r-{name}")
    await park(store, f"orphan-{name}", value=f"o-{name}")
    await store.repark(SCOPE, f"parked-{name}", due_at=at(5))
    told = Announcement(key=f"webhook:{name}", kind="webhook", topic="x", payload="{}")
    first = a_step(request, f"parked-{name}", changes={"due_at": at(9)}, ids=((IdKind.results, f"r-{name}"),),
        announcements=(a_change(request), told), wakes=(a_wake(str(name)),), inbox={"raw": b"raw"})
    assert (await store.commit(first)).outcome == "committed"
    print("committed", first.inbox.key, flush=True)
    second = a_step(first.after, f"second-{name}", announcements=(a_change(first.after),))
    assert (await store.commit(second)).outcome == "committed"
    print("committed", second.inbox.key, flush=True)
    due = await store.claim(SCOPE, owner="w", now=at(10), lease=90, limit=99)
    [claimed] = [one for one in due if one.request.id == request.id]
    await store.renew(SCOPE, request.id, owner="w", now=at(10), lease=90)
    last = end(claimed.request, f"end-{name}", pages=(Page(raw=b"page"),), announcements=(a_change(claimed.request),))
    assert (await store.commit(last)).outcome == "committed"
    print("committed", last.inbox.key, flush=True)
    await store.release(SCOPE, request.id, owner="w")
    for row in await store.claim_outbox(SCOPE, sinks=["all", "wake"], owner="w", now=at(99), lease=1, limit=9):
        if row.kind == "wake":
            await store.undelivered(SCOPE, row.key, row.sink, due_at=at(99), error="E", set_aside=True)
            await store.redeliver(SCOPE, row.key, row.sink, now=at(99))
        await store.delivered(SCOPE, [(row.key, row.sink)])
    await store.create(a_creation(a_request(10 * name + 2), renews=request.id,
        renewal=an_entry(last.after, f"renew-{name}", tag="renewed")))
    await store.orphan(SCOPE, f"orphan-{name}", ())
    await store.remember(SCOPE, "name", str(name))
    await store.register(SCOPE, [Sink(name="passing")])
    await store.unregister(SCOPE, "passing")
    for body in await store.bodies(SCOPE, Part.pages, limit=9):
        await store.rewrite(SCOPE, [(body, b"page")])
    if name % 2:
        await store.erase(SCOPE, a_request(10 * name + 2).id, now=at(100))
        await store.prune(SCOPE, before=at(1.5))

asyncio.run(main())
"""


def check(path: Path, acknowledged: str) -> None:
    """Assert what must hold whenever a process dies: acknowledged is stored, stored is whole."""
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not file.execute("SELECT 1 FROM sqlite_master WHERE name = 'leanflow_requests'").fetchall():
            assert not acknowledged
            return
        requests = dict(file.execute("SELECT id, version FROM leanflow_requests"))
        history: dict[str, list[int]] = {}
        for request_id, version in file.execute("SELECT request_id, version FROM leanflow_history ORDER BY number"):
            history.setdefault(request_id, []).append(version)
        keys = {key for (key,) in file.execute("SELECT key FROM leanflow_history")}
        parked = {key for (key,) in file.execute("SELECT key FROM leanflow_parked")}
        seen = {key for (key,) in file.execute("SELECT key FROM leanflow_inbox")}
        heads = file.execute(
            """SELECT count(*) FROM (SELECT sum(head) AS heads FROM leanflow_outbox WHERE ordered AND NOT set_aside
            GROUP BY about, sink) WHERE heads != 1"""
        ).fetchone()
    for line in acknowledged.splitlines():
        what, name = line.split()
        assert name in (requests if what == "created" else keys), line
    assert {request_id: list(range(version + 1)) for request_id, version in requests.items()} == history
    assert not parked & seen
    assert not parked & keys
    assert heads == (0,)


OURS = [name for name in SITES if name.startswith("sqlite.")]


@pytest.mark.parametrize("site", OURS)
async def test_a_kill_at_any_site_loses_nothing(tmp_path: Path, site: str) -> None:
    """SIGKILL at each commit point: what was acknowledged is there, nothing is half done, and the file opens."""
    path = tmp_path / "flows.db"
    killed = subprocess.run(
        [sys.executable, "-c", EVERYTHING, str(path)],
        env={**os.environ, "LEANFLOW_KILL_SITE": f"{site}:3"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    check(path, killed.stdout)
    store = SQLiteStore(path)
    await store.open()
    assert (await stored(store, 999_999)).id == a_request(999_999).id
    await store.aclose()
