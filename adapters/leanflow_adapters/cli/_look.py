"""`leanflow list` and `leanflow show`: they read, and make nothing."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from leanflow import DataRequest, Resource, State
from leanflow_adapters.cli._source import Source, observer, source_of, source_options

__all__ = ["list_command", "show_command"]

_WIDE = 240  # columns where nobody looks at a terminal: whole lines, that a pipe can search


@click.command("list")
@click.argument("target", metavar="[MODULE:ATTR]", required=False)
@source_options
@click.option("--state", "states", multiple=True, type=click.Choice([s.value for s in State]), help="May be repeated.")
@click.option("--resource", type=click.Choice([r.value for r in Resource]))
@click.option("--entity", "entity_id", metavar="ID")
@click.option("--customer", "customer_id", metavar="ID")
@click.option("--reference", metavar="TEXT", help="The application's own id.")
@click.option("--failure", metavar="CODE", help="Failed with this code.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@click.option("--after", metavar="ID", help="Go on behind this request.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array.")
def list_command(
    *,
    target: str | None,
    store: str | None,
    app: str,
    environment: str,
    region: str,
    as_json: bool,
    states: tuple[str, ...],
    **wanted: Any,
) -> None:
    """List requests, oldest first."""
    source = source_of(target, store=store, app=app, environment=environment, region=region)
    if wanted["resource"] is not None:
        wanted["resource"] = Resource(wanted["resource"])
    found = asyncio.run(_found(source, state=[State(s) for s in states] or None, **wanted))
    if as_json:
        click.echo(json.dumps([_told(request) for request in found], indent=2))
        return
    if not found:
        scope = source.scope
        click.echo(f"no such requests of app {scope.app!r}, {scope.environment}, {scope.region}", err=True)
        return
    _console().print(_list(found))
    if len(found) == wanted["limit"]:
        click.echo(f"there may be more: --after {found[-1].id}", err=True)


@click.command("show")
@click.argument("arguments", metavar="[MODULE:ATTR] REQUEST_ID", nargs=-1, required=True)
@source_options
@click.option("--json", "as_json", is_flag=True, help="Record and history as JSON: no bank data, no secrets.")
def show_command(
    *,
    arguments: tuple[str, ...],
    store: str | None,
    app: str,
    environment: str,
    region: str,
    as_json: bool,
) -> None:
    """Show one request and all that happened to it."""
    if len(arguments) > 2:
        raise click.UsageError("Name one engine, as MODULE:ATTR or with --store URL, and one request.")
    target = arguments[0] if len(arguments) == 2 else None
    source = source_of(target, store=store, app=app, environment=environment, region=region)
    told = asyncio.run(_export(source, arguments[-1]))
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    console = _console()
    console.print(_record(told["request"]))
    console.print(_history(told["history"]))


async def _found(source: Source, **wanted: Any) -> list[DataRequest]:
    async with observer(source) as flows:
        return [request async for request in flows.find(**wanted)]


async def _export(source: Source, request_id: str) -> dict[str, Any]:
    async with observer(source) as flows:
        return await flows.export(request_id)


# --- tables ------------------------------------------------------------------------------------------------------


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE, color_system=None)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "id")  # an id is there to be copied
    return table


def _told(request: DataRequest) -> dict[str, Any]:
    """Return a record as JSON values, without the customer's address."""
    told = request.to_dict()
    told.pop("customer_ip", None)
    return told


def _time(value: datetime | str | None) -> str:
    if value is None:
        return "-"
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def _list(found: list[DataRequest]) -> Table:
    table = _table("id", "state", "resource", "entity", "reference", "due", "updated")
    for request in found:
        state = request.state.value
        if request.failure is not None:
            state = f"{state} ({request.failure.code})"
        table.add_row(
            request.id,
            state,
            request.resource.value,
            request.entity_id,
            request.reference or "-",
            _time(request.due_at),
            _time(request.updated_at),
        )
    return table


def _record(told: dict[str, Any]) -> Table:
    table = _table("field", "value")
    for name, value in told.items():
        plain = value if isinstance(value, str) else json.dumps(value)
        table.add_row(name, plain)
    return table


def _history(rows: list[dict[str, Any]]) -> Table:
    table = _table("version", "at", "event", "from", "to", "declined")
    for row in rows:
        declined = row["declined"] or ""
        table.add_row(
            str(row["version"]),
            _time(row["at"]),
            row["tag"],
            row["from_state"] or "-",
            "(stays)" if declined or row["from_state"] == row["to_state"] else row["to_state"],
            declined,
        )
    return table
