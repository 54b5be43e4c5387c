"""R25: the disk that holds the file is full, and later it is not."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.torture.bases import FileBase
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.world import World

__all__ = ["cannot_mount", "full_disk", "small_disk"]

_SIZE = 4  # MiB
_LEFT = 700_000  # bytes beside the ballast: tables and the log take 400 KiB, then webhooks do
_AT_ONCE = 16
_REASON = "leanflow.*(unavailable|disk|store)"


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """Give a directory on a disk of 4 MiB.

    Raises:
        OSError: it cannot be mounted here.
    """
    place.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        raise OSError(mounted.stderr.decode().strip())
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def cannot_mount(directory: Path) -> str | None:
    """Return why there can be no small disk here, or None."""
    if shutil.which("mount") is None:
        return "there is no mount"
    try:
        with small_disk(directory):
            return None
    except OSError as error:
        return f"no small disk can be mounted here ({error})"


async def full_disk(run: Run) -> None:
    """R25: `rounds` webhooks meet a full disk, or the room before it: 503, never a false 200; with room all goes on."""
    place = run.directory / "disk"
    run.figure.skipped = cannot_mount(place)
    if run.figure.skipped is not None:
        return
    with small_disk(place) as disk:
        async with run.world(base=FileBase(disk / "flows.db")) as world:
            await world.start()
            ballast = disk / "ballast"
            ballast.write_bytes(b"\0" * (_SIZE * 1024 * 1024 - _LEFT))
            statuses = await _fill(world, run.rounds)
            ballast.unlink()
            problems = [f"R25: {n} webhooks were answered {status}" for status, n in statuses.items() if status != 503]
            if not statuses[503]:
                problems.append("R25: the disk was never full")
            await asyncio.gather(*(world.insist(sent) for sent in world.lean.sent.values() if not sent.oks))
            problems += await world.settle(60)
            problems += await world.close()
            run.add(world, problems + check(world, expected_log=_REASON))
            run.figure.notes = {"503": statuses[503], "webhooks": len(world.lean.sent)}
    run.figure.rounds = statuses[503]


async def _fill(world: World, refusals: int) -> Counter[int]:
    """Bring webhooks until so many were refused, and those that were are brought again; count what was not 200."""
    statuses: Counter[int] = Counter()

    async def bring() -> None:
        while statuses.total() < refusals:
            sent = world.lean.says("entity.created", {"id": "somebody", "why": "x" * 2000}, deliver=False)
            for _ in range(3):
                status = await world.post(sent)
                if status == 200:
                    break
                statuses[status] += 1

    await asyncio.gather(*(bring() for _ in range(_AT_ONCE)))
    return statuses
