"""Load that costs the client little: requests ready made, sockets kept open, answers measured and thrown away."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["Caller", "cpu", "pin", "request", "resident", "spend"]


def pin(core: int) -> None:
    """Keep this process on one core, if there is more than one."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


def resident(pid: int | None = None) -> int:
    """Return a process's resident bytes."""
    pages = int(Path(f"/proc/{pid or os.getpid()}/statm").read_text().split()[1])
    return pages * 4096


def cpu(pid: int) -> float:
    """Return the seconds that a process has had of a processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def request(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Return a request as it is on the wire."""
    lines = [f"{method} {target} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Caller:
    """One connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, raw: bytes) -> tuple[int, bytes]:
        """Send a request; return status and body."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        reader, writer = self._streams
        writer.write(raw)
        head = await reader.readuntil(b"\r\n\r\n")
        at = head.lower().index(b"content-length:") + 15
        body = await reader.readexactly(int(head[at : head.index(b"\r", at)]))
        return int(head[9:12]), body

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()


async def spend(port: int, requests: Iterator[bytes], callers: int) -> None:
    """Send all requests, so many at a time; each must be answered 200."""

    async def work() -> None:
        caller = Caller(port)
        for raw in requests:
            status, body = await caller.call(raw)
            assert status == 200, (raw[:200], status, body[:300])
        caller.close()

    await asyncio.gather(*(work() for _ in range(callers)))
