"""`leanflow cancel` and `leanflow renew`: what an operator does with one request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from leanflow import DataRequest
from leanflow_adapters.cli._source import Source, observer, one_request, source_of, source_options

__all__ = ["cancel_command", "renew_command"]


@click.command("cancel")
@click.argument("arguments", metavar="[MODULE:ATTR] REQUEST_ID", nargs=-1, required=True)
@source_options
@click.option("--json", "as_json", is_flag=True, help='As {"id": "…", "state": "cancelled"}.')
def cancel_command(*, arguments: tuple[str, ...], as_json: bool, **named: Any) -> None:
    """Withdraw a live request: nobody works on it any more."""
    target, request_id = one_request(arguments)
    cancelled = asyncio.run(_cancel(source_of(target, **named), request_id))
    click.echo(_json(cancelled) if as_json else f"cancelled {cancelled.id}")


@click.command("renew")
@click.argument("arguments", metavar="[MODULE:ATTR] REQUEST_ID", nargs=-1, required=True)
@source_options
@click.option("--json", "as_json", is_flag=True, help='The new one, as {"id": "…", "state": "requested"}.')
def renew_command(*, arguments: tuple[str, ...], as_json: bool, **named: Any) -> None:
    """Make a request anew that has expired or failed. The workers place it."""
    target, request_id = one_request(arguments)
    made = asyncio.run(_renew(source_of(target, **named), request_id))
    click.echo(_json(made) if as_json else f"renewed by {made.id}, which is {made.state}")


async def _cancel(source: Source, request_id: str) -> DataRequest:
    async with observer(source) as flows:
        return await flows.cancel(request_id)


async def _renew(source: Source, request_id: str) -> DataRequest:
    async with observer(source) as flows:
        return await flows.renew(request_id)


def _json(request: DataRequest) -> str:
    return json.dumps({"id": request.id, "state": request.state})
