"""`leanflow check`, `leanflow reconcile` and `leanflow migrate`."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import click

from leanflow import LeanFlow, State, calls
from leanflow.errors import CallFailed, LeanflowError
from leanflow_adapters.cli._condition import Finding, condition, without_tables
from leanflow_adapters.cli._source import Source, observer, source_of, source_options
from leanflow_adapters.cli._when import when

__all__ = ["check_command", "migrate_command", "reconcile_command"]

_LATE = timedelta(minutes=2)  # a worker looks every second, and a call under way holds its request for 90 s


_CURE = (
    "`leanflow undelivered --set-aside` says why; once it is mended `leanflow redeliver --sink {0}`, or, if nobody has"
    " that name any more, `leanflow drop-sink --sink {0}`"
)

# --- check -------------------------------------------------------------------------------------------------------


@click.command("check")
@click.argument("target", metavar="[MODULE:ATTR]", required=False)
@source_options
@click.option("--offline", is_flag=True, help="Do not call Lean.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array of findings.")
def check_command(
    *,
    target: str | None,
    offline: bool,
    as_json: bool,
    **named: Any,
) -> None:
    """Check set-up, store, announcements and the way to Lean. Exit status 1 if anything is wrong."""
    source = source_of(target, **named)
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
        found += await condition(source.store, flows.scope)
    except LeanflowError as error:
        return [Finding(what="store", ok=False, words=str(error))]
    return found


def _requests(counts: dict[State, int]) -> Finding:
    some = ", ".join(f"{state} {count}" for state, count in counts.items() if count)
    return Finding(what="requests", ok=True, words=some or "none yet")


async def _work(flows: LeanFlow) -> list[Finding]:
    """Look for work that nobody does."""
    health = await flows.health()
    if not health.store_reachable:
        return [Finding(what="work", ok=False, words="the store does not answer, or not in time")]
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
        words = f"{lag.undelivered} wait, {lag.set_aside} are set aside"
        cure = "" if lag.set_aside == 0 else f": {_CURE.format(name)}"
        found.append(Finding(what=f"announcements to {name}", ok=lag.set_aside == 0, words=words + cure))
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


@click.command("reconcile")
@click.argument("target", metavar="MODULE:ATTR")
@click.option("--since", callback=when, metavar="WHEN", help="A time, or 90m, 6h, 3d ago; else since the last time.")
@click.option("--json", "as_json", is_flag=True, help='As {"news": 2}.')
def reconcile_command(*, target: str, since: datetime | None, as_json: bool) -> None:
    """Hear the webhooks that never came, from Lean's Events API. What comes of them is done by the workers."""
    source = source_of(target, create=True)
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
@click.option("--sql", "as_sql", is_flag=True, help="Print the SQL instead, for migrations of your own (Postgres).")
@click.option("--json", "as_json", is_flag=True, help='As {"store": "…"}.')
def migrate_command(*, target: str | None, as_sql: bool, as_json: bool, **named: Any) -> None:
    """Make a store's tables, or bring them up to date. A store of a newer leanflow is left alone."""
    source = source_of(target, create=True, **named)
    if as_sql:
        if without_tables(source.store):
            raise click.UsageError(f"{source.store!r} has no tables: there is no SQL to print")
        if not hasattr(source.store, "migration_sql"):
            raise click.UsageError(f"{source.store!r} migrates itself when it is opened: there is no SQL to print")
        click.echo(source.store.migration_sql())
        return
    asyncio.run(_migrate(source))
    if as_json:
        click.echo(json.dumps({"store": repr(source.store)}))
    else:
        done = (
            "its tables are up to date" if not without_tables(source.store) else "it has no tables: nothing to migrate"
        )
        click.echo(f"{source.store!r}: {done}")


async def _migrate(source: Source) -> None:
    if hasattr(source.store, "migrate"):
        await source.store.migrate()
    await source.store.open()
    await source.store.aclose()
