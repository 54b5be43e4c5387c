"""R33 on Postgres: a kill in each statement of each migration, under old workers that go on, and a newer schema."""

from __future__ import annotations

from typing import Any

import asyncpg

from leanflow_adapters.postgres import _migrate
from tests.torture.bases import SchemaBase
from tests.torture.drive import drive, make
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.world import World

__all__ = ["upgrades"]

NEXT = (
    'ALTER TABLE "leanflow".requests ADD COLUMN next_version text',
    'CREATE TABLE "leanflow".next (id uuid PRIMARY KEY)',
    'INSERT INTO "leanflow".next SELECT id FROM "leanflow".requests',
)
"""A made-up migration to the next version: it changes a table, makes one and fills it."""

_WAITING = 5


async def upgrades(run: Run) -> None:
    """R33: whatever statement a migration is killed in, nothing of it stays, old workers go on, and so do requests."""
    await run.each((_first(run, n + 1) for n in range(_migrate.VERSION)), 4)
    steps = len(NEXT) + 1  # the last writes the version down
    await run.each((_next(run, n + 1) for n in range(steps)), 4)
    await _newer(run)
    run.figure.rounds = _migrate.VERSION + steps + 1


def _version(world: World) -> tuple[int, int]:
    """Return the version that is written down, and how many tables there are."""
    base = world.base
    assert isinstance(base, SchemaBase)

    async def look(connection: asyncpg.Connection) -> tuple[int, Any]:
        tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = $1", base.schema)
        return await _migrate.found_version(connection, base.schema), tables

    return base.ask(look)


async def _first(run: Run, statement: int) -> None:
    """Kill in one of the first migrations."""
    async with run.world(f"first{statement}", statement) as world:
        await (await world.start(kill_site=f"postgres.in_migration:{statement}")).ended
        world.kills += 1
        problems = [] if _version(world) == (0, 0) else ["R33: half a migration is stored"]
        await world.start()
        problems += [] if _version(world)[0] == _migrate.VERSION else ["R33: the second start did not migrate"]
        problems += [] if await drive(world, "user-1") == "fetched" else ["R33: the schema does not work"]
        await _end(run, world, problems)


async def _next(run: Run, statement: int) -> None:
    """Kill in a statement of the next migration, with requests waiting and a worker of this version at work."""
    async with run.world(f"next{statement}", 100 + statement) as world:
        await world.start()
        before = _version(world)
        for number in range(_WAITING):
            await make(world, f"user-{number}")
        await (await world.start(kill_site=f"postgres.in_migration:{statement}", next_version=NEXT)).ended
        world.kills += 1
        problems = [] if _version(world) == before else ["R33: half a migration is stored"]
        problems += [] if await drive(world, "pend-1") == "fetched" else ["R33: the old worker does not go on"]
        await world.start(next_version=NEXT)
        after = before[0] + 1, before[1] + 1
        problems += [] if _version(world) == after else ["R33: the second start did not migrate"]
        for number in range(_WAITING):
            if await drive(world, f"user-{number}", at=number) != "fetched":  # by the old and the new in turns
                problems.append("R33: a request was lost")
        await _end(run, world, problems)


async def _newer(run: Run) -> None:
    """Start this version on a newer schema: it works, and leaves the schema as it is."""
    async with run.world("newer", 200) as world:
        await (await world.start(next_version=NEXT)).stop()
        before = _version(world)
        await world.start()
        problems = [] if before[0] == _migrate.VERSION + 1 else ["R33: the newer version did not migrate"]
        problems += [] if await drive(world, "user-1") == "fetched" else ["R33: it does not work on a newer schema"]
        problems += [] if _version(world) == before else ["R33: a newer schema was changed"]
        await _end(run, world, problems)


async def _end(run: Run, world: World, problems: list[str]) -> None:
    problems += await world.settle()
    problems += await world.close()
    run.add(world, problems + check(world))
