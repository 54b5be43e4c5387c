"""`leanflow mockbank compare`: where a real sandbox and Mockbank differ in shape."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import attrs
import click

from leanflow.errors import LeanflowError
from leanflow_adapters.mockbank._compare import Credentials, compare

__all__ = ["compare_command"]


class _CouldNotRun(click.ClickException):
    """Told in one line; exit status 2: nothing was found out."""

    exit_code = 2


@click.command("compare")
@click.option("--base-url", required=True, metavar="URL", help="Of the sandbox's API.")
@click.option("--auth-url", default="", metavar="URL", help="Of its token endpoint; if not given, Lean's, or the same.")
@click.option("--api", type=click.Choice(["v1", "v2", "both"]), default="both", show_default=True)
@click.option("--region", type=click.Choice(["uae", "ksa"]), default="uae", show_default=True, help="Of Mockbank.")
@click.option("--entity", default="", metavar="ID", help="Whose data is asked for; if not given, one is found.")
@click.option("--reconnect", is_flag=True, help="If the entity wants its user: tell the reconnect id, wait for Enter.")
@click.option("--hints", is_flag=True, help="Tell also what may be chance.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def compare_command(
    *,
    base_url: str,
    auth_url: str,
    api: str,
    region: str,
    entity: str,
    reconnect: bool,
    hints: bool,
    as_json: bool,
) -> None:
    """Tell where a real sandbox and Mockbank answer in different shapes.

    Both are asked the same. At the sandbox it only reads, but for one customer that it creates. LEAN_APP_ID and
    LEAN_CLIENT_SECRET, in the environment, are the application's. No credential and no value of an answer is printed:
    names, kinds, formats and Lean's own words are. Exit status 0: no difference; 1: some; 2: it could not run.
    """
    credentials = Credentials(app=_secret("LEAN_APP_ID"), secret=_secret("LEAN_CLIENT_SECRET"))
    apis = ("v2", "v1") if api == "both" else (api,)
    ask = _user if reconnect else None
    try:
        report = asyncio.run(
            compare(credentials, base_url, auth_url=auth_url, apis=apis, entity_id=entity, reconnect=ask, region=region)
        )
    except LeanflowError as error:
        raise _CouldNotRun(str(error)) from error
    if as_json:
        click.echo(json.dumps(attrs.asdict(report), indent=2))
    else:
        for line in report.lines(hints=hints):
            click.echo(line)
    raise SystemExit(1 if report.differences else 0)


def _secret(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise _CouldNotRun(f"{name} is not set in the environment")
    return value


async def _user(reconnect_id: str) -> None:
    """Wait until somebody says that the user has reconnected."""
    click.echo(f"The entity wants its user. Run Lean.reconnect with reconnect_id={reconnect_id}", err=True)
    click.echo("and press Enter when the user is done.", err=True)
    if not await asyncio.to_thread(sys.stdin.readline):
        raise _CouldNotRun("nobody is there to press Enter")
