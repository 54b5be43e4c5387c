"""R4: no 200 leaves before the write that it stands for is on disk, as strace sees it.

A kill cannot show this: the page cache outlives the process. The system calls can: the child's, and on Postgres and
Redis those of a server of its own, in one trace. A webhook's inbox key is plain text in the write-ahead log or the
append-only file, so the first write with that text is the webhook's, and between it and the 200 on the webhook's own
connection the log must have been synced.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from tests.support.redis import server
from tests.torture.bases import Base
from tests.torture.figures import Run
from tests.torture.lean import Sent
from tests.torture.nursery import Child
from tests.torture.servers import Server, cannot_serve
from tests.torture.world import World

__all__ = ["Verdict", "cannot_trace", "commits_before_answers", "judge"]

_CALLS = "fdatasync,fsync,pwrite64,write,sendto,writev,sendmsg,recvfrom"
_LOGS = {"sqlite": "-wal>", "postgres": "/pg_wal/", "redis": ".aof>"}
"""What is in the name of the log."""
_LONGEST = 1_000_000  # bytes of a system call that are shown: batches of many steps
_AT_ONCE = 16
_PATIENCE = 20.0  # seconds for the child to stop
_LINE = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(\(| resumed>)(.*)$", re.DOTALL)
_FD = re.compile(r"^(\d+<[^>]*>)")
_EVENT = re.compile(r'event_id\\": \\"([0-9a-f-]{36})')
_KEY = re.compile(r"event:([0-9a-f-]{36})")
_ROOT = Path(__file__).resolve().parents[2]


@attrs.frozen
class Verdict:
    """What a trace shows.

    Attributes:
        answered: webhooks that were answered 200.
        too_soon: those whose commit was not synced by then.
        syncs: of the log.
    """

    answered: int
    too_soon: tuple[str, ...]
    syncs: int


def cannot_trace() -> str | None:
    """Return why strace cannot be used here, or None."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "strace may not trace here"


async def commits_before_answers(run: Run) -> None:
    """R4: `rounds` webhooks, 16 at a time, under strace."""
    problem = cannot_trace()
    if problem is not None:
        run.figure.skipped = problem
        return
    if run.store == "postgres" and (problem := cannot_serve()) is not None:
        run.figure.skipped = problem
        return
    verdict = await traced(run)
    run.figure.rounds = verdict.answered
    run.figure.notes = {"syncs of the log": verdict.syncs}
    run.figure.violations += [
        f"R4: the 200 for {event_id} left before its commit was synced" for event_id in verdict.too_soon
    ]
    if verdict.answered < run.rounds:
        run.figure.violations.append(f"R4: only {verdict.answered} of {run.rounds} answers are in the trace")


async def traced(run: Run, *, is_careful: bool = True) -> Verdict:
    """Send webhooks to a child under strace; return what the system calls show.

    Args:
        run: its rounds are the webhooks.
        is_careful: whether the store syncs each commit, or as it does with settings that promise less.
    """
    async with (
        _ground(run, is_careful=is_careful) as (base, servers),
        run.world(base=base, synchronous="FULL" if is_careful else "NORMAL") as world,
    ):
        trace = world.directory / "strace.log"
        process, child = await _start(world, trace, servers)
        try:
            room = asyncio.Semaphore(_AT_ONCE)
            said = [{"id": f"somebody-{n}"} for n in range(run.rounds)]
            sent = [world.lean.says("entity.created", each, deliver=False) for each in said]
            await asyncio.gather(*(_post(world, room, each) for each in sent))
        finally:  # it has no zygote, which would tell of its end
            child.signal(signal.SIGTERM)
            await _gone(child.pid)
            if servers:
                process.terminate()  # strace lets go of the server and ends; it may ignore SIGINT
            child.ended.set_result(await process.wait())
        with trace.open(errors="replace") as lines:
            return judge(lines, _LOGS[run.store])


@asynccontextmanager
async def _ground(run: Run, *, is_careful: bool) -> AsyncIterator[tuple[Base | None, Sequence[int]]]:
    """Give where the rows are, and the processes beside the child that are to be traced: a server's."""
    if run.store == "postgres":
        commits = "on" if is_careful else "off"
        async with Server(f"synchronous_commit = {commits}", "full_page_writes = off") as postgres:  # for short lines
            yield run.base(postgres.dsn), (postgres.pid, *_children(postgres.pid))
    elif run.store == "redis":
        with server("--appendfsync", "always" if is_careful else "everysec") as keys:
            yield run.base(keys.url), (keys.pid,)
    else:
        yield None, ()


def _children(pid: int) -> Sequence[int]:
    return tuple(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


async def _gone(pid: int) -> None:
    async with asyncio.timeout(_PATIENCE):
        while Path(f"/proc/{pid}").exists():  # noqa: ASYNC240 - the kernel answers at once
            await asyncio.sleep(0.02)


async def _post(world: World, room: asyncio.Semaphore, sent: Sent) -> None:
    async with room:
        await world.insist(sent)


async def _start(world: World, trace: Path, servers: Sequence[int]) -> tuple[asyncio.subprocess.Process, Child]:
    """Start a child under strace, which looks at the servers' processes as well, and at those that they start."""
    path = os.pathsep.join([str(_ROOT), str(_ROOT / "adapters"), *(entry for entry in sys.path if entry)])
    settings = json.dumps(world.child_settings())
    with world.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(
                "strace",
                "-f",
                "-qq",
                "-I1",  # it can be told to let go
                "-y",
                "-s",
                str(_LONGEST),
                "-e",
                f"trace={_CALLS}",
                "-e",
                "signal=none",
                "-o",
                str(trace),
                *(word for pid in servers for word in ("-p", str(pid))),
            ),
            *(sys.executable, "-m", "tests.torture.child", settings),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": path},
        )
    assert process.stdout is not None
    said: dict[str, Any] = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    child = Child("alone", said["process"], said["ready"], said["hooks"])
    world.children.append(child)
    return process, child


def judge(lines: Iterable[str], name: str) -> Verdict:
    """Return what a trace shows: a line each, in the order in which strace saw them; `name` is in that of the log."""
    written: dict[str, int] = {}
    log = _Log()
    asked: dict[str, list[str]] = defaultdict(list)
    answered: list[tuple[str, bool]] = []
    for number, line in enumerate(lines):
        parts = _LINE.match(line)
        if parts is None:
            continue
        thread, call, opens, rest = parts.groups()
        descriptor = _FD.match(rest) if opens == "(" else None
        is_log = descriptor is not None and name in descriptor.group(1)
        if call in {"fdatasync", "fsync"}:
            log.note(number, thread, rest, begins=is_log)
        elif is_log and call in {"pwrite64", "write"}:
            for event_id in _KEY.findall(rest):
                written.setdefault(event_id, number)
        elif call == "recvfrom":
            _note_asked(thread, opens, rest, asked)
        elif '"HTTP/1.1 200' in rest:
            waiting = asked[descriptor.group(1)] if descriptor else []
            if waiting:
                event_id = waiting.pop(0)
                answered.append((event_id, log.was_synced_after(written.get(event_id))))
    too_soon = tuple(event_id for event_id, is_safe in answered if not is_safe)
    return Verdict(len(answered), too_soon, log.syncs)


@attrs.define
class _Log:
    """When the write-ahead log was synced: the last sync that is over, by the line in which it began."""

    syncs: int = 0
    last: int = -1
    began: dict[str, int] = attrs.field(factory=dict)

    def note(self, number: int, thread: str, rest: str, *, begins: bool) -> None:
        """Note a line of a sync: it begins one of the log, ends one, or both."""
        if begins:
            self.began[thread] = number
        if not rest.rstrip().endswith("<unfinished ...>") and thread in self.began:
            self.last = max(self.last, self.began.pop(thread))
            self.syncs += 1

    def was_synced_after(self, written: int | None) -> bool:
        """Return whether a sync that is over began after that line."""
        return written is not None and self.last > written


def _note_asked(thread: str, opens: str, rest: str, asked: dict[str, list[str]]) -> None:
    """Note which webhook came on which connection; a call that was interrupted shows its bytes where it resumes."""
    descriptor = _FD.match(rest)
    if opens == "(" and descriptor is not None:
        asked[f"last {thread}"] = [descriptor.group(1)]
    name = asked.get(f"last {thread}", [""])[0]
    asked[name].extend(_EVENT.findall(rest))
