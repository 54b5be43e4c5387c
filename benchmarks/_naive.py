"""The peer: what a backend usually writes: a stock `Machine` per request, aiosqlite, one await per statement."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiosqlite
from transitions import Machine

STATES = ["requested", "reconnect_required", "awaiting_user", "reconnected", "results_ready", "fetched"]
MOVES = [
    {"trigger": "reconnect", "source": "requested", "dest": "reconnect_required"},
    {"trigger": "prompt", "source": "reconnect_required", "dest": "awaiting_user"},
    {"trigger": "reconnected_", "source": "awaiting_user", "dest": "reconnected"},
    {"trigger": "ready", "source": "reconnected", "dest": "results_ready"},
    {"trigger": "fetch", "source": "results_ready", "dest": "fetched"},
]


class Model:
    """What a machine is put on."""

    state: str


class Naive:
    """A machine per request, a transaction per step, a statement per await."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self._db: aiosqlite.Connection

    async def open(self) -> None:
        """Open the file as its documentation says."""
        self._db = await aiosqlite.connect(self._path)
        await self._db.execute("PRAGMA journal_mode=WAL")
        await self._db.execute("PRAGMA synchronous=FULL")
        await self._db.execute("CREATE TABLE requests (id TEXT PRIMARY KEY, state TEXT)")
        await self._db.execute("CREATE TABLE inbox (key TEXT PRIMARY KEY)")
        await self._db.execute("CREATE TABLE history (request TEXT, key TEXT, state TEXT)")
        await self._db.execute("CREATE TABLE outbox (id INTEGER PRIMARY KEY, request TEXT, state TEXT)")
        await self._db.commit()

    async def close(self) -> None:
        """Close it."""
        await self._db.close()

    async def step(self, key: str, request: str, trigger: str | None) -> None:
        """Load, move, store."""
        async with self._lock:  # one connection has one transaction
            seen = await self._db.execute("SELECT 1 FROM inbox WHERE key=?", (key,))
            if await seen.fetchone():
                return
            state = "requested"
            if trigger is not None:
                rows = await self._db.execute("SELECT state FROM requests WHERE id=?", (request,))
                found = await rows.fetchone()
                assert found is not None
                model = Model()
                Machine(model, states=STATES, transitions=MOVES, initial=found[0], auto_transitions=False)
                model.trigger(trigger)  # type: ignore[attr-defined]  # Machine puts it there
                state = model.state
            await self._db.execute("INSERT OR REPLACE INTO requests VALUES (?,?)", (request, state))
            await self._db.execute("INSERT INTO inbox VALUES (?)", (key,))
            await self._db.execute("INSERT INTO history VALUES (?,?,?)", (request, key, state))
            await self._db.execute("INSERT INTO outbox (request, state) VALUES (?,?)", (request, state))
            await self._db.commit()
