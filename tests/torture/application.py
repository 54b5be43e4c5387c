"""The application of a child that shares leanflow's database: its own rows, written in the transactions it joins."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from leanflow import Change, LeanFlow

__all__ = ["FATES", "Application"]

FATES = ("commit", "rollback", "die first", "die between", "die last", "die after")
"""What becomes of a transaction; the process dies at its beginning, between the two writes, after both, or after it."""


class _Undone(Exception):
    """The application changed its mind."""


class Application:
    """Rows beside the engine's: one per request that it made or cancelled, one per change that it heard.

    Args:
        dsn: of the database that leanflow has its schema in.
        schema: leanflow's; the tables are there, too, so that they are gone with it.
        dice: for when its handler dies.
        deadly: how often it dies at each place of its handler.
    """

    TABLES = (
        'CREATE TABLE "{0}".application (what text NOT NULL, entity_id text NOT NULL, request_id text NOT NULL)',
        'CREATE TABLE "{0}".told (key text NOT NULL)',
    )

    def __init__(self, dsn: str, schema: str, dice: random.Random, deadly: float) -> None:
        self._dsn = dsn
        self._schema = schema
        self._dice = dice
        self._deadly = deadly

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self._dsn)
        try:
            async with connection.transaction():
                yield connection
        finally:
            await connection.close()

    async def act(self, flows: LeanFlow, what: str, fate: str, entity_id: str, request_id: str | None) -> str | None:
        """Make or cancel a request together with a row; return its id, or None if that was undone."""
        try:
            async with self._transaction() as connection:
                _die(fate == "die first")
                async with flows.using(connection) as tx:
                    if request_id is None:
                        request = await tx.request("accounts", entity_id=entity_id, key=f"{entity_id}/accounts")
                    else:
                        request = await tx.cancel(request_id)
                    _die(fate == "die between")
                    sql = f'INSERT INTO "{self._schema}".application VALUES ($1, $2, $3)'
                    await connection.execute(sql, what, entity_id, request.id)
                    _die(fate == "die last")
                    _undo(fate == "rollback")
        except _Undone:
            return None
        _die(fate == "die after")
        return request.id

    async def hear(self, flows: LeanFlow, change: Change, sink: str) -> None:
        """Write one row for a change, once, however often it is told."""
        self._chance()
        try:
            async with self._transaction() as connection:
                self._chance()
                sql = f'INSERT INTO "{self._schema}".told VALUES ($1)'
                await connection.execute(sql, change.key)
                self._chance()
                async with flows.using(connection) as tx:
                    _undo(not await tx.confirm(change, sink))
                self._chance()
        except _Undone:
            return
        self._chance()

    def _chance(self) -> None:
        _die(self._dice.random() < self._deadly)


def _undo(now: bool) -> None:
    if now:
        raise _Undone


def _die(now: bool) -> None:
    if now:
        os.kill(os.getpid(), signal.SIGKILL)
