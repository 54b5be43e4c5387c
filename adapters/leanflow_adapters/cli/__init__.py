"""The `leanflow` command: puts core and adapters together. Needs the extra `cli` (click and rich)."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run the command line; what it prints and its exit status are its result.

    Exit status: 0 done; 1 it did not work, or a check failed; 2 it was called wrongly, or the extra is not installed.
    """
    missing = [name for name in ("click", "rich") if not _is_there(name)]
    if missing:
        needs = " and ".join(missing)
        print(f"leanflow: the command line needs {needs}: install leanflow-openbanking[cli]", file=sys.stderr)
        raise SystemExit(2)
    from leanflow_adapters.cli._app import app  # noqa: PLC0415 - not before it is known to work

    app(prog_name="leanflow")


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # a module that was put there, or blocked, by hand
        return False
