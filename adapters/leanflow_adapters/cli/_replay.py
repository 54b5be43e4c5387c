"""`leanflow replay`: recorded histories against today's machine, from files or straight from a store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from leanflow import Policy, State
from leanflow.testing import Difference, replay
from leanflow_adapters.cli._source import Source, load_engine, observer, source_of, source_options

__all__ = ["replay_command"]

_LIVE = tuple(state for state in State if not state.is_end)


@click.command("replay")
@click.argument("arguments", metavar="[MODULE:ATTR] [FILE...]", nargs=-1)
@source_options
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([s.value for s in State]),
    help="Of a store: requests in this state; may be repeated. Default: all that are live.",
)
@click.option("--all", "show_all", is_flag=True, help="Show every difference; without it the first ten.")
def replay_command(
    *,
    arguments: tuple[str, ...],
    store: str | None,
    states: tuple[str, ...],
    show_all: bool,
    **named: Any,
) -> None:
    """Run recorded histories against the machine of this version, and the policy of the engine.

    FILEs hold what `leanflow show --json` prints, one export or a list of them; without FILEs the requests in the store
    are run. Exit status 1 if anything comes out otherwise than it was recorded.
    """
    target = next((word for word in arguments[:1] if ":" in word and not Path(word).exists()), None)
    files = arguments[1:] if target is not None else arguments
    if files and (store is not None or states):
        raise click.UsageError("Name files, or a store: not both.")
    if files:
        policy = Policy() if target is None else load_engine(target).policy
        found = _Found()
        for name in files:
            for history in _histories(name):
                found.add(replay(history, policy=policy), f"{name}: ")
    else:
        source = source_of(target, store=store, **named)
        found = asyncio.run(_from_store(source, [State(s) for s in states] or _LIVE))
    found.tell(show_all=show_all)


class _Found:
    """What came of the histories."""

    def __init__(self) -> None:
        self._count = 0
        self._differences: list[str] = []

    def add(self, difference: Difference | None, where: str = "") -> None:
        """Count a history."""
        self._count += 1
        if difference is not None:
            self._differences.append(f"{where}{difference}")

    def tell(self, *, show_all: bool) -> None:
        """Print it; exit with status 1 if there is a difference."""
        shown = self._differences if show_all else self._differences[:10]
        for text in shown:
            click.echo(f"{text}\n")
        if len(shown) < len(self._differences):
            click.echo(f"and {len(self._differences) - len(shown)} more; see them with --all")
        click.echo(f"replayed {self._count} histories: {len(self._differences)} come out otherwise")
        if self._differences:
            raise click.exceptions.Exit(1)


def _histories(name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the exports of a file."""
    try:
        read = json.loads(Path(name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.ClickException(f"{name} is no JSON: {error}") from error
    yield from read if isinstance(read, list) else [read]


async def _from_store(source: Source, states: Sequence[State]) -> _Found:
    found = _Found()
    async with observer(source) as flows:
        async for request in flows.find(state=states):
            found.add(replay(await flows.export(request.id), policy=flows.policy))
    return found
