"""`leanflow list`, `show`, `export` and `counts`: they read, and make nothing."""

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
from leanflow._request import Scope
from leanflow.testing._timeline import timeline
from leanflow_adapters.cli._scopes import words_of
from leanflow_adapters.cli._source import Source, observer, one_request, source_of, source_options
from leanflow_adapters.cli._when import when

__all__ = [
    "console",
    "counts_command",
    "export_command",
    "list_command",
    "show_command",
    "table_of",
    "time_of",
]

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
@click.option("--older-than", callback=when, metavar="WHEN", help="Made before this time, or 90d, 36h, 5m ago.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@click.option("--after", metavar="ID", help="Go on behind this request.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array.")
def list_command(
    *,
    target: str | None,
    store: str | None,
    app: str | None,
    environment: str | None,
    region: str | None,
    as_json: bool,
    states: tuple[str, ...],
    **wanted: Any,
) -> None:
    """List requests, oldest first."""
    source = source_of(target, store=store, app=app, environment=environment, region=region)
    if wanted["resource"] is not None:
        wanted["resource"] = Resource(wanted["resource"])
    scope, found = asyncio.run(_found(source, state=[State(s) for s in states] or None, **wanted))
    if as_json:
        click.echo(json.dumps([_told(request) for request in found], indent=2))
        return
    if not found:
        click.echo(f"no such requests of {words_of(scope)}", err=True)
        return
    console().print(_list(found))
    if len(found) == wanted["limit"]:
        click.echo(f"there may be more: --after {found[-1].id}", err=True)


@click.command("show")
@click.argument("arguments", metavar="[MODULE:ATTR] REQUEST_ID", nargs=-1, required=True)
@source_options
@click.option("--json", "as_json", is_flag=True, help="Record and history as JSON: no bank data, no secrets.")
@click.option("--personal", is_flag=True, help="In JSON too: the reference, and what else may point to a person.")
def show_command(
    *,
    arguments: tuple[str, ...],
    as_json: bool,
    personal: bool,
    **named: Any,
) -> None:
    """Show one request and all that happened to it."""
    target, request_id = one_request(arguments)
    source = source_of(target, **named)
    if as_json:
        click.echo(json.dumps(asyncio.run(_export(source, request_id, personal=personal)), indent=2))
        return
    told, is_purged = asyncio.run(_whole(source, request_id))
    console().print(_record(told["request"]))
    click.echo(timeline(told["request"], told["history"]))
    click.echo("  all times are UTC")
    if is_purged:
        click.echo("  its results were purged")


@click.command("export")
@click.argument("arguments", metavar="[MODULE:ATTR] REQUEST_ID", nargs=-1, required=True)
@source_options
@click.option("--personal", is_flag=True, help="The reference too, and what else may point to a person.")
def export_command(*, arguments: tuple[str, ...], personal: bool, **named: Any) -> None:
    """Print one request and its history as JSON: no bank data, no secrets. `leanflow replay` reads it."""
    target, request_id = one_request(arguments)
    told = asyncio.run(_export(source_of(target, **named), request_id, personal=personal))
    click.echo(json.dumps(told, indent=2))


@click.command("counts")
@click.argument("target", metavar="[MODULE:ATTR]", required=False)
@source_options
@click.option("--json", "as_json", is_flag=True, help="A JSON object.")
def counts_command(*, target: str | None, as_json: bool, **named: Any) -> None:
    """Count the requests in each state."""
    counts = asyncio.run(_counts(source_of(target, **named)))
    if as_json:
        click.echo(json.dumps(counts))
        return
    table = table_of("state", "requests")
    for state, count in counts.items():
        table.add_row(state, str(count))
    console().print(table)


async def _counts(source: Source) -> dict[str, int]:
    async with observer(source) as flows:
        return {state.value: count for state, count in (await flows.counts()).items()}


async def _found(source: Source, **wanted: Any) -> tuple[Scope, list[DataRequest]]:
    async with observer(source) as flows:
        return flows.scope, [request async for request in flows.find(**wanted)]


async def _export(source: Source, request_id: str, *, personal: bool) -> dict[str, Any]:
    async with observer(source) as flows:
        return await flows.export(request_id, personal=personal)


async def _whole(source: Source, request_id: str) -> tuple[dict[str, Any], bool]:
    """Return what is exported of a request, and whether it had results that are not kept any more."""
    async with observer(source) as flows:
        told = await flows.export(request_id, personal=True)
        if told["request"]["state"] != State.fetched:
            return told, False
        stored = getattr(flows.store, "inner", flows.store)  # that there are some is seen without their keys
        return told, not await stored.pages(flows.scope, request_id, limit=1)


# --- tables ------------------------------------------------------------------------------------------------------


def console() -> Console:
    """Return the terminal, or a wide one where nobody looks at it."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE, color_system=None)


def table_of(*columns: str) -> Table:
    """Return an empty table."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "id")  # an id is there to be copied
    return table


def _told(request: DataRequest) -> dict[str, Any]:
    """Return a record as JSON values, without the customer's address."""
    told = request.to_dict()
    told.pop("customer_ip", None)
    return told


def time_of(value: datetime | str | None) -> str:
    """Return a moment as text, in UTC."""
    if value is None:
        return "-"
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def _list(found: list[DataRequest]) -> Table:
    table = table_of("id", "state", "resource", "entity", "reference", "due", "updated")
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
            time_of(request.due_at),
            time_of(request.updated_at),
        )
    return table


def _record(told: dict[str, Any]) -> Table:
    table = table_of("field", "value")
    for name, value in told.items():
        plain = value if isinstance(value, str) else json.dumps(value)
        table.add_row(name, plain)
    return table
