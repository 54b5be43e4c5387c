"""`leanflow copy`: everything from one store into another.

Each slice of rows is written in one transaction with a mark that says how far the copy got. So it can be killed at any
point: started again it goes on behind the last slice, and no row comes twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

import attrs
import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from leanflow.ports import Store
from leanflow_adapters import open_store
from leanflow_adapters._tables import TABLES, Row, Table, Tables

__all__ = ["CannotCopy", "copy", "copy_command", "has_tables", "tables_of"]

Told = Callable[[str, int, int], None]
"""Is told of a table how many rows are copied, and of how many."""

_WITH_TABLES = MappingProxyType(
    {
        "SQLiteStore": "leanflow_adapters.sqlite.tables",
        "PostgresStore": "leanflow_adapters.postgres.tables",
        "RedisStore": "leanflow_adapters.redis.tables",
    }
)
_HEAVY = 2**20
"""Bytes of bodies after which no more rows are taken into a transaction."""

_AGAIN = "start again with an empty target (another file, schema or prefix)"


class CannotCopy(click.ClickException):
    """The source or the target is not fit for it. What the source has is as it was."""


@attrs.frozen(kw_only=True)
class Mark:
    """How far a copy got.

    Attributes:
        pulse: of the source, when the copy began.
        table: that is being copied; empty: all are, and were counted.
        place: of the last row.
        copied: rows of this table so far.
    """

    pulse: str
    table: str = TABLES[0].name
    place: str | None = None
    copied: int = 0

    @property
    def text(self) -> str:
        """The mark as it is kept."""
        return json.dumps(attrs.asdict(self))


# --- the command -------------------------------------------------------------------------------------------------


@click.command("copy")
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@click.option("--force", is_flag=True, help="Though the source seems to be in use.")
@click.option("--json", "as_json", is_flag=True, help="Rows per table, as a JSON object.")
def copy_command(*, source: str, target: str, force: bool, as_json: bool) -> None:
    """Copy a store into another: requests, history, results, webhooks that wait, announcements, all of it.

    SOURCE and TARGET are URLs, as sqlite:///flows.db, postgresql://user@host/database or redis://host:6379/0. Stop the
    workers and the web processes of the source first. A copy that was interrupted goes on when it is started again.
    Exit status 0 means that all is there, and was counted.
    """
    old, new = open_store(source), open_store(target)
    path = getattr(old, "path", None)
    if isinstance(path, str) and not Path(path).exists():
        raise CannotCopy(f"there is no store at {path}")
    counts = asyncio.run(_copy(old, new, force=force))
    if as_json:
        click.echo(json.dumps(counts, indent=2))
        return
    width = max(len(str(count)) for count in counts.values())
    for name, count in counts.items():
        click.echo(f"{count:>{width}}  {name}")
    click.echo("all copied, and counted in both stores")


async def _copy(source: Store, target: Store, *, force: bool) -> Mapping[str, int]:
    for store in (source, target):
        if not has_tables(store):
            raise CannotCopy(f"{store!r} has no tables that can be copied")
    async with tables_of(source, whole=True) as old, tables_of(target, whole=True) as new:
        with _progress() as told:
            return await copy(old, new, force=force, told=told)


def has_tables(store: Store) -> bool:
    """Return whether a store is one of those that keep tables."""
    return type(store).__name__ in _WITH_TABLES


def tables_of(store: Store, *, whole: bool = False) -> AbstractAsyncContextManager[Tables]:
    """Return the tables of a store that has them and is not open; `whole`: only if all that is there is known."""
    module = import_module(_WITH_TABLES[type(store).__name__])
    tables: AbstractAsyncContextManager[Tables] = module.tables(store, whole=whole)
    return tables


@contextmanager
def _progress() -> Iterator[Told]:
    """Tell on stderr how far it is: a bar for each table, or a line for each tenth where nobody looks at a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _tell_tenths()
        return
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        tasks = {table.name: progress.add_task(table.name, total=None) for table in TABLES}
        yield lambda name, copied, total: progress.update(tasks[name], completed=copied, total=total)


def _tell_tenths() -> Told:
    last: dict[str, int] = {}

    def tell(name: str, copied: int, total: int) -> None:
        tenth = 10 * copied // total if total else 0
        if last.get(name) != tenth:
            last[name] = tenth
            click.echo(f"{name}: {copied} of {total}", err=True)

    return tell


# --- what it does ------------------------------------------------------------------------------------------------


async def copy(source: Tables, target: Tables, *, force: bool, told: Told) -> Mapping[str, int]:
    """Copy all tables, or go on where that was interrupted; return how many rows each has.

    Raises:
        CannotCopy: the source is in use or has changed meanwhile, or the target has rows of its own.
    """
    if not force and (why := await source.in_use()) is not None:
        raise CannotCopy(f"the source is in use ({why}): stop its workers and web processes, or use --force")
    pulse, scopes = await source.pulse(), sorted(await source.scopes())
    if not scopes:
        raise CannotCopy("there is nothing in the source: is it the one that was meant?")
    totals = {table.name: await source.count(table, scopes) for table in TABLES}
    copying = await _begun(target, pulse, scopes)
    if not copying.is_done:
        async for name, copied in copying.tables(source):
            told(name, copied, totals[name])
        if await source.pulse() != pulse:
            raise CannotCopy(f"the source has changed while it was copied: {_AGAIN}")
    wrong = [table.name for table in TABLES if await target.count(table, scopes) != totals[table.name]]
    if wrong:
        since = "since it was copied: it is in use" if copying.is_done else f"than it was given: {_AGAIN}"
        raise CannotCopy(f"the target has got other rows in {', '.join(wrong)} {since}")
    if not copying.is_done:
        await target.settle()
        await copying.finish()
    return totals


async def _begun(target: Tables, pulse: str, scopes: Sequence[int]) -> _Copying:
    """Return the copy that the target holds, or begin one."""
    copying = _Copying(target, await target.mark())
    if copying.before is None:
        if not (await target.scopes()).isdisjoint(scopes):
            raise CannotCopy(f"the target has rows of the same application already: {_AGAIN}")
        await copying.begin(pulse)
    elif copying.mark.pulse != pulse:
        raise CannotCopy(f"the target has a copy of another source, or of this one before it changed: {_AGAIN}")
    return copying


async def _slice(source: Tables, table: Table, after: str | None) -> tuple[Sequence[Row], str | None]:
    """Return what is copied in one transaction, and the place of the last row: light rows are many, heavy ones few."""
    rows: list[Row] = []
    place, weight = after, 0
    while len(rows) < table.slice and weight < _HEAVY:
        more, behind = await source.read(table, place, min(table.at_once, table.slice - len(rows)))
        if behind == place:
            break
        rows += more
        place = behind
        weight += sum(len(value) for row in more for value in row if isinstance(value, bytes | str))
    return rows, place


class _Copying:
    """Rows on their way into a target.

    Attributes:
        before: the mark that the target has.
        mark: the same, read.
    """

    def __init__(self, target: Tables, before: str | None) -> None:
        self._target = target
        self.before = before
        self.mark = Mark(pulse="") if before is None else Mark(**json.loads(before))

    @property
    def is_done(self) -> bool:
        """Whether all tables were copied and counted."""
        return not self.mark.table

    async def begin(self, pulse: str) -> None:
        """Leave the first mark."""
        await self._write(TABLES[0], (), Mark(pulse=pulse))

    async def tables(self, source: Tables) -> AsyncIterator[tuple[str, int]]:
        """Copy from the mark on; tell after each slice which table it is, and how many rows of it are there."""
        names = [table.name for table in TABLES]
        for table in TABLES[names.index(self.mark.table) :]:
            if table.name != self.mark.table:
                self.mark = Mark(pulse=self.mark.pulse, table=table.name)
            yield table.name, self.mark.copied
            while (slice_ := await _slice(source, table, self.mark.place))[1] != self.mark.place:
                rows, place = slice_
                copied = self.mark.copied + len(rows)
                await self._write(table, rows, attrs.evolve(self.mark, place=place, copied=copied))
                yield table.name, copied

    async def finish(self) -> None:
        """Leave the last mark."""
        await self._write(TABLES[0], (), Mark(pulse=self.mark.pulse, table=""))

    async def _write(self, table: Table, rows: Sequence[Row], mark: Mark) -> None:
        """Write a slice, and how far the copy is with it."""
        if not await self._target.write(table, rows, before=self.before, mark=mark.text):
            raise CannotCopy("another process is copying into the target")
        self.before, self.mark = mark.text, mark
