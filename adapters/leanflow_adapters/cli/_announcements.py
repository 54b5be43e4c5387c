"""`leanflow undelivered`, `leanflow redeliver` and `leanflow drop-sink`: what handlers and buses have not got."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from typing import Any

import click

from leanflow import LeanFlow
from leanflow._handlers import collect
from leanflow.ports import OutboxRow
from leanflow_adapters.cli._look import console, table_of, time_of
from leanflow_adapters.cli._scopes import words_of
from leanflow_adapters.cli._source import Source, observer, source_of, source_options

__all__ = ["drop_sink_command", "redeliver_command", "undelivered_command"]

_AT_ONCE = 1000
_sink = click.option("--sink", required=True, metavar="NAME", help="The handler or bus, by its name.")


@click.command("undelivered")
@click.argument("target", metavar="[MODULE:ATTR]", required=False)
@source_options
@click.option("--set-aside", is_flag=True, help="Only those that were given up.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array.")
def undelivered_command(*, target: str | None, set_aside: bool, limit: int, as_json: bool, **named: Any) -> None:
    """List what handlers and buses have not got yet, oldest first: how often it was tried, and what they raised."""
    rows = asyncio.run(_undelivered(source_of(target, **named), set_aside=set_aside or None, limit=limit))
    if as_json:
        click.echo(json.dumps([_told(row) for row in rows], indent=2))
        return
    if not rows:
        click.echo("nothing was set aside" if set_aside else "all is delivered", err=True)
        return
    table = table_of("sink", "kind", "request", "tries", "error", "next", "key")
    for row in rows:
        due = "set aside" if row.set_aside else time_of(row.due_at)
        table.add_row(row.sink, row.kind, row.request_id or "-", str(row.tries), row.error or "-", due, row.key)
    console().print(table)
    if len(rows) == limit:
        click.echo(f"there may be more: --limit {2 * limit}", err=True)


@click.command("redeliver")
@click.argument("target", metavar="[MODULE:ATTR]", required=False)
@source_options
@_sink
@click.option("--key", "keys", multiple=True, metavar="KEY", help="This one alone. May be repeated.")
@click.option("--json", "as_json", is_flag=True, help='As {"redelivered": 2}.')
def redeliver_command(*, target: str | None, sink: str, keys: tuple[str, ...], as_json: bool, **named: Any) -> None:
    """Have announcements delivered again that were set aside. The workers do it."""
    number = asyncio.run(_redeliver(source_of(target, **named), sink, keys))
    if as_json:
        click.echo(json.dumps({"redelivered": number}))
    elif number:
        click.echo(f"{number} announcements are due again for {sink}")
    if number == 0:
        raise click.ClickException(f"nothing is set aside for {sink}")


@click.command("drop-sink")
@click.argument("target", metavar="[MODULE:ATTR]", required=False)
@source_options
@_sink
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help='As {"dropped": 2}.')
def drop_sink_command(*, target: str | None, sink: str, yes: bool, as_json: bool, **named: Any) -> None:
    """Forget a handler or bus that is gone for good, and all that is kept for it."""
    source = source_of(target, **named)
    if source.engine is not None and sink in _served(source.engine):
        raise click.ClickException(f"{target} serves {sink}: take the handler or the bus away first")
    scope = asyncio.run(source.scope())
    if not yes:
        click.confirm(f"Drop all that {sink} of {words_of(scope)} has not got, for ever?", abort=True, err=True)
    dropped = asyncio.run(_drop(source.at(scope), sink))
    if as_json:
        click.echo(json.dumps({"dropped": dropped}))
    else:
        click.echo(f"forgot {sink}, and {dropped} announcements that were kept for it")


def _served(engine: LeanFlow) -> Collection[str]:
    """Return what an engine that is not open serves; what looks at its store for us serves nobody."""
    return {*collect(engine._sets), *engine._buses}  # noqa: SLF001 - an application may have added handlers since


async def _undelivered(source: Source, **wanted: Any) -> Sequence[OutboxRow]:
    async with observer(source) as flows:
        return await flows.undelivered(**wanted)


async def _redeliver(source: Source, sink: str, keys: Sequence[str]) -> int:
    async with observer(source) as flows:
        if not keys:
            return await _redeliver_all(flows, sink)
        for key in keys:
            await flows.redeliver(key, sink)
        return len(keys)


async def _redeliver_all(flows: LeanFlow, sink: str) -> int:
    """Redeliver what is set aside for a sink now, each once though it may be set aside again meanwhile."""
    done: set[str] = set()
    limit = _AT_ONCE
    while True:
        found = await flows.undelivered(set_aside=True, limit=limit)
        fresh = [row.key for row in found if row.sink == sink and row.key not in done]
        for key in fresh:
            await flows.redeliver(key, sink)
        done.update(fresh)
        if not fresh and len(found) < limit:
            return len(done)
        limit *= 1 if fresh else 2  # those of other sinks stand before them


async def _drop(source: Source, sink: str) -> int:
    async with observer(source) as flows:
        return await flows.drop_sink(sink)


def _told(row: OutboxRow) -> dict[str, Any]:
    """Return a row as JSON values, without its payload."""
    return {
        "sink": row.sink,
        "key": row.key,
        "kind": row.kind,
        "request_id": row.request_id,
        "tries": row.tries,
        "error": row.error,
        "set_aside": row.set_aside,
        "due_at": None if row.due_at is None else row.due_at.isoformat(),
    }
