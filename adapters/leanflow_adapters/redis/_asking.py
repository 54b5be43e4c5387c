"""How the port's methods ask: in the lane, where commands of many callers travel together, or alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from leanflow._request import Scope
from leanflow_adapters.redis._lane import Command
from leanflow_adapters.redis._rows import written
from leanflow_adapters.redis._scripts import Script

__all__ = ["SLICE", "Asking"]

SLICE = 500
"""Rows that one script goes through: the server does nothing else meanwhile."""


class Asking(ABC):
    """What all methods are made of."""

    @abstractmethod
    def _base(self, scope: Scope) -> bytes:
        """Return what all keys of a scope begin with."""

    @abstractmethod
    async def _ask(self, *command: Any, weight: int = 0) -> Any:
        """Send a command, or run a script, together with those of other callers; return the reply.

        `weight`: how many bytes of bodies it brings.
        """

    @abstractmethod
    async def _ask_together(self, commands: Sequence[Command]) -> Sequence[Any]:
        """Send commands in one round trip on a connection of their own: what takes its time holds up no step."""

    @abstractmethod
    def _moment(self, now: datetime) -> bytes:
        """Return the time by which leases go: nothing for the server's own."""

    async def _run(self, script: Script, name: bytes, scope: Scope, *arguments: Any, weight: int = 0) -> Any:
        return await self._ask(script, self._base(scope), name, *arguments, weight=weight)

    async def _ask_alone(self, *command: Any) -> Any:
        [reply] = await self._ask_together([command])
        return reply

    async def _run_alone(self, script: Script, name: bytes, scope: Scope, *arguments: Any) -> Any:
        return await self._ask_alone(script, self._base(scope), name, *arguments)

    def _key(self, scope: Scope, kind: bytes, name: str) -> bytes:
        return self._base(scope) + kind + written(name)
