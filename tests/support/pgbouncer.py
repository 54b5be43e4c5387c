"""A PgBouncer of a test's own, before the Postgres of the tests: in transaction mode, with few connections to it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.postgres import URL

__all__ = ["pooler"]

_USER = "postgres"  # who runs it where the tests are root's: it refuses to be root's
_PROGRAM = "/usr/sbin/pgbouncer"  # not on everybody's path
_START = 10.0  # seconds for it to answer
_SETTINGS = """[databases]
{name} = host={host} port={port} dbname={name} user={user} {password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {at}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
query_wait_timeout = 20
"""


@contextmanager
def pooler(size: int = 3) -> Iterator[str]:
    """Give the URL of a running PgBouncer that has `size` connections to the server, and hands them out by transaction.

    Where none is installed the test is skipped by name; with ``LEANFLOW_REQUIRE_SERVICES=1`` it fails.
    """
    program = shutil.which("pgbouncer") or shutil.which(_PROGRAM)
    if program is None:
        said = "pgbouncer is not installed; see .ci/pgbouncer"
        if os.environ.get("LEANFLOW_REQUIRE_SERVICES") == "1":
            pytest.fail(said)
        pytest.skip(said)
    with tempfile.TemporaryDirectory(prefix="leanflow-pgbouncer-") as folder:
        port = _free_port()
        settings = Path(folder) / "pgbouncer.ini"
        settings.write_text(_settings(port, size))
        command = [program, "--quiet", str(settings)]
        if os.getuid() == 0:
            for path in (Path(folder), settings):
                shutil.chown(path, _USER)
            command = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", *command]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait(port)
            there = urlsplit(URL)
            yield there._replace(netloc=f"{there.username or _USER}@127.0.0.1:{port}", query="").geturl()
        finally:
            process.kill()
            process.wait()


def _settings(port: int, size: int) -> str:
    there = urlsplit(URL)
    return _SETTINGS.format(
        name=there.path.lstrip("/"),
        host=there.hostname,
        port=there.port or 5432,
        user=there.username or _USER,
        password="" if there.password is None else f"password='{unquote(there.password)}'",
        at=port,
        size=size,
    )


def _wait(port: int) -> None:
    until = time.monotonic() + _START
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        time.sleep(0.01)
    msg = "pgbouncer does not answer"
    raise TimeoutError(msg)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
