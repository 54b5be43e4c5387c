"""The documentation as something that can be run: where it is, and how its code blocks are executed.

Rules that the pages keep:

* A `python` block is executed, in the page's own namespace, in the order of the page. It may use `await` at top level,
  as in ``python -m asyncio``: the page has one event loop. What is only scaffolding stands in an HTML comment, as an
  ``invisible-code-block: python``.
* A `python` block that begins with ``# test_….py`` is such a file, and is run by pytest in a process of its own; one
  that begins with the name of another file, as ``# conftest.py``, lies beside it.
* A `py` block shows signatures, which are generated, or, below the name of a file, a part of that file.
* A `text` block is what the `python` block before it printed.
* A `sh` block holds commands that exist; on a page that says ``<!-- shell session -->`` it is run (`sessions`).
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser

__all__ = ["DOCUMENTS", "ROOT", "Runner", "fences", "headings", "page_id"]

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [*(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"))]
    + [path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]
)

_FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1``` *$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\w+\.py)\n")
_PYTEST = (
    "-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir=.", "-o", "asyncio_mode=auto",
    "-o", "asyncio_default_fixture_loop_scope=function", "-p", "no:faker",
)  # fmt: skip
"""As a user's run, but for a plugin that came with somebody's dependency and takes its time to load."""


def page_id(path: Path) -> str:
    """Return what to call a page in a test's name."""
    return path.relative_to(ROOT).as_posix()


def fences(path: Path) -> Iterator[tuple[str, str]]:
    """Yield language and source of each fenced block."""
    for _, language, source in _FENCE.findall(path.read_text(encoding="utf-8")):
        yield language.strip(), source


def headings(path: Path) -> set[str]:
    """Return the anchors of a page, as GitHub makes them."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


class Runner:
    """Executes one page."""

    def __init__(self) -> None:
        self._loop = asyncio.Runner()
        self._printed = ""
        self.count = 0

    def run(self, path: Path) -> None:
        """Execute all blocks of a page, in order."""
        languages: dict[str, Callable[[Example], None]] = {
            "python": self._python,
            "text": self._text,
            "sh": self._shell,
        }
        sybil = Sybil(parsers=[CodeBlockParser(language, evaluator) for language, evaluator in languages.items()])
        document = sybil.parse(path)
        document.namespace["__name__"] = "page"
        with self._loop:
            for example in document.examples():
                self.count += 1
                example.evaluate()

    def _python(self, example: Example) -> None:
        source = str(example.parsed)
        file = _FILE.match(source)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            if file is None:
                self._execute(source, example)
            else:
                out.write(_run_tests(file[1], source))
        self._printed = out.getvalue()

    def _execute(self, source: str, example: Example) -> None:
        padded = "\n" * (example.line + example.parsed.line_offset) + source
        code = compile(padded, example.path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        if not code.co_flags & inspect.CO_COROUTINE:
            exec(code, example.namespace)  # noqa: S102 - running the pages is the point
            return

        async def on_the_loop() -> None:
            await eval(code, example.namespace)  # noqa: S307 - the same

        self._loop.run(on_the_loop())

    def _text(self, example: Example) -> None:
        printed, shown = self._printed.strip(), str(example.parsed).strip()
        assert printed == shown, (
            f"{example.path}:{example.line} shows\n{shown}\nand the block before it printed\n{printed}"
        )

    def _shell(self, example: Example) -> None:
        if "<!-- shell session -->" in example.document.text:
            return  # it is run as a whole, in a test of its own
        for line in str(example.parsed).replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                _check_command(words)


def _run_tests(name: str, source: str) -> str:
    Path(name).write_text(source, encoding="utf-8")
    if not name.startswith("test_"):
        return ""
    command = [sys.executable, "-m", "pytest", *_PYTEST, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- commands ----------------------------------------------------------------------------------------------------


def _check_command(words: list[str]) -> None:
    """Refuse a command that this tree does not have."""
    while words and re.fullmatch(r"\w+=\S*", words[0]):  # variables before the command
        words = words[1:]
    program, rest = words[0].removeprefix(".venv/bin/"), words[1:]
    check = _CHECKS.get(program)
    assert check is not None, f"{program!r}: a page may only show commands that can be checked"
    check(rest)


def _make(rest: list[str]) -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in (word for word in rest if "=" not in word):
        assert re.search(rf"^{re.escape(target)}:", text, re.MULTILINE), f"make has no target {target}"


def _leanflow(rest: list[str]) -> None:
    """Parse it as the command line would, without running it."""
    from leanflow_adapters.cli._app import app  # only pages that show the command need it

    assert isinstance(app, click.Group)
    name = next(word for word in rest if not word.startswith("-"))
    command = app.get_command(click.Context(app), name)
    assert command is not None, f"leanflow has no command {name}"
    context = command.make_context(name, rest[rest.index(name) + 1 :], resilient_parsing=False)
    left = [*context._protected_args, *context.args]
    if isinstance(command, click.Group) and left:
        _, sub, left = command.resolve_command(context, left)
        assert sub is not None
        sub.make_context(sub.name, left, parent=context, resilient_parsing=False)


def _pip(rest: list[str]) -> None:
    distribution = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    named = [word for word in rest[1:] if not word.startswith("-")]
    assert rest[0] == "install"
    assert named
    for word in named:  # never a bare name: on PyPI it is somebody else's
        assert "/" in word or word.startswith(distribution + " @ "), f"pip install {word} would ask PyPI"


def _python(rest: list[str]) -> None:
    if rest[:1] == ["-m"]:
        module = rest[1]
        if module == "pip":
            _pip(rest[2:])
            return
        place = ROOT / module.replace(".", "/")
        assert module in {"asyncio", "pytest", "venv"} or place.exists() or place.with_suffix(".py").exists(), module
    elif rest:
        assert (ROOT / rest[0]).exists(), rest[0]


def _pytest(rest: list[str]) -> None:
    """Look options up in pytest's own help, which has those of our plugin."""
    done = subprocess.run([sys.executable, "-m", "pytest", "--help"], capture_output=True, text=True, check=True)
    for word in rest:
        if word.startswith("--"):
            assert re.search(rf"^ +.*{re.escape(word.split('=')[0])}\b", done.stdout, re.MULTILINE), word


def _bash(rest: list[str]) -> None:
    assert (ROOT / rest[0]).exists(), rest[0]


def _uv(rest: list[str]) -> None:
    assert rest in (["build"], ["lock"], ["sync"]), rest


def _gunicorn(rest: list[str]) -> None:
    """Parse it as gunicorn would, without running it."""
    from gunicorn.config import Config  # only pages that show the command need it

    assert Config().parser().parse_args(rest).args, "gunicorn is not told what to serve"


def _anything(_rest: list[str]) -> None:
    """Let it pass: it is not ours."""


_CHECKS: dict[str, Callable[[list[str]], Any]] = {
    "make": _make,
    "leanflow": _leanflow,
    "pip": _pip,
    "python": _python,
    "python3": _python,
    "pytest": _pytest,
    "bash": _bash,
    ".tools/bin/uv": _uv,
    "gunicorn": _gunicorn,
    "git": _anything,
    "cd": _anything,
    "kill": _anything,
    "curl": _anything,
    "export": _anything,
}
