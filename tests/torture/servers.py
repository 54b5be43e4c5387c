"""A Postgres of one's own, to be stopped and started; and a wire to any Postgres, to be cut."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

__all__ = ["Server", "Wire", "cannot_serve"]

_USER = "postgres"
_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
port = {port}
"""
_COMMIT = re.compile(rb"(?:event|answer):[0-9a-f]")  # the key of what a step was made by
_RARELY = 0.02  # how often another message is cut than a step's, against the wire's own rate
_WAYS = ("before", "half", "sent", "answered")


def _program(name: str) -> str | None:
    if (found := shutil.which(name)) is not None or shutil.which("pg_config") is None:
        return found
    told = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=False).stdout.strip()
    return shutil.which(name, path=told)


def cannot_serve() -> str | None:
    """Return why no server of one's own can be started here, or None."""
    missing = [name for name in ("initdb", "pg_ctl") if _program(name) is None]
    return f"{' and '.join(missing)} not found" if missing else None


class Server:
    """A Postgres server with one empty database, on a port of its own.

    Args:
        more: lines of its settings.
    """

    def __init__(self, *more: str) -> None:
        self._more = more
        self._directory = Path(tempfile.mkdtemp(prefix="leanflow-postgres-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]

    @property
    def dsn(self) -> str:
        """Where it is."""
        return f"postgresql://{_USER}@127.0.0.1:{self._port}/postgres"

    @property
    def pid(self) -> int:
        """The process id of its first process."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    async def __aenter__(self) -> Self:
        if os.getuid() == 0:
            shutil.chown(self._directory, _USER)
        await self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", _USER, "--no-sync")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS.format(port=self._port) + "\n".join(self._more))
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(subprocess.CalledProcessError):
            await self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        await self._run("pg_ctl", "-D", str(self._data), "-w", "-l", str(self._directory / "log"), "start")

    async def stop(self, how: str = "immediate") -> None:
        """Stop it: ``immediate`` as a crash does, ``fast`` in order, with whatever is under way rolled back."""
        await self._run("pg_ctl", "-D", str(self._data), "-w", "-m", how, "stop")

    async def _run(self, *words: str) -> None:
        command: Sequence[str] = (str(_program(words[0])), *words[1:])
        if os.getuid() == 0:  # Postgres refuses to be root's
            command = ("setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", *command)
        with (self._directory / "tools.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, cwd=self._directory)
        if await process.wait():
            told = (self._directory / "tools.log").read_text(errors="replace")[-500:]
            raise subprocess.CalledProcessError(process.returncode or 1, words[0], told)


class Wire:
    """A way to a Postgres or a Redis that breaks now and then, at the worst of moments: while a step is on its way.

    Args:
        dsn: where it leads.
        dice: for when, and how: before the step has left, in its middle, once it is sent and nobody waits for the
            answer, and once the server has answered and nobody hears it.
        rate: how many of the steps are cut.
    """

    def __init__(self, dsn: str, dice: random.Random, rate: float) -> None:
        self.rate = rate
        self.cuts: Counter[str] = Counter()
        there = urlsplit(dsn)
        self._there = there.hostname, there.port or 5432
        self._parts = there
        self._dice = dice
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    @property
    def dsn(self) -> str:
        """Its near end."""
        port = self._server.sockets[0].getsockname()[1]
        if self._parts.scheme == "redis":
            return f"redis://127.0.0.1:{port}/0"
        at = f"{self._parts.username or _USER}@127.0.0.1:{port}"
        return self._parts._replace(netloc=at, query="sslmode=disable").geturl()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            far, onward = await asyncio.open_connection(*self._there)
        except OSError:
            back.transport.abort()
            return
        deaf = asyncio.Event()
        answers = asyncio.create_task(self._answers(far, back, deaf))
        try:
            await self._questions(near, onward, deaf, answers)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            back.transport.abort()
            onward.close()  # what was sent arrives: the server finds out later that nobody listens
            answers.cancel()

    async def _questions(
        self, near: asyncio.StreamReader, onward: asyncio.StreamWriter, deaf: asyncio.Event, answers: asyncio.Task[None]
    ) -> None:
        while asked := await near.read(1 << 20):
            rate = self.rate if _COMMIT.search(asked) else self.rate * _RARELY
            if self._dice.random() >= rate:
                onward.write(asked)
                await onward.drain()
                continue
            how = self._dice.choice(_WAYS)
            self.cuts[how] += 1
            if how == "answered":
                deaf.set()
            onward.write({"before": b"", "half": asked[: len(asked) // 2]}.get(how, asked))
            await onward.drain()
            if how == "answered":
                await asyncio.wait({answers}, timeout=3.0)
            return

    @staticmethod
    async def _answers(far: asyncio.StreamReader, back: asyncio.StreamWriter, deaf: asyncio.Event) -> None:
        with suppress(ConnectionError):
            while answered := await far.read(1 << 20):
                if deaf.is_set():
                    return
                back.write(answered)
                await back.drain()
        back.close()
