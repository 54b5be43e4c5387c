"""The group of commands. A command's module is imported when it is run: help must not wait for drivers."""

from __future__ import annotations

from collections.abc import Mapping
from errno import EPIPE
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click

__all__ = ["COMMANDS", "Commands", "app"]

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "demo": ("_demo", "Play the whole loop on this machine: Lean, bank, user and backend."),
        "mockbank": ("_mockbank", "Serve the simulated Lean on a port."),
        "simulate": ("_simulate", "Play seeded runs with everything that goes wrong."),
        "serve": ("_run", "Serve an engine's webhook endpoint and run its workers."),
        "worker": ("_run", "Run an engine's workers."),
        "list": ("_look", "List requests."),
        "show": ("_look", "Show one request and all that happened to it."),
        "export": ("_look", "Print one request and its history as JSON."),
        "counts": ("_look", "Count the requests in each state."),
        "cancel": ("_requests", "Withdraw a live request."),
        "renew": ("_requests", "Make a request anew that has expired or failed."),
        "undelivered": ("_announcements", "List what handlers and buses have not got yet."),
        "redeliver": ("_announcements", "Have announcements delivered again that were set aside."),
        "drop-sink": ("_announcements", "Forget a handler or bus that is gone for good."),
        "check": ("_upkeep", "Check set-up, store, announcements and the way to Lean."),
        "replay": ("_replay", "Run recorded histories against the machine of this version."),
        "reconcile": ("_upkeep", "Hear the webhooks that never came, from Lean's Events API."),
        "purge": ("_forget", "Delete what ended long ago, or its results."),
        "erase": ("_forget", "Delete everything of an entity or a customer."),
        "reencrypt": ("_forget", "Encrypt what is stored with the newest key."),
        "migrate": ("_upkeep", "Make a store's tables, or bring them up to date."),
        "copy": ("_copy", "Copy a store into another, as from SQLite to Postgres."),
        "diagram": ("_diagram", "Print the state machine as a Mermaid diagram."),
        "schema": ("_messages", "Print the JSON Schema of a message."),
        "asyncapi": ("_messages", "Print the AsyncAPI document of all messages."),
    }
)
"""Each command's module, which has it under its own name, and its line in the help."""


class Commands(click.Group):
    """A group that imports a command's module late, and turns leanflow's errors into one line each."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"leanflow_adapters.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the help from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of ours, or of the machine, is told in one line."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno == EPIPE:
                raise  # whoever read has gone: click ends quietly
            raise click.ClickException(error.strerror or str(error)) from error
        except Exception as error:  # which are ours is not known before they are imported
            from leanflow.errors import LeanflowError  # noqa: PLC0415 - costs what the help has not got

            if isinstance(error, LeanflowError):
                raise click.ClickException(str(error)) from error
            raise


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's own signature
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import version  # noqa: PLC0415 - slow, and only for this

    click.echo(f"leanflow {version('leanflow-openbanking')}")
    ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Say the version.")
def app() -> None:
    """Reliable data requests to Lean: look at them, run them, try them out."""
