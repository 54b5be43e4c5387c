"""The kill sites: every one is listed, every commit point has one, and they cost nothing when off."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import leanflow
import leanflow_adapters
from leanflow import _sites

ROOTS = (Path(leanflow.__file__).parent, Path(leanflow_adapters.__file__).parent)
APART = ("_migrate.py", "tables.py")
"""No part of an engine's life: one site for a whole file of SQL, and copies, which go on where they ended."""
WRITING = ("INSERT ", "UPDATE ", "DELETE ", "REPLACE ")
NOTHING = " WHERE 0"
"""What takes the write lock and changes nothing."""


def trees() -> Iterator[tuple[Path, ast.AST]]:
    """Yield every source file, parsed."""
    for root in ROOTS:
        for path in sorted(root.rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def called(node: ast.AST, name: str) -> bool:
    """Return whether a node calls a function of this name."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def text_of(node: ast.AST) -> str:
    """Return the constant text that a string node begins with."""
    if isinstance(node, ast.JoinedStr):
        return text_of(node.values[0]) if node.values else ""
    return node.value.lstrip() if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_the_list_of_sites_is_what_the_sources_call() -> None:
    """A site that is called but not listed, or listed but never passed, fails the build."""
    found = set()
    for path, tree in trees():
        for node in ast.walk(tree):
            if called(node, "site") or called(node, "Write"):
                assert isinstance(node, ast.Call)
                name = node.args[0]
                if isinstance(name, ast.Constant):
                    found.add(name.value)
                else:  # the drivers of plans pass the site that a `Write` names
                    assert ast.unparse(name) == "statement.site", f"{path}:{node.lineno} hides its site's name"
    assert found == set(_sites.SITES)
    assert len(_sites.SITES) == len(set(_sites.SITES))


def test_every_statement_that_writes_has_a_site() -> None:
    """SQL that writes appears nowhere but in a `Write`, which names its site."""
    seen = 0
    for path, tree in trees():
        if not {"sqlite", "postgres"} & set(path.parts) or path.name in APART:
            continue
        inside = {id(arg) for node in ast.walk(tree) if called(node, "Write") for arg in getattr(node, "args", ())}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant | ast.JoinedStr) or text_of(node).endswith(NOTHING):
                continue
            if text_of(node).startswith(WRITING):
                parents = {id(child) for part in ast.walk(tree) if id(part) in inside for child in ast.walk(part)}
                assert id(node) in parents, f"{path}:{node.lineno} writes without a site"
                seen += 1
    assert seen > 20


def test_every_commit_has_a_site() -> None:
    """A function that commits passes sites."""
    seen = 0
    for path, tree in trees():
        if path.name == "tables.py":
            continue
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            nodes = list(ast.walk(function))
            if any(text_of(node) == "COMMIT" for node in nodes):
                assert any(called(node, "site") for node in nodes), f"{path}: {function.name} commits without a site"
                seen += 1
    assert seen == 2


def test_sites_are_off_unless_one_is_named() -> None:
    """Without the variable, passing a site does nothing."""
    assert _sites.site is _sites._off
    _sites.site("sqlite.after_commit")


def child(chosen: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process that has a site named."""
    environment = {**os.environ, "LEANFLOW_KILL_SITE": chosen}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_named_site_kills_at_its_nth_passage() -> None:
    """``name:3`` kills when the site is passed for the third time; other sites do not count."""
    code = """
from leanflow._sites import site
for n in range(5):
    site("sqlite.before_commit")
    print(n, flush=True)
    site("sqlite.after_commit")
"""
    killed = child("sqlite.after_commit:3", code)
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout.split() == ["0", "1", "2"]
    assert child("sqlite.before_commit", code).stdout == ""


def test_a_site_that_does_not_exist_is_refused() -> None:
    """A misspelt name would otherwise let every crash test pass."""
    refused = child("sqlite.after_comit", "import leanflow._sites")
    assert refused.returncode == 1
    assert "names no site" in refused.stderr
