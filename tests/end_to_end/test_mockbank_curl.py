"""Clients written with nothing but curl: the shell sessions of the documentation, run as they are printed."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, page_id
from tests.docs.sessions import MARKER, Block, blocks, compare, play

NEEDS_POSTGRES = "from-one-process-to-many.md"  # has a test of its own
SESSIONS = [path for path in DOCUMENTS if MARKER in path.read_text(encoding="utf-8") and path.name != NEEDS_POSTGRES]
PRINTED = ("8787", "8788")  # Mockbank's port on the pages, and the receiver's


def free_ports() -> dict[str, int]:
    """Return a free port for each of the pages'."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in PRINTED]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {shown: one.getsockname()[1] for shown, one in zip(PRINTED, sockets, strict=True)}


@pytest.mark.parametrize("path", SESSIONS, ids=page_id)
def test_a_shell_session_prints_what_its_page_shows(path: Path, tmp_path: Path) -> None:
    """Its commands run in one shell, from top to bottom, and each prints what is shown below it."""
    session = blocks(path)
    printed = play([block.source for block in session], tmp_path, free_ports())
    assert len(printed) == len(session)
    for block, came in zip(session, printed, strict=True):
        compare(block, came)


def test_the_walk_is_among_the_sessions() -> None:
    """The page that the commands are in is not passed over."""
    assert "docs/how-to/walk-lean-with-curl.md" in [page_id(path) for path in SESSIONS]


WRONG = [
    (Block("", "plain", "one"), "two"),
    (Block("", "plain", ""), "something"),
    (Block("", "plain", "something"), ""),
    (Block("", "json", '{"status": "OK"}'), '{"status": "FAILED"}'),
    (Block("", "json", '{"status": "OK"}'), '{"status": "OK", "more": 1}'),
    (Block("", "json", '{"status": "OK", "…": "…"}'), '{"more": 1}'),
    (Block("", "json", '{"page": 1}'), '{"page": "1"}'),
    (Block("", "json", '{"data": null}'), '{"data": {}}'),
    (Block("", "json", '{"done": true}'), '{"done": false}'),
    (Block("", "json", "[1]"), "[1, 2]"),
    (Block("", "json", '[1, 2, "…"]'), "[1]"),
    (Block("", "json", "{}"), "{} {}"),
    (Block("", "json", '{"at": "2026-01-01T08:00:00.000Z"}'), '{"at": "2026-01-01T08:00:00.000000Z"}'),
]


@pytest.mark.parametrize(("block", "printed"), WRONG)
def test_a_session_that_prints_something_else_is_found(block: Block, printed: str) -> None:
    """The comparison can fail."""
    with pytest.raises(AssertionError):
        compare(block, printed)


def test_what_may_differ_may_differ() -> None:
    """Ids, tokens, times and numbers may, and what an ellipsis stands for."""
    shown = '{"id": "75a3c0cc-4b80-4e35-98ea-5a10c01bb81d", "at": "2026-01-01T08:00:00.0Z", "n": [1, "…"], "…": "…"}'
    came = '{"id": "00000000-0000-4000-8000-000000000000", "at": "2026-12-31T23:59:59.9Z", "n": [2, 3], "x": null}'
    compare(Block("", "json", shown), came)


def test_a_command_that_fails_ends_the_session(tmp_path: Path) -> None:
    """A failing command, an unset variable or a session that hangs is an error, and says where."""
    for source in ("false", "echo $nothing"):
        with pytest.raises(AssertionError, match="block 1"):
            play(["true", source, "echo never"], tmp_path, {})
    with pytest.raises(AssertionError, match="still running"):
        play(["cat /dev/zero > /dev/null"], tmp_path, {}, seconds=0.3)
