"""The live log of `leanflow mockbank`: calls and webhooks as they happen, in columns or as JSON lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, TypeVar

import click

from leanflow.mockbank import CallRecord, Log, WebhookRecord

__all__ = ["LiveLog"]

T = TypeVar("T")
_LOOK = 0.1  # seconds between looks
_WIDE = 58  # columns of a path: the longest of the API fits


class LiveLog:
    """Prints what is new in a log.

    Args:
        log: of a Mockbank.
        as_json: whether each line is an object of JSON.
    """

    def __init__(self, log: Log, *, as_json: bool) -> None:
        self._log = log
        self._as_json = as_json
        self._call: CallRecord | None = None
        self._webhook: WebhookRecord | None = None

    async def follow(self) -> None:
        """Print what is new, for ever."""
        while True:
            self.catch_up()
            await asyncio.sleep(_LOOK)

    def catch_up(self) -> None:
        """Print what is new."""
        calls, webhooks = _newer(self._log.calls, self._call), _newer(self._log.webhooks, self._webhook)
        self._call = calls[-1] if calls else self._call
        self._webhook = webhooks[-1] if webhooks else self._webhook
        news: list[CallRecord | WebhookRecord] = [*calls, *webhooks]
        for record in sorted(news, key=lambda one: one.at):
            click.echo(json.dumps(_told(record)) if self._as_json else _line(record))


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
            "entity_id": seen.entity_id,
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
        "disturbed": record.disturbed,
    }


def _line(record: CallRecord | WebhookRecord) -> str:
    at = click.style(f"{record.at:%H:%M:%S.%f}"[:-3], dim=True)
    if isinstance(record, CallRecord):
        seen = record.context
        http = record.http_status
        good = http is not None and http < 400 and record.status in (None, "OK", "FINISHED")
        waits = record.status in ("PENDING", "RECONNECT_REQUIRED")
        colour = "green" if good else "yellow" if waits else "red"
        said = click.style(f"{'cut' if http is None else http:<4} {record.status or '':<20}", fg=colour)
        who = click.style(f"{(seen.entity_id or '')[:8]:<8}", dim=True)
        struck = click.style(f"  fault: {record.fault}", fg="magenta") if record.fault else ""
        return f"{at}  {seen.method:<6} {seen.path:<{_WIDE}} {who}  {said}{struck}".rstrip()
    name = f"{'forged ' if record.forged else ''}{record.type}"
    if record.dropped:
        came = click.style("lost on its way", fg="red")
    else:
        said = "no answer" if record.status is None else str(record.status)
        came = click.style(f"{said:<4} attempt {record.attempt}", fg="green" if record.status == 200 else "red")
    struck = click.style(f"  disturbed: {record.disturbed}", fg="magenta") if record.disturbed else ""
    who = click.style(f"{record.event_id[:8]:<8}", dim=True)
    return f"{at}  {click.style('sends ', fg='cyan')} {name:<{_WIDE}} {who}  {came}{struck}".rstrip()
