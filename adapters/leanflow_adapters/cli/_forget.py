"""`leanflow purge`, `leanflow erase` and `leanflow reencrypt`: what is not to be kept, or not to be readable."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from typing import Any

import attrs
import click

from leanflow import State
from leanflow.ports import Erased, Reencrypted
from leanflow_adapters.cli._source import Source, observer, source_of, source_options
from leanflow_adapters.cli._when import when

__all__ = ["erase_command", "purge_command", "reencrypt_command"]

_ENDS = sorted(state.value for state in State.ends())


@click.command("purge")
@click.argument("target", metavar="[MODULE:ATTR]", required=False)
@source_options
@click.option(
    "--older-than", callback=when, required=True, metavar="WHEN", help="Ended before this time, or 90d, 36h, 5m ago."
)
@click.option("--state", "states", multiple=True, type=click.Choice(_ENDS), help="Ended so. May be repeated.")
@click.option("--results", "results_alone", is_flag=True, help="Their results alone: requests and history stay.")
@click.option("--json", "as_json", is_flag=True, help='As {"purged": 2}.')
def purge_command(
    *,
    target: str | None,
    older_than: datetime,
    states: tuple[str, ...],
    results_alone: bool,
    as_json: bool,
    **named: Any,
) -> None:
    """Delete ended requests with all that belongs to them, in small transactions beside running workers."""
    if results_alone and states:
        raise click.UsageError("--results takes no --state: only fetched requests have results.")
    source = source_of(target, **named)
    purged = asyncio.run(_purge(source, older_than, states, results_alone=results_alone))
    if as_json:
        click.echo(json.dumps({"purged": purged}))
    elif results_alone:
        click.echo(f"purged the results of {purged} requests")
    else:
        click.echo(f"purged {purged} requests")


async def _purge(source: Source, older_than: datetime, states: tuple[str, ...], *, results_alone: bool) -> int:
    async with observer(source) as flows:
        if results_alone:
            return await flows.purge_results(older_than=older_than)
        return await flows.purge(older_than=older_than, state=[State(state) for state in states] or None)


@click.command("erase")
@click.argument("target", metavar="[MODULE:ATTR]", required=False)
@source_options
@click.option("--entity", "entity_id", metavar="ID", help="Lean's entity.")
@click.option("--customer", "customer_id", metavar="ID", help="Lean's customer, and the customer's entities.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="The report as a JSON object.")
def erase_command(
    *,
    target: str | None,
    entity_id: str | None,
    customer_id: str | None,
    yes: bool,
    as_json: bool,
    **named: Any,
) -> None:
    """Delete everything of an entity or a customer, live requests too. If it is interrupted, run it again."""
    if (entity_id is None) == (customer_id is None):
        raise click.UsageError("Name an --entity or a --customer.")
    source = source_of(target, **named)
    if not yes:
        click.confirm(f"Delete everything of {entity_id or customer_id}, for ever?", abort=True, err=True)
    erased = asyncio.run(_erase(source, entity_id, customer_id))
    told = attrs.asdict(erased)
    if as_json:
        click.echo(json.dumps(told))
    else:
        click.echo("erased " + (", ".join(f"{count} {name}" for name, count in told.items() if count) or "nothing"))


async def _erase(source: Source, entity_id: str | None, customer_id: str | None) -> Erased:
    async with observer(source, bodies=True) as flows:
        return await flows.erase(entity_id=entity_id, customer_id=customer_id)


@click.command("reencrypt")
@click.argument("target", metavar="MODULE:ATTR")
@click.option("--json", "as_json", is_flag=True, help='As {"looked_at": 9, "written": 2}.')
def reencrypt_command(*, target: str, as_json: bool) -> None:
    """Encrypt all stored results and webhooks with the newest key, beside running workers. It can be interrupted."""
    source = source_of(target, store=None, app="", environment="", region="")
    done = asyncio.run(_reencrypt(source))
    if as_json:
        click.echo(json.dumps(attrs.asdict(done)))
    else:
        click.echo(f"looked at {done.looked_at}, encrypted {done.written} anew")


async def _reencrypt(source: Source) -> Reencrypted:
    def progress(done: Reencrypted) -> None:
        if shown:
            click.echo(f"\rlooked at {done.looked_at}, encrypted {done.written} anew", err=True, nl=False)

    shown = sys.stderr.isatty()
    async with observer(source, bodies=True) as flows:
        done = await flows.reencrypt(progress)
    if shown:
        click.echo(err=True)
    return done
