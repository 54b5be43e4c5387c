"""The command line, called as a shell does."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from leanflow_adapters.cli._app import app

__all__ = ["run", "told"]


def run(*arguments: str, says: str | None = None) -> Result:
    """Run `leanflow`; `says` is what is typed."""
    result = CliRunner().invoke(app, arguments, prog_name="leanflow", input=says)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def told(*arguments: str) -> Any:
    """Run it, and return the JSON that it printed."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
