"""Shell sessions in the documentation: pages whose `sh` blocks are run, in order, in one shell.

Rules that such a page keeps, besides those of `documents`:

* It says ``<!-- shell session -->``.
* What an `sh` block prints is shown by the `json` or `plain` block that follows it; a block without one prints nothing.
* In `plain`, everything must be the same but ids and digits of times.
* In `json` (one value or several), strings must be the same but ids, tokens and digits of times; numbers may differ; an
  `…` says that there may be more: at the end of an array, or as a name of an object.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from tests.docs.documents import fences

__all__ = ["MARKER", "Block", "blocks", "compare", "play"]

MARKER = "<!-- shell session -->"
_ENDS = "@@@ block {} ends @@@"
_PRINTED = re.compile(r"\n?@@@ block (\d+) ends @@@\n")
_MASKS = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+"), "<token>"),
)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+")


@attrs.frozen
class Block:
    """One `sh` block, and what the page says it prints: language and text."""

    source: str
    language: str = "plain"
    shown: str = ""


def blocks(path: Path) -> list[Block]:
    """Return the session of a page."""
    found: list[Block] = []
    for language, source in fences(path):
        if language == "sh":
            found.append(Block(source))
        elif language in ("json", "plain"):
            assert found, f"{path}: a {language} block before any sh block"
            found[-1] = attrs.evolve(found[-1], language=language, shown=source)
    return found


def play(sources: list[str], where: Path, ports: Mapping[str, int | str], seconds: float = 50.0) -> list[str]:
    """Run blocks in one `sh`, on other ports (and places) than those printed; return what each of them printed."""
    script = "".join(f"{source}\nprintf '\\n%s\\n' '{_ENDS.format(n)}'\n" for n, source in enumerate(sources))
    for shown, real in ports.items():
        script = script.replace(shown, str(real))
    # A cold start on a loaded machine must not write where the tests do not look, nor be found by another command.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    shell = subprocess.Popen(
        ["sh", "-eu", "-c", script], cwd=where, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        printed, complaints = shell.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGKILL)
        printed, complaints = shell.communicate()
        raise AssertionError(f"still running after {seconds} s: {printed[-2000:]}\n{complaints}") from None
    finally:
        _end_the_rest(shell.pid)
    parts = _PRINTED.split(printed)
    assert shell.returncode == 0, f"block {len(parts) // 2} ended with {shell.returncode}: {parts[-1]}\n{complaints}"
    return parts[0:-1:2]


def _end_the_rest(group: int) -> None:
    """End what a broken session left in the background; a whole one leaves nothing."""
    try:
        os.killpg(group, signal.SIGTERM)
    except ProcessLookupError:
        return


def compare(block: Block, printed: str) -> None:
    """Refuse what was printed if it is not what the page shows."""
    if block.language == "json":
        shown, came = _values(block.shown), _values(printed)
        assert len(shown) == len(came), f"shown are {len(shown)} values, printed were\n{printed}"
        for number, (one, other) in enumerate(zip(shown, came, strict=True)):
            _same(one, other, f"value {number}")
    else:
        assert _masked(block.shown).strip() == _masked(printed).strip()


def _values(text: str) -> list[Any]:
    decoder, found, text = json.JSONDecoder(), [], text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].strip()
    return found


def _masked(text: str) -> str:
    for pattern, name in _MASKS:
        text = pattern.sub(name, text)
    return _TIME.sub(lambda found: re.sub(r"\d", "0", found[0]), text)


def _same(shown: Any, came: Any, where: str) -> None:
    assert type(shown) is type(came), f"{where}: {shown!r} is shown, {came!r} was printed"
    if isinstance(shown, dict):
        names = shown.keys() - {"…"}
        assert names <= came.keys(), f"{where}: {sorted(names - came.keys())} was not printed"
        assert "…" in shown or came.keys() <= names, f"{where}: {sorted(came.keys() - names)} is not shown"
        for name in names:
            _same(shown[name], came[name], f"{where}.{name}")
    elif isinstance(shown, list):
        more = shown[-1:] == ["…"]
        wanted = shown[:-1] if more else shown
        assert len(wanted) == len(came) or (more and len(wanted) < len(came)), f"{where}: printed were {came!r}"
        for number, one in enumerate(wanted):
            _same(one, came[number], f"{where}[{number}]")
    elif isinstance(shown, str):
        assert _masked(shown) == _masked(came), f"{where}: {shown!r} is shown, {came!r} was printed"
    elif not isinstance(shown, int | float) or isinstance(shown, bool):
        assert shown == came, f"{where}: {shown!r} is shown, {came!r} was printed"
