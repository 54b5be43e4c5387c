"""The floor: what the least code with the same durability costs. No machine, no checks, no retries.

One writer thread takes whatever steps are queued into one transaction, a savepoint each, and answers after COMMIT.
A step: was the event seen, read the row, compare-and-set it, inbox, history, outbox. Two floors: the *bare* one stores
ids and states and nothing else; the *full* one stores what leanflow stores (the record and the event as text of the
same size, ready made; the id by which Lean will name the request; the indexes for finding by entity and for one live
request per fingerprint) and an outbox row only where leanflow makes one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import queue
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

SCHEMA = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
CREATE TABLE IF NOT EXISTS requests (
    id TEXT PRIMARY KEY, state TEXT, version INTEGER, due_at INTEGER, entity TEXT, fingerprint TEXT, record TEXT);
CREATE INDEX IF NOT EXISTS due ON requests (due_at) WHERE due_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS inbox (key TEXT PRIMARY KEY, at INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    request TEXT, version INTEGER, key TEXT, state TEXT, event TEXT, PRIMARY KEY (request, version)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (
    request TEXT, version INTEGER, state TEXT, PRIMARY KEY (request, version)) WITHOUT ROWID;
"""

FULL_SCHEMA = """
CREATE INDEX IF NOT EXISTS entity ON requests (entity);
CREATE UNIQUE INDEX IF NOT EXISTS live ON requests (fingerprint) WHERE fingerprint IS NOT NULL;
CREATE TABLE IF NOT EXISTS ids (value TEXT PRIMARY KEY, request TEXT) WITHOUT ROWID;
"""
RECORD = "r" * 700
EVENT = "e" * 150

Run = Callable[..., sqlite3.Cursor]
Job = tuple[str, str, str, int | None, asyncio.Future[int]]


class Floor:
    """The hand-written minimum on raw sqlite3."""

    def __init__(self, path: Path, *, full: bool = False) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
        self._db.executescript(SCHEMA + (FULL_SCHEMA if full else ""))
        self._step = self._full_step if full else self._bare_step
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def step(self, key: str, request: str, state: str, due: int | None = None) -> int:
        """Commit one step; return the version."""
        done: asyncio.Future[int] = self._loop.create_future()
        self._queue.put((key, request, state, due, done))
        return await done

    def close(self) -> None:
        """Stop the thread."""
        self._queue.put(None)
        self._thread.join()
        self._db.close()

    def _run(self) -> None:
        while True:
            jobs = [self._queue.get()]
            while len(jobs) < 256:
                try:
                    jobs.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            last = None in jobs
            todo = [job for job in jobs if job is not None]
            if todo:
                run = self._db.execute
                run("BEGIN IMMEDIATE")
                versions = [self._step(run, *job[:4]) for job in todo]
                run("COMMIT")
                self._loop.call_soon_threadsafe(_resolve, [job[4] for job in todo], versions)
            if last:
                return

    @staticmethod
    def _bare_step(run: Run, key: str, request: str, state: str, due: int | None) -> int:
        run("SAVEPOINT s")
        if run("SELECT 1 FROM inbox WHERE key=?", (key,)).fetchone():
            run("RELEASE s")
            return -1
        row = run("SELECT version FROM requests WHERE id=?", (request,)).fetchone()
        if row is None:
            version = 0
            run("INSERT INTO requests VALUES (?,?,0,?,NULL,NULL,NULL)", (request, state, due))
        else:
            version = row[0] + 1
            run(
                "UPDATE requests SET state=?, version=?, due_at=? WHERE id=? AND version=?",
                (state, version, due, request, row[0]),
            )
        run("INSERT INTO inbox VALUES (?,0)", (key,))
        run("INSERT INTO history VALUES (?,?,?,?,NULL)", (request, version, key, state))
        run("INSERT INTO outbox VALUES (?,?,?)", (request, version, state))
        run("RELEASE s")
        return version

    @staticmethod
    def _full_step(run: Run, key: str, request: str, state: str, due: int | None) -> int:
        run("SAVEPOINT s")
        if run("SELECT 1 FROM inbox WHERE key=?", (key,)).fetchone():
            run("RELEASE s")
            return -1
        row = run("SELECT version FROM requests WHERE id=?", (request,)).fetchone()
        if row is None:
            version = 0
            run("INSERT INTO requests VALUES (?,?,0,?,?,?,?)", (request, state, due, request, request, RECORD))
        else:
            version = row[0] + 1
            run(
                "UPDATE requests SET state=?, version=?, due_at=?, record=? WHERE id=? AND version=?",
                (state, version, due, RECORD, request, row[0]),
            )
        run("INSERT INTO inbox VALUES (?,0)", (key,))
        run("INSERT INTO history VALUES (?,?,?,?,?)", (request, version, key, state, EVENT))
        if state == "reconnect_required":
            run("INSERT INTO ids VALUES (?,?)", (f"lean-{request}", request))
        if state == "reconnected":
            run("INSERT INTO outbox VALUES (?,?,?)", (request, version, state))
        run("RELEASE s")
        return version


async def taking(db: Floor, secret: str, names: Sequence[str]) -> Callable[[bytes, str], Awaitable[int]]:
    """Store requests that await their user; return what takes their webhooks: body and signature in, the status out."""
    await asyncio.gather(*(db.step(f"create {name}", name, "awaiting_user", 1) for name in names))

    async def step(raw: bytes, signature: str) -> int:
        digest = "sha512=" + hmac.new(secret.encode(), raw, hashlib.sha512).hexdigest()
        if not hmac.compare_digest(digest, signature):
            return 401
        body = json.loads(raw)
        await db.step(body["event_id"], body["payload"]["reconnect_id"], "reconnected", 1)
        return 200

    return step


def _resolve(futures: list[asyncio.Future[int]], versions: list[int]) -> None:
    for future, version in zip(futures, versions, strict=True):
        if not future.done():
            future.set_result(version)
