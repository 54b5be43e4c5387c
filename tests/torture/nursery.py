"""Children, seen from the parent: started through a zygote, killed, frozen and stopped by their own process ids."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

__all__ = ["AMONG_OTHERS", "Child", "Nursery"]

AMONG_OTHERS = 5.0
"""The patience of runs that share their machine with other tests."""

_START_LIMIT = 30.0  # seconds; half a second is usual
_ROOT = Path(__file__).resolve().parents[2]


@attrs.define(eq=False)
class Child:
    """One process with an engine in it.

    Attributes:
        tag: unique among the children of a nursery; Lean hears it with each call.
        pid: its process id.
        port: where it listens; 0 until it does.
        hooks: where it listens for webhooks: there, too, or at a port of a binding's own.
        ready: done once it listens; False if it died before.
        ended: its wait status, once it has ended.
        faults: how often it was killed, stopped, frozen or kept from its file: what it was at may have been cut off.
    """

    tag: str
    pid: int = 0
    port: int = 0
    hooks: int = 0
    ready: asyncio.Future[bool] = attrs.field(factory=lambda: asyncio.get_running_loop().create_future())
    ended: asyncio.Future[int] = attrs.field(factory=lambda: asyncio.get_running_loop().create_future())
    faults: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def hook(self) -> str:
        """Where it takes webhooks."""
        return f"http://127.0.0.1:{self.hooks}/webhook"

    def signal(self, number: signal.Signals, *, cuts: bool = True) -> bool:
        """Send it a signal, unless it has ended; return whether it lived.

        Args:
            number: which.
            cuts: whether that may cut off what it is at.
        """
        if self.ended.done():
            return False
        self.faults += cuts
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    async def kill(self) -> bool:
        """Kill it and wait for its end; return whether it lived."""
        lived = self.signal(signal.SIGKILL)
        await self.ended
        return lived

    async def stop(self, limit: float = 20.0, *, cuts: bool = True) -> float:
        """Ask it to stop; return the seconds that took.

        Args:
            limit: seconds that it may take.
            cuts: whether that may cut off what it is at: not if it is at rest.

        Raises:
            TimeoutError: it took longer than `limit`; it is killed.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.signal(signal.SIGTERM, cuts=cuts)
        try:
            await asyncio.wait_for(asyncio.shield(self.ended), limit)
        except TimeoutError:
            await self.kill()
            raise
        return loop.time() - began


class Nursery:
    """Starts children by way of two zygotes: one for those that are to kill themselves, a warmer one for the others.

    Args:
        patience: by how much longer than on a quiet machine things may take before they count as stuck, or too slow.
    """

    def __init__(self, patience: float = 1.0) -> None:
        self.patience = patience
        self._children: dict[str, Child] = {}
        self._numbers = count(1)
        self._zygotes: list[asyncio.subprocess.Process] = []
        self._listening: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        path = os.pathsep.join([str(_ROOT), str(_ROOT / "adapters"), *(entry for entry in sys.path if entry)])
        for warmth in ("cold", "warm"):
            zygote = await asyncio.create_subprocess_exec(
                sys.executable,
                str(Path(__file__).with_name("zygote.py")),
                warmth,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the parent
            )
            self._zygotes.append(zygote)
            self._listening.append(asyncio.create_task(self._listen(zygote)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for zygote in self._zygotes:
            assert zygote.stdin is not None
            zygote.stdin.close()
            await zygote.wait()
        await asyncio.gather(*self._listening)
        for child in self._children.values():  # the zygotes have gone, and have taken them with them
            if not child.ready.done():
                child.ready.set_result(False)
            if not child.ended.done():
                child.ended.set_result(0)
        for zygote in self._zygotes:
            # The transport is closed only by a later turn of the loop: without it Python warns of one never closed.
            zygote._transport.close()  # type: ignore[attr-defined]  # asyncio shows it to nobody
        await asyncio.sleep(0)

    async def _listen(self, zygote: asyncio.subprocess.Process) -> None:
        assert zygote.stdout is not None
        while line := await zygote.stdout.readline():
            said = json.loads(line)
            child = self._children[said["tag"]]
            if "pid" in said:
                child.pid = said["pid"]
            elif "ready" in said:
                child.port, child.hooks = said["ready"], said["hooks"]
                child.ready.set_result(True)
            else:
                if not child.ready.done():
                    child.ready.set_result(False)
                child.ended.set_result(said["ended"])

    async def start(self, settings: Mapping[str, Any], log: Path, kill_site: str | None = None) -> Child:
        """Start a child and wait until it listens, or has died.

        Args:
            settings: as `tests.torture.child.main` takes them.
            log: where its standard error goes.
            kill_site: where it is to kill itself.
        """
        child = Child(f"c{next(self._numbers)}")
        self._children[child.tag] = child
        env = {} if kill_site is None else {"LEANFLOW_KILL_SITE": kill_site}
        order = {"tag": child.tag, "log": str(log), "env": env, "settings": dict(settings)}
        zygote = self._zygotes[kill_site is None]
        assert zygote.stdin is not None
        zygote.stdin.write(json.dumps(order).encode() + b"\n")
        await zygote.stdin.drain()
        await asyncio.wait_for(asyncio.shield(child.ready), _START_LIMIT * self.patience)
        return child
