"""The backend's process, seen from the one that started it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from leanflow.errors import LeanflowError

__all__ = ["Backend", "BackendFailed"]

_START_LIMIT = 15.0  # seconds; a cold start on a loaded machine takes three
_STOP_LIMIT = 6.0  # seconds; the engine itself waits three for what is in flight


class BackendFailed(LeanflowError):
    """The backend's process did not start, or is gone.

    Attributes:
        words: the last of what it wrote to standard error.
    """

    def __init__(self, words: str) -> None:
        self.words = words
        super().__init__(words)

    def __str__(self) -> str:
        return f"the backend did not start: {self.words}" if self.words else "the backend did not start"


class Backend:
    """A backend that can be started, killed and started again on the same file.

    Args:
        settings: handed to it on standard input, so that no secret is in the list of processes.
        directory: for its log.
        hear: called with each JSON line that it tells.
    """

    def __init__(self, settings: Mapping[str, Any], directory: Path, hear: Callable[[dict[str, Any]], None]) -> None:
        self._settings = settings
        self._log = directory / "backend.log"
        self._hear = hear
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[dict[str, Any]] | None = None
        self._starts = 0
        self.port = 0
        self.missed = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            BackendFailed: it does not.
        """
        settings = {**self._settings, "again": self._starts > 0}
        self._starts += 1
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # what lies about in the working directory is none of its business
                "-m",
                "leanflow_adapters.demo.backend",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the parent, which stops it in order
            )
        self._ready = asyncio.get_running_loop().create_future()
        self._listening = asyncio.create_task(self._listen(self._process, self._ready))
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(settings).encode() + b"\n")
            await self._process.stdin.drain()
            said = await asyncio.wait_for(self._ready, _START_LIMIT)
        except (TimeoutError, ConnectionError, BackendFailed):
            await self.kill()
            raise BackendFailed(self.last_words()) from None
        self.port, self.missed = said["ready"], said["missed"]

    async def _listen(self, process: asyncio.subprocess.Process, ready: asyncio.Future[dict[str, Any]]) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            said = json.loads(line)
            if "ready" not in said:
                self._hear(said)
            elif not ready.done():
                ready.set_result(said)
        if not ready.done():
            ready.set_exception(BackendFailed(""))
            ready.exception()  # it may be that nobody waits for it any more

    async def kill(self) -> int | None:
        """End it with SIGKILL, wherever it is; return its exit status."""
        process = self._process
        if process is None:
            return None
        if process.returncode is None:
            process.kill()
        return await self._reap(process)

    async def stop(self) -> int | None:
        """Let it stop in order, by the end of its standard input; kill it if that takes too long."""
        process = self._process
        if process is None:
            return None
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _STOP_LIMIT)
        except TimeoutError:
            process.kill()
        return await self._reap(process)

    async def _reap(self, process: asyncio.subprocess.Process) -> int:
        status = await process.wait()
        if self._listening is not None:
            await self._listening  # what it said before it ended is still heard
        if process.stdin is not None:
            process.stdin.close()
        self._process = self._listening = None
        return status

    def last_words(self, lines: int = 12) -> str:
        """Return the end of what it logged."""
        try:
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""
