"""The demo as its audience sees it: run as a command, judged by exit status, table and what it leaves behind."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from leanflow_adapters.demo._scenes import REQUESTS

COMMAND = (sys.executable, "-m", "leanflow_adapters.cli", "demo")
LIMIT = 100  # seconds: five times what it takes on a machine that has nothing else to do but the two beside it


@attrs.frozen(kw_only=True)
class Played:
    """What came of one run."""

    status: int
    said: str
    left: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long it says that it took."""
        found = re.search(r"\(([\d.]+) s\)\s*$", self.said)
        assert found is not None, self.said
        return float(found[1])


def _start(directory: Path, *options: str) -> subprocess.Popen[str]:
    directory.mkdir(exist_ok=True)
    env = {**os.environ, "TMPDIR": str(directory), "CI": "1"}
    return subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    """Play the demo whole and with each sabotage, all at the same time."""
    directory = tmp_path_factory.mktemp("demo")
    variants = {"whole": (), "user": ("--sabotage", "user"), "forgery": ("--sabotage", "forgery")}
    running = {name: _start(directory / name, *options) for name, options in variants.items()}
    done = {}
    for name, process in running.items():
        said, _ = process.communicate(timeout=2 * LIMIT)
        left = tuple(entry.name for entry in (directory / name).iterdir())
        done[name] = Played(status=process.returncode, said=said, left=left)
    return done


def test_the_demo_ends_well_within_its_time(played: dict[str, Played]) -> None:
    """Every request ends as it must, soon enough for a machine that is busy, while two others play beside it."""
    whole = played["whole"]
    assert whole.status == 0, whole.said
    assert "every request ended as it must" in whole.said
    assert whole.seconds < LIMIT


def test_the_table_has_every_request(played: dict[str, Played]) -> None:
    """One row for each request, each as it must be, and every fact holds."""
    said = played["whole"].said
    rows = [line for line in said.splitlines() if re.match(r"\| \S.*\| yes +\|$", line)]
    assert len(rows) == REQUESTS
    facts = [line for line in said.splitlines() if line.startswith("yes  ")]
    assert len(facts) == 11
    assert "NO" not in said.partition("What happened")[2]


def test_the_timeline_tells_of_everything_that_was_promised(played: dict[str, Played]) -> None:
    """Prompt and OTP, PENDING, forgery, loss, the kill and the expiry can be read in it."""
    said = played["whole"].said
    for words in (
        "at once: requested → fetched",
        "PENDING",
        "types 1111 at the bank: SUCCESS",
        "five: accounts: awaiting_user",
        "forges entity.reconnected with the true ids: answered 401",
        "is lost on its way",
        "2 events were news",
        "FAILED",
        "SIGKILL: the backend is dead (exit status -9)",
        "nobody answers",
        "nobody comes: awaiting_user → expired",
    ):
        assert words in said


@pytest.mark.parametrize("sabotage", ["user", "forgery"])
def test_a_sabotaged_demo_fails(played: dict[str, Played], sabotage: str) -> None:
    """What does not end as it must is seen: the verdict is not a decoration."""
    assert played[sabotage].status == 1, played[sabotage].said
    assert "NOT everything ended as it must" in played[sabotage].said
    assert re.search(r"^NO   |\| NO: ", played[sabotage].said, re.MULTILINE)


def test_the_demo_leaves_nothing_behind(played: dict[str, Played]) -> None:
    """Its directory is gone and its backends are, whether it ended well or not."""
    for name, one in played.items():
        assert one.left == (), name
        pids = re.findall(r"process (\d+)", one.said)
        assert pids
        assert not [pid for pid in pids if _is_backend(int(pid))]


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start the demo and return it with its backend's process id as soon as that is known."""
    process = _start(tmp_path)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.search(r"process (\d+)", line)
            if found is not None:
                yield process, int(found[1])
                break
        else:
            pytest.fail("no backend was started")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_demo_that_is_interrupted_cleans_up(
    begun: tuple[subprocess.Popen[str], int], tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """Ctrl-C and SIGTERM end the backend and remove the directory."""
    process, backend = begun
    process.send_signal(number)
    process.communicate(timeout=LIMIT)
    assert process.returncode == status
    assert not _is_backend(backend)
    assert list(tmp_path.iterdir()) == []


def test_a_backend_whose_demo_was_killed_ends_too(begun: tuple[subprocess.Popen[str], int]) -> None:
    """A demo that gets SIGKILL cannot clean up; its backend notices that nobody is there any more."""
    process, backend = begun
    watched = os.pidfd_open(backend)
    try:
        process.kill()
        ended, _, _ = select.select([watched], [], [], LIMIT)
        assert ended
    finally:
        os.close(watched)


def _is_backend(pid: int) -> bool:
    """Return whether this process is a demo's backend: the number may be somebody else's by now."""
    try:
        return b"leanflow_adapters.demo.backend" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
