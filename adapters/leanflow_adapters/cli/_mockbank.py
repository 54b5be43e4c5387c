"""`leanflow mockbank`: the simulated Lean on a port, with a live log."""

from __future__ import annotations

import asyncio
import errno
import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from leanflow.errors import InvalidRequest
from leanflow.mockbank import Disturbance, Fault, Mockbank, Pace, Scenario, Settings
from leanflow_adapters.cli._compare import compare_command
from leanflow_adapters.cli._mockbank_log import LiveLog
from leanflow_adapters.mockbank import HandClock, MockbankServer, ScaledClock, load_scenario, serve

__all__ = ["mockbank_command"]

_FAST = 60.0  # of a scaled clock, if nothing else is said: Lean's three hours of retries pass in three minutes


_TAKEN = "address already in use; try another --port, or 0 for any free one"


class _Line(click.ParamType[dict[str, Any]]):
    """A line of a scenario, as its value in a table."""

    name = "line"

    def __init__(self, of: type[Fault | Disturbance | Pace]) -> None:
        self._of = of

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._of.parse(value).told()
        except InvalidRequest as error:
            self.fail(str(error), param, ctx)


class _Setting(click.ParamType[dict[str, Any]]):
    """A setting, as ``otp="2222"``."""

    name = "setting"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return Settings.parse(value)
        except InvalidRequest as error:
            self.fail(str(error), param, ctx)


@click.group("mockbank", invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Whoever reaches it can control it.")
@click.option("--port", default=8787, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--scenario", type=click.Path(path_type=Path), metavar="FILE", help="Of TOML or JSON.")
@click.option("--seed", type=int, help="All ids and all data follow from it.  [default: 0]")
@click.option("--region", type=click.Choice(["uae", "ksa"]), help="[default: uae]")
@click.option("--webhook-url", metavar="URL", help="Where webhooks go; until it is known they wait.")
@click.option("--app", metavar="ID", help="Lean's application id.  [default: from the seed]")
@click.option("--client-secret", metavar="TEXT", help="For the token endpoint.  [default: mockbank-client-secret]")
@click.option("--webhook-secret", metavar="TEXT", help="Signs webhooks.  [default: mockbank-webhook-secret]")
@click.option("--set", "sets", multiple=True, type=_Setting(), metavar="NAME=VALUE", help="As otp='2222'.")
@click.option("--connect", "users", multiple=True, metavar="APP_USER_ID", help="Connect this customer at the start.")
@click.option("--fault", "faults", multiple=True, type=_Line(Fault), metavar="LINE", help="As effect='failed'.")
@click.option("--disturb", "disturbances", multiple=True, type=_Line(Disturbance), metavar="LINE", help="As drop=true.")
@click.option(
    "--pace", "paces", multiple=True, type=_Line(Pace), metavar="LINE", help="As model='results', progress='held'."
)
@click.option("--storm", type=int, metavar="SEED", help="Everything goes wrong at random, from this seed.")
@click.option(
    "--weight", type=click.FloatRange(min=0), help="Of the storm: multiplies its probabilities.  [default: 1]"
)
@click.option(
    "--clock",
    type=click.Choice(["real", "scaled", "hand"]),
    help="real; so many times as fast (--scale); or moved by the control command advance.  [default: real]",
)
@click.option("--scale", type=click.FloatRange(min=0, min_open=True), help=f"Of a scaled clock.  [default: {_FAST:g}]")
@click.option("--json", "as_json", is_flag=True, help="The log as JSON lines.")
@click.pass_context
def mockbank_command(ctx: click.Context, /, **options: Any) -> None:
    """Serve the simulated Lean on a port, with a live log.

    It is controlled by POST /_mockbank/COMMAND with a JSON body: connect, expire_session, otp, fault, disturb, advance
    and more; GET /_mockbank/state tells what it remembers. Users type the OTP 1111.
    """
    if ctx.invoked_subcommand is None:
        asyncio.run(_run(**options))
        return
    for option in ctx.command.params:
        if ctx.get_parameter_source(str(option.name)) not in (ParameterSource.DEFAULT, None):
            raise click.UsageError(f"{option.opts[0]} has no meaning before {ctx.invoked_subcommand}")


mockbank_command.add_command(compare_command)


async def _run(*, host: str, port: int, clock: str | None, scale: float | None, as_json: bool, **options: Any) -> None:
    running = _clock(clock, scale)
    try:
        scenario = _scenario(options)
        bank = Mockbank.from_scenario(scenario, running.now())
    except InvalidRequest as error:
        raise click.UsageError(str(error)) from error
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(serve(bank, host=host, port=port, clock=running))
        except OSError as error:
            why = error.strerror if error.errno != errno.EADDRINUSE else _TAKEN
            raise click.ClickException(f"cannot listen on {host}:{port}: {why}") from error
        log = LiveLog(server.log, as_json=as_json)
        _introduce(server, as_json=as_json)
        following, stopping = asyncio.create_task(log.follow()), asyncio.create_task(stop.wait())
        await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        following.cancel()
        await asyncio.gather(following, stopping, return_exceptions=True)
        log.catch_up()


def _clock(kind: str | None, scale: float | None) -> HandClock | ScaledClock:
    kind = kind or ("real" if scale is None else "scaled")
    if scale is not None and kind != "scaled":
        raise click.UsageError(f"--scale has no meaning with --clock {kind}")
    if kind == "hand":
        return HandClock()
    return ScaledClock(1.0 if kind == "real" else (scale or _FAST))


def _scenario(options: Mapping[str, Any]) -> Scenario:
    """Return the file's scenario with the options laid over it.

    Raises:
        InvalidRequest: something is wrong; names file or option.
    """
    path: Path | None = options["scenario"]
    told = {} if path is None else dict(load_scenario(path).table)
    settings = dict(told.get("settings", {}))
    for one in options["sets"]:
        settings |= one
    for option in ("seed", "region", "app", "client_secret", "webhook_secret"):
        if options[option] is not None:
            settings[option] = options[option]
    told["settings"] = settings
    told["connect"] = [*told.get("connect", []), *({"app_user_id": user} for user in options["users"])]
    for part in ("faults", "disturbances", "paces"):
        told[part] = [*told.get(part, []), *options[part]]
    if options["storm"] is not None:
        told["storm"] = {"seed": options["storm"]}
    if options["weight"] is not None:
        if "storm" not in told:
            raise InvalidRequest("--weight", "needs a storm: --storm SEED")
        told["storm"] = {**told["storm"], "weight": options["weight"]}
    if options["webhook_url"] is not None:
        told["webhook_url"] = options["webhook_url"]
    return Scenario.of(told, "options" if path is None else path.name)


def _introduce(server: MockbankServer, *, as_json: bool) -> None:
    """Tell what a client needs to know. The secrets are a simulator's."""
    for told in _introduction(server):
        if as_json:
            click.echo(json.dumps(told))
            continue
        for name, value in told.items():
            label = click.style(f"{name.replace('_', ' '):<17}", dim=True)
            click.echo(f"{label} {value or 'nowhere yet: they wait'}")
        click.echo()


def _introduction(server: MockbankServer) -> Iterator[dict[str, str | None]]:
    state = server.state()
    clock = server.clock
    speed = f"{clock.scale:g} times as fast" if isinstance(clock, ScaledClock) and clock.scale != 1 else "real"
    yield {
        "base_url": server.base_url,
        "page": f"{server.base_url}/",
        "app": server.app,
        "client_secret": server.client_secret,
        "webhook_secret": server.webhook_secret,
        "webhook_url": server.webhook_url or None,
        "region": server.settings.region,
        "seed": str(server.settings.seed),
        "clock": f"moved by hand, at {clock.now():%Y-%m-%d %H:%M:%S}" if isinstance(clock, HandClock) else speed,
    }
    users = {one["customer_id"]: one["app_user_id"] for one in state["customers"]}
    for one in state["entities"]:
        customer = one["customer_id"]
        yield {"customer": users[customer], "customer_id": customer, "entity_id": one["entity_id"], "bank": one["bank"]}
    for number, thing in server.armed().items():
        yield {f"armed_{number}": str(thing)}
    if server.weather is not None:
        yield {"storm": f"seed {server.weather.seed}, weight {server.weather.weight:g}"}
