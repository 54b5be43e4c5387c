"""`leanflow diagram`."""

from __future__ import annotations

import click

from leanflow import mermaid

__all__ = ["diagram_command"]


@click.command("diagram")
def diagram_command() -> None:
    """Print the state machine as a Mermaid diagram."""
    click.echo(mermaid())
