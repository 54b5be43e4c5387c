"""``python manage.py leanflow_worker``: run the engine's workers, apart from the web processes."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from leanflow import LeanFlow
from leanflow_adapters._working import STOP_WITHIN, staff, work

__all__ = ["Command"]


class Command(BaseCommand):  # type: ignore[misc]  # Django has no types
    """Works until SIGTERM or Ctrl-C."""

    help = "Run leanflow's workers: calls, probes, retries, expiries and announcements, until SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the engine's name, and how many workers."""
        parser.add_argument("target", nargs="?", metavar="MODULE:ATTR", help="The engine; else settings.LEANFLOW.")
        parser.add_argument("--workers", type=int, default=1, help="How many; 1 if not given.")
        parser.add_argument(
            "--stop-within", type=float, default=STOP_WITHIN, help=f"Seconds from SIGTERM to the end; {STOP_WITHIN:g}."
        )

    def handle(self, *_: Any, target: str | None, workers: int, stop_within: float, **__: Any) -> None:
        """Work."""
        if workers < 1:
            raise CommandError("--workers: at least 1")
        flows = _engine(target or getattr(settings, "LEANFLOW", None))
        staff(flows, workers)
        asyncio.run(work(flows, stop_within, self._say))

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _engine(target: str | None) -> LeanFlow:
    if not target:
        raise CommandError("name the engine: LEANFLOW = 'shop.lean:flows' in the settings, or as MODULE:ATTR here")
    module, colon, attribute = target.partition(":")
    if not (module and colon and attribute):
        raise CommandError(f"{target!r} names no engine: write MODULE:ATTR, as in shop.lean:flows")
    named = _imported(module)
    if not hasattr(named, attribute):
        raise CommandError(f"{module} has no {attribute!r}")
    found = getattr(named, attribute)
    found = getattr(found, "engine", found)  # of leanflow.blocking's
    if not isinstance(found, LeanFlow):
        raise CommandError(f"{target} is a {type(found).__name__}, no engine")
    return found


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise  # it is there, and lacks another
        raise CommandError(f"there is no module {error.name!r}") from error
