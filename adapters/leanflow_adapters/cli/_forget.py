"""`leanflow purge`, `leanflow erase` and `leanflow reencrypt`: what is not to be kept, or not to be readable."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import attrs
import click

from leanflow import DataRequest, LeanFlow, State
from leanflow.ports import Erased, Reencrypted
from leanflow_adapters.cli._scopes import words_of
from leanflow_adapters.cli._source import Source, observer, source_of, source_options
from leanflow_adapters.cli._when import long_ago, told

__all__ = ["erase_command", "purge_command", "reencrypt_command"]

_ENDS = sorted(state.value for state in State.ends())
_MOST = 10_000
"""Requests that are counted before it is asked: each is loaded for it."""


@click.command("purge")
@click.argument("target", metavar="[MODULE:ATTR]", required=False)
@source_options
@click.option(
    "--older-than", callback=long_ago, required=True, metavar="WHEN", help="Ended before this time, or 180d, 26w ago."
)
@click.option("--state", "states", multiple=True, type=click.Choice(_ENDS), help="Ended so. May be repeated.")
@click.option("--results", "results_alone", is_flag=True, help="Their results alone: requests and history stay.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help='As {"purged": 2}.')
def purge_command(
    *,
    target: str | None,
    older_than: datetime,
    states: tuple[str, ...],
    results_alone: bool,
    yes: bool,
    as_json: bool,
    **named: Any,
) -> None:
    """Delete ended requests with all that belongs to them, in small transactions beside running workers."""
    if results_alone and states:
        raise click.UsageError("--results takes no --state: only fetched requests have results.")
    source = source_of(target, **named)
    scope = asyncio.run(source.scope())
    source = source.at(scope)
    whose = f"of {words_of(scope)}, ended before {told(older_than)}"
    ends = None if not states else [State(state) for state in states]
    if not yes:
        counted = [State.fetched] if results_alone else ends or State.ends()
        many = f"{'the results of ' if results_alone else ''}{asyncio.run(_many(source, older_than, counted))} requests"
        click.confirm(f"Delete {many} {whose}, for ever?", abort=True, err=True)
    purged = asyncio.run(_purge(source, older_than, ends, results_alone=results_alone))
    if as_json:
        click.echo(json.dumps({"purged": purged}))
    elif results_alone:
        click.echo(f"purged the results of {purged} requests {whose}")
    else:
        click.echo(f"purged {purged} requests {whose}")


async def _purge(source: Source, older_than: datetime, ends: Sequence[State] | None, *, results_alone: bool) -> int:
    async with observer(source) as flows:
        if results_alone:
            return await flows.purge_results(older_than=older_than)
        return await flows.purge(older_than=older_than, state=ends)


async def _many(source: Source, before: datetime, ends: Collection[State]) -> str:
    """Return how many requests ended so before a time, as far as they are counted."""
    async with observer(source) as flows:
        count = 0
        async for request in flows.find(state=ends, older_than=before):  # none has ended before it was made
            if count == _MOST:
                return f"more than {_MOST}"
            count += await _end_of(flows, request) < before
        return str(count)


async def _end_of(flows: LeanFlow, request: DataRequest) -> datetime:
    """Return when a request ended: what came last, but for its renewal."""
    if request.successor_id is None:
        return request.updated_at
    return next(entry.at for entry in await flows.history(request.id) if State(entry.to_state).is_end)


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
    if entity_id is not None and customer_id is not None:
        raise click.UsageError("--entity and --customer are two things to erase: name one of them.")
    if not (entity_id or customer_id):
        raise click.UsageError("Name an --entity or a --customer.")
    source = source_of(target, **named)
    scope = asyncio.run(source.scope())
    who = f"{'entity' if entity_id else 'customer'} {entity_id or customer_id} of {words_of(scope)}"
    if not yes:
        click.confirm(f"Delete everything of {who}, for ever?", abort=True, err=True)
    erased = attrs.asdict(asyncio.run(_erase(source.at(scope), entity_id, customer_id)))
    unreadable = erased.pop("unreadable")
    if as_json:
        click.echo(json.dumps({**erased, "unreadable": unreadable}))
    elif any(erased.values()):
        click.echo(f"erased {', '.join(f'{count} {name}' for name, count in erased.items() if count)} of {who}")
    if unreadable and not as_json:
        click.echo(f"left {unreadable} webhooks and announcements that cannot be decrypted", err=True)
    if not any(erased.values()):
        option = f"--{'entity' if entity_id else 'customer'}"
        raise click.ClickException(f"there is nothing of {who}: {option} takes Lean's id, not your reference")


async def _erase(source: Source, entity_id: str | None, customer_id: str | None) -> Erased:
    async with observer(source, bodies=True) as flows:
        return await flows.erase(entity_id=entity_id, customer_id=customer_id)


@click.command("reencrypt")
@click.argument("target", metavar="MODULE:ATTR")
@click.option("--json", "as_json", is_flag=True, help='As {"looked_at": 9, "written": 2, "unreadable": 0}.')
def reencrypt_command(*, target: str, as_json: bool) -> None:
    """Encrypt all stored results and webhooks with the newest key, beside running workers. It can be interrupted."""
    source = source_of(target)
    done = asyncio.run(_reencrypt(source))
    if as_json:
        click.echo(json.dumps(attrs.asdict(done)))
    else:
        click.echo(_so_far(done))


def _so_far(done: Reencrypted) -> str:
    unreadable = f", left {done.unreadable} that cannot be decrypted" if done.unreadable else ""
    return f"looked at {done.looked_at}, encrypted {done.written} anew{unreadable}"


async def _reencrypt(source: Source) -> Reencrypted:
    def progress(done: Reencrypted) -> None:
        if shown:
            click.echo(f"\r{_so_far(done)}", err=True, nl=False)

    shown = sys.stderr.isatty()
    async with observer(source, bodies=True) as flows:
        done = await flows.reencrypt(progress)
    if shown:
        click.echo(err=True)
    return done
