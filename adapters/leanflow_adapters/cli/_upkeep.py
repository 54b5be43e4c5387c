"""`leanflow check`, `leanflow reconcile` and `leanflow migrate`."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import click

from leanflow import LeanFlow, State, calls
from leanflow.errors import CallFailed, LeanflowError
from leanflow_adapters.cli._source import Source, observer, source_of, source_options

__all__ = ["check_command", "migrate_command", "reconcile_command"]

_LATE = timedelta(minutes=2)  # a worker looks every second, and a call under way holds its request for 90 s
_AGO = re.compile(r"(\d+)([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: which.
        ok: whether it is as it should be.
        words: what was found.
    """

    what: str
    ok: bool
    words: str


# --- check -------------------------------------------------------------------------------------------------------


@click.command("check")
@click.argument("target", metavar="[MODULE:ATTR]", required=False)
@source_options
@click.option("--offline", is_flag=True, help="Do not call Lean.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array of findings.")
def check_command(
    *,
    target: str | None,
    store: str | None,
    app: str,
    environment: str,
    region: str,
    offline: bool,
    as_json: bool,
) -> None:
    """Check set-up, store, announcements and the way to Lean. Exit status 1 if anything is wrong."""
    source = source_of(target, store=store, app=app, environment=environment, region=region)
    findings = asyncio.run(_check(source, call_lean=not offline and source.engine is not None))
    if as_json:
        click.echo(json.dumps([attrs.asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(f"{'ok ' if finding.ok else 'BAD'}  {finding.what}: {finding.words}")
    raise SystemExit(0 if all(finding.ok for finding in findings) else 1)


async def _check(source: Source, *, call_lean: bool) -> list[Finding]:
    try:
        async with observer(source) as flows:
            found = [Finding(what="store", ok=True, words=f"{source.store!r} opens")]
            found.append(_requests(await flows.counts()))
            found += await _work(flows)
            if call_lean:
                found.append(await _lean(flows))
    except LeanflowError as error:
        return [Finding(what="store", ok=False, words=str(error))]
    return found


def _requests(counts: dict[State, int]) -> Finding:
    some = ", ".join(f"{state} {count}" for state, count in counts.items() if count)
    return Finding(what="requests", ok=True, words=some or "none yet")


async def _work(flows: LeanFlow) -> list[Finding]:
    """Look for work that nobody does."""
    health = await flows.health()
    now = datetime.now(UTC)
    due = health.next_due_at
    if due is None:
        work = Finding(what="work", ok=True, words="nothing is due")
    elif now - due > _LATE:
        words = f"due since {due:%Y-%m-%d %H:%M:%S}Z and not done: does a worker run?"
        work = Finding(what="work", ok=False, words=words)
    else:
        work = Finding(what="work", ok=True, words=f"next due {due:%Y-%m-%d %H:%M:%S}Z")
    found = [work]
    for name, lag in sorted(health.sinks.items()):
        words = f"{lag.undelivered} undelivered, {lag.set_aside} of them set aside"
        found.append(Finding(what=f"announcements to {name}", ok=lag.set_aside == 0, words=words))
    return found


async def _lean(flows: LeanFlow) -> Finding:
    """Make the cheapest call there is: the list of banks."""
    try:
        answer = await flows.send(calls.list_banks())
    except CallFailed as error:
        return Finding(what="Lean", ok=False, words=str(error))
    if answer.status == 200:
        return Finding(what="Lean", ok=True, words="answers, and knows the application")
    return Finding(what="Lean", ok=False, words=f"answered HTTP {answer.status} to the list of banks")


# --- reconcile ---------------------------------------------------------------------------------------------------


def _since(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter("write a time, as 2026-01-31T08:00:00Z, or how long ago, as 90m, 6h or 3d") from None
    if moment.tzinfo is None:
        raise click.BadParameter("write the time zone too, as in 2026-01-31T08:00:00Z")
    return moment


@click.command("reconcile")
@click.argument("target", metavar="MODULE:ATTR")
@click.option("--since", callback=_since, metavar="WHEN", help="A time, or 90m, 6h, 3d ago; else since the last time.")
@click.option("--json", "as_json", is_flag=True, help='As {"news": 2}.')
def reconcile_command(*, target: str, since: datetime | None, as_json: bool) -> None:
    """Hear the webhooks that never came, from Lean's Events API. What comes of them is done by the workers."""
    source = source_of(target, store=None, app="", environment="", region="", create=True)
    news = asyncio.run(_reconcile(source, since))
    if as_json:
        click.echo(json.dumps({"news": news}))
    else:
        click.echo("nothing was missed" if news == 0 else f"{news} events were news")


async def _reconcile(source: Source, since: datetime | None) -> int:
    async with observer(source) as flows:
        return await flows.reconcile(since)


# --- migrate -----------------------------------------------------------------------------------------------------


@click.command("migrate")
@click.argument("target", metavar="[MODULE:ATTR]", required=False)
@source_options
@click.option("--json", "as_json", is_flag=True, help='As {"store": "…"}.')
def migrate_command(*, target: str | None, as_json: bool, **named: Any) -> None:
    """Make a store's tables, or bring them up to date. A store of a newer leanflow is left alone."""
    source = source_of(target, create=True, **named)
    asyncio.run(_migrate(source))
    if as_json:
        click.echo(json.dumps({"store": repr(source.store)}))
    else:
        click.echo(f"{source.store!r}: its tables are up to date")


async def _migrate(source: Source) -> None:
    await source.store.open()
    await source.store.aclose()
