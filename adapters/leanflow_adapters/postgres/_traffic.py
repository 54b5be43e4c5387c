"""What the callers of one process share statements for: steps, creations, and requests by their own id or Lean's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import attrs

from leanflow.errors import StoreUnavailable
from leanflow.ports import Committed, Created
from leanflow_adapters.postgres import _sql, _steps
from leanflow_adapters.postgres._connection import fetch, is_settled, translated
from leanflow_adapters.postgres._lane import Lane
from leanflow_adapters.postgres._rows import Row
from leanflow_adapters.postgres._steps import HELD, CreationRow, StepRow

__all__ = ["Load", "Name", "Traffic"]

_SHARE = 4  # of that many connections, one at most waits for steps that are held, and one for creations
_STEP_PATIENCE = 2.0  # seconds until a held step has its turn to wait; as long as it waits then
_CREATION_PATIENCE = 30.0  # seconds, of the same for a creation


@attrs.frozen(eq=False)
class _Look:
    """A wish that changes nothing."""

    @property
    def exclusive(self) -> tuple[Hashable, ...]:
        """Any number may ask for the same."""
        return ()

    @property
    def weight(self) -> int:
        """It brings no bodies."""
        return 0


@attrs.frozen(eq=False)
class Load(_Look):
    """A wish for one request."""

    scope: int
    id: UUID


@attrs.frozen(eq=False)
class Name(_Look):
    """A wish for the requests that one of Lean's ids names."""

    scope: int
    kind: str
    value: str


class Traffic:
    """Batches on their way to the database; `None` stands for what is to be tried alone."""

    def __init__(self, pool: asyncpg.Pool, schema: str, width: int) -> None:
        """Make it; `width` batches of each kind are under way at a time."""
        self._pool = pool
        self._schema = schema
        few = max(1, pool.get_max_size() // _SHARE)
        self._steps_that_wait = asyncio.Semaphore(few)
        self._creations_that_wait = asyncio.Semaphore(few)
        self.steps: Lane[StepRow, Committed] = Lane(self._commit, self._commit_alone, width=width)
        self.creations: Lane[CreationRow, Created] = Lane(self._create, self._create_alone, width=width)
        self.loads: Lane[Load, Sequence[Row]] = Lane(self._load, self._load_alone, width=width)
        self.names: Lane[Name, Sequence[Row]] = Lane(self._owners, self._owners_alone, width=width)

    async def drain(self) -> None:
        """Return once nothing is queued or on its way."""
        lanes = (self.steps, self.creations, self.loads, self.names)
        await asyncio.gather(*(lane.drain() for lane in lanes))

    async def _fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        async with self._pool.acquire() as connection:
            return await fetch(connection, self._schema, sql, *arguments)

    async def _batch(self, sql: str, *arguments: Any) -> Sequence[Row] | None:
        """Return a batch's rows; None if the server refused it: one of the batch broke it for all."""
        with translated():
            try:
                return await self._fetch(sql, *arguments)
            except asyncpg.PostgresError as error:
                if is_settled(error):
                    return None
                raise

    async def _alone(self, sql: str, *arguments: Any) -> Sequence[Row]:
        with translated():
            return await self._fetch(sql, *arguments)

    async def _commit(self, rows: Sequence[StepRow]) -> list[Committed | None]:
        found = await self._batch(_steps.COMMIT, False, *_steps.columns(rows))  # noqa: FBT003 - the SQL's
        if found is None:
            return [None] * len(rows)
        return [None if row["outcome"] == HELD else _steps.committed(row) for row in found]

    async def _commit_alone(self, row: StepRow) -> Committed:
        """Commit one step, waiting 2 s for whoever holds its request."""
        columns = _steps.columns([row])
        [found] = await self._alone(_steps.COMMIT, False, *columns)  # noqa: FBT003 - the SQL's
        if found["outcome"] == HELD:
            async with _a_turn(self._steps_that_wait, _STEP_PATIENCE):
                [found] = await self._alone(_steps.COMMIT, True, *columns)  # noqa: FBT003 - the SQL's
        return _steps.committed(found)

    async def _create(self, rows: Sequence[CreationRow]) -> list[Created | StoreUnavailable | None]:
        found = await self._batch(_steps.CREATE_MANY, *_steps.creation_columns(rows))
        if found is None:
            return [None] * len(rows)
        return [None if row["outcome"] == HELD else _created(row) for row in found]

    async def _create_alone(self, row: CreationRow) -> Created:
        """Insert one request, waiting for whoever is making one like it."""
        [found] = await self._alone(_steps.CREATE_MANY, *_steps.creation_columns([row]))
        if found["outcome"] == HELD:
            async with _a_turn(self._creations_that_wait, _CREATION_PATIENCE):
                [found] = await self._alone(_steps.CREATE, *_steps.creation_arguments(row.creation))
        return _steps.created(found)

    async def _load(self, wanted: Sequence[Load]) -> list[Sequence[Row] | None]:
        ids = list({one.id for one in wanted})
        found = {(row["scope"], row["id"]): row for row in await self._alone(_sql.LOAD_MANY, ids)}
        return [[found[place]] if (place := (one.scope, one.id)) in found else [] for one in wanted]

    async def _load_alone(self, one: Load) -> Sequence[Row]:
        return await self._alone(_sql.LOAD, one.scope, one.id)

    async def _owners(self, names: Sequence[Name]) -> list[Sequence[Row] | None]:
        found: list[list[Row]] = [[] for _ in names]
        columns = zip(*((one.scope, one.kind, one.value) for one in names), strict=True)
        for row in await self._alone(_sql.OWNERS_MANY, *columns):
            found[row["number"] - 1].append(row)
        return list(found)

    async def _owners_alone(self, one: Name) -> Sequence[Row]:
        return await self._alone(_sql.OWNERS, one.scope, one.kind, one.value)


@asynccontextmanager
async def _a_turn(turns: asyncio.Semaphore, patience: float) -> AsyncIterator[None]:
    """Take one of the few turns to wait on a connection: else what is held would take all that there are.

    Raises:
        StoreUnavailable: none came within so many seconds.
    """
    try:
        async with asyncio.timeout(patience):
            await turns.acquire()
    except TimeoutError as error:
        raise StoreUnavailable("held by another transaction, as others before it") from error
    try:
        yield
    finally:
        turns.release()


def _created(row: Row) -> Created | StoreUnavailable:
    """Return what was found or made, or that this version cannot read it: that is no fault of the others."""
    try:
        return _steps.created(row)
    except StoreUnavailable as error:
        return error
