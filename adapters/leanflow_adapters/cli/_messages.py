"""`leanflow schema` and `leanflow asyncapi`: what goes over a bus, for those who read it and write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import click

from leanflow._asyncapi import CHANNELS, asyncapi
from leanflow._schemas import DEFINITIONS, schema

__all__ = ["asyncapi_command", "schema_command"]


def _print(document: Mapping[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


@click.command("schema")
@click.argument("name", required=False, metavar="[NAME]", type=click.Choice(list(DEFINITIONS)))
def schema_command(name: str | None) -> None:
    """Print the JSON Schema (draft 7) of a message, with all that it refers to. Without a name: the names."""
    if name is None:
        click.echo("\n".join(DEFINITIONS))
    else:
        _print(schema(name))


def _addresses(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in given:
        channel, equals, address = each.partition("=")
        if not equals or not address or channel not in CHANNELS:
            raise click.BadParameter(f"{each!r}: CHANNEL=ADDRESS, with a channel of {', '.join(CHANNELS)}")
        found[channel] = address
    return found


@click.command("asyncapi")
@click.option("--title", default="leanflow", show_default=True, help="Of your application.")
@click.option("--version", "of", help="Of your messages. Default: leanflow's own.")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="CHANNEL=ADDRESS",
    callback=_addresses,
    help="Where a channel is: a subject, queue, topic or stream; may be repeated.",
)
def asyncapi_command(title: str, of: str | None, addresses: Mapping[str, str]) -> None:
    """Print the AsyncAPI 3.0 document of all that goes over a bus, as JSON, which is YAML as well.

    Channels: announcements, webhooks, commands, replies.
    """
    _print(asyncapi(title=title, version=of or version("leanflow-openbanking"), addresses=addresses))
