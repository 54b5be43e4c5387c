"""R33: a kill in each statement of each migration, a newer version of the file, and an older leanflow."""

from __future__ import annotations

import hashlib
import sqlite3

from leanflow_adapters.sqlite.migrations import MIGRATIONS, VERSION
from tests.torture import upgrade_postgres
from tests.torture.drive import drive, make
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.world import World

__all__ = ["upgrades"]

NEXT = (
    "ALTER TABLE leanflow_requests ADD COLUMN next_version TEXT",
    "CREATE TABLE leanflow_next (id TEXT PRIMARY KEY) WITHOUT ROWID",
    "INSERT INTO leanflow_next SELECT id FROM leanflow_requests",
)
"""A made-up migration to the next version: it changes a table, makes one and fills it."""


async def upgrades(run: Run) -> None:
    """R33: whatever statement a migration is killed in, the next start has the whole of it, and requests wait on."""
    if run.store == "postgres":
        await upgrade_postgres.upgrades(run)
        return
    statements = [len(migration) for migration in MIGRATIONS]
    await run.each((_first(run, n + 1) for n in range(sum(statements))), 4)
    await run.each((_next(run, n + 1) for n in range(len(NEXT))), 4)
    await _newer(run)
    run.figure.rounds = sum(statements) + len(NEXT) + 1


def _version(world: World) -> int:
    with sqlite3.connect(world.db) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
    db.close()
    return int(version)


async def _first(run: Run, statement: int) -> None:
    """Kill in a statement of the first migration."""
    async with run.world(f"first{statement}", statement) as world:
        child = await world.start(kill_site=f"sqlite.in_migration:{statement}")
        await child.ended
        world.kills += 1
        problems = [] if _version(world) == 0 else ["R33: half a migration is stored"]
        await world.start()
        problems += [] if _version(world) == VERSION else ["R33: the second start did not migrate"]
        problems += [] if await drive(world, "user-1") == "fetched" else ["R33: the file does not work"]
        problems += await world.settle()
        problems += await world.close()
        run.add(world, problems + check(world))


async def _next(run: Run, statement: int) -> None:
    """Kill in a statement of the next migration, with requests waiting."""
    async with run.world(f"next{statement}", 100 + statement) as world:
        old = await world.start()
        for number in range(5):
            await make(world, f"user-{number}")
        await old.stop()
        child = await world.start(kill_site=f"sqlite.in_migration:{statement}", next_version=NEXT)
        await child.ended
        world.kills += 1
        problems = [] if _version(world) == VERSION else ["R33: half a migration is stored"]
        await world.start(next_version=NEXT)
        problems += [] if _version(world) == VERSION + 1 else ["R33: the second start did not migrate"]
        for number in range(5):
            problems += [] if await drive(world, f"user-{number}") == "fetched" else ["R33: a request was lost"]
        problems += await world.settle()
        problems += await world.close()
        run.add(world, problems + check(world))


async def _newer(run: Run) -> None:
    """Open a file of a newer version: it is refused, and not a byte of it changes."""
    async with run.world("newer", 200) as world:
        await (await world.start()).stop()
        with sqlite3.connect(world.db) as db:
            db.execute(f"PRAGMA user_version = {VERSION + 1}")
        db.close()
        before = hashlib.sha256(world.db.read_bytes()).hexdigest()
        child = await world.start(may_die=True)
        problems = ["R33: it opened a newer file"] if child.port else []
        await child.ended
        if "MigrationNeeded" not in world.log.read_text():
            problems.append("R33: the refusal does not say why")
        if hashlib.sha256(world.db.read_bytes()).hexdigest() != before:
            problems.append("R33: a refused file was changed")
        run.add(world, problems)
