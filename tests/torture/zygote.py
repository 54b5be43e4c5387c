"""A warm process that forks children, so that the imports are done once.

Kill sites are chosen when leanflow is imported, so a zygote is warm either with leanflow (``warm``) or, for children
that are to kill themselves, with everything but that.

Reads one JSON line per child on standard input: ``{"tag", "log", "env", "settings"}``. Writes JSON lines on standard
output: ``{"tag", "pid"}`` once forked, whatever the child reports, and ``{"tag", "ended"}`` with its wait status. When
standard input ends it kills what still runs, by the ids of its own children, and goes.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1  # prctl(2): the child is killed when the zygote dies


def _preload() -> None:
    import asyncio
    import concurrent.futures.thread
    import sqlite3
    import tempfile

    import aiohttp.web
    import aiosqlite
    import asyncpg
    import attrs
    import cattrs
    import transitions

    del asyncio, concurrent, sqlite3, tempfile, aiohttp, aiosqlite, asyncpg, attrs, cattrs, transitions


def _say(words: dict[str, Any]) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")  # one write of less than PIPE_BUF: lines of all children stay whole


def _child(order: dict[str, Any]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 2)
    os.environ.update(order["env"])
    status = 1
    try:
        from tests.torture.child import main

        main(order["settings"], order["tag"])
        status = 0
    except BaseException:  # noqa: BLE001 - a forked child must never return into its parent's loop
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _reap(tags: dict[int, str]) -> None:
    while tags:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        _say({"tag": tags.pop(pid), "ended": status})


def main() -> None:
    """Fork children until standard input ends."""
    _preload()
    if "warm" in sys.argv:
        import tests.torture.child  # noqa: F401
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    tags: dict[int, str] = {}
    rest = b""
    while True:
        readable, _, _ = select.select([0, woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
            _reap(tags)
        if 0 not in readable:
            continue
        came = os.read(0, 65536)
        if not came:
            break
        *lines, rest = (rest + came).split(b"\n")
        for line in lines:
            order = json.loads(line)
            pid = os.fork()
            if not pid:
                _child(order)
            tags[pid] = order["tag"]
            _say({"tag": order["tag"], "pid": pid})
    for pid in tags:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
