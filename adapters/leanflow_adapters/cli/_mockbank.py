"""`leanflow mockbank`: the simulated Lean on a port, with a live log."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import click

from leanflow.mockbank import CallRecord, Mockbank, Settings, WebhookRecord
from leanflow_adapters.mockbank import MockbankServer, ScaledClock, serve

__all__ = ["mockbank_command"]

T = TypeVar("T")
_LOOK = 0.1  # seconds between looks into its log


@click.command("mockbank")
@click.option("--host", default="127.0.0.1", show_default=True, help="Whoever reaches it can control it.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--seed", default=0, show_default=True, help="All ids and all data follow from it.")
@click.option("--webhook-url", metavar="URL", help="Where webhooks go; until it is known they wait.")
@click.option("--app", default="", metavar="ID", help="Lean's application id; from the seed if not given.")
@click.option("--client-secret", default="mockbank-client-secret", show_default=True, help="For the token endpoint.")
@click.option("--webhook-secret", default="mockbank-webhook-secret", show_default=True, help="Signs webhooks.")
@click.option("--region", type=click.Choice(["uae", "ksa"]), default="uae", show_default=True)
@click.option("--scale", default=1.0, show_default=True, help="How many times as fast its clock runs.")
@click.option("--connect", "users", multiple=True, metavar="APP_USER_ID", help="Connect this customer at the start.")
@click.option("--json", "as_json", is_flag=True, help="The log as JSON lines.")
def mockbank_command(**options: Any) -> None:
    """Serve the simulated Lean on a port, with a live log.

    It is controlled by POST /_mockbank/COMMAND with a JSON body: connect, expire_session, otp, fault, disturb, advance
    and more; GET /_mockbank/state tells what it remembers. Users type the OTP 1111.
    """
    asyncio.run(_run(**options))


async def _run(
    *,
    host: str,
    port: int,
    webhook_url: str | None,
    users: tuple[str, ...],
    scale: float,
    as_json: bool,
    **settings: Any,
) -> None:
    clock = ScaledClock(scale)
    bank = Mockbank(now=clock.now(), settings=Settings(**settings))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serve(bank, host=host, port=port, clock=clock, webhook_url=webhook_url) as server:
        for told in _introduction(server, users):
            click.echo(json.dumps(told) if as_json else "  ".join(f"{name}={value}" for name, value in told.items()))
        following = asyncio.create_task(_follow(bank, as_json=as_json))
        await stop.wait()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def _introduction(server: MockbankServer, users: Sequence[str]) -> Iterator[dict[str, str]]:
    """Connect the customers, and tell what a client needs to know. The secrets are a simulator's."""
    bank = server.bank
    yield {
        "base_url": server.base_url,
        "app": bank.app,
        "client_secret": bank.client_secret,
        "webhook_secret": bank.webhook_secret,
    }
    for user in users:
        entity_id = bank.connect(user, now=server.clock.now())
        yield {"customer": user, "customer_id": bank.customer_of(entity_id), "entity_id": entity_id}
    server.wake()


async def _follow(bank: Mockbank, *, as_json: bool) -> None:
    """Print what it is asked and what it sends, for ever."""
    calls: CallRecord | None = None
    hooks: WebhookRecord | None = None
    while True:
        new_calls, new_hooks = _newer(bank.log.calls, calls), _newer(bank.log.webhooks, hooks)
        calls = new_calls[-1] if new_calls else calls
        hooks = new_hooks[-1] if new_hooks else hooks
        news: list[CallRecord | WebhookRecord] = [*new_calls, *new_hooks]
        for record in sorted(news, key=lambda one: one.at):
            click.echo(json.dumps(_told(record)) if as_json else _line(record))
        await asyncio.sleep(_LOOK)


def _newer(log: Sequence[T], last: T | None) -> list[T]:
    """Return what came after `last`. The log is bounded, so that counting from its beginning would not do."""
    newer: list[T] = []
    for record in reversed(log):
        if record is last:
            break
        newer.append(record)
    return newer[::-1]


def _told(record: CallRecord | WebhookRecord) -> dict[str, Any]:
    if isinstance(record, CallRecord):
        seen = record.context
        return {
            "at": record.at.isoformat(),
            "call": f"{seen.method} {seen.path}",
            "http_status": record.http_status,
            "status": record.status,
            "fault": record.fault,
        }
    return {
        "at": record.at.isoformat(),
        "webhook": record.type,
        "event_id": record.event_id,
        "attempt": record.attempt,
        "http_status": record.status,
        "forged": record.forged,
        "dropped": record.dropped,
    }


def _line(record: CallRecord | WebhookRecord) -> str:
    at = f"{record.at:%H:%M:%S.%f}"[:-3]
    if isinstance(record, CallRecord):
        said = click.style(f"{record.http_status or 'cut'} {record.status or ''}".rstrip(), fg="cyan")
        fault = click.style(f"  fault: {record.fault}", fg="red") if record.fault else ""
        return f"{at}  {record.context.method:<6} {record.context.path}  {said}{fault}"
    if record.dropped:
        came = click.style("lost on its way", fg="red")
    else:
        fg = "green" if record.status == 200 else "red"
        came = click.style(f"attempt {record.attempt}: {record.status or 'no answer'}", fg=fg)
    forged = click.style("forged ", fg="red") if record.forged else ""
    return f"{at}  {'sends':<6} {forged}{record.type}  {came}"
