"""What `import leanflow` brings along and leaves out. What it costs: `python -m benchmarks imports`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def _python(code: str) -> str:
    """Run code in a fresh interpreter; -P: nothing is found that is not installed."""
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize(
    "module",
    [
        "aiohttp", "aiosqlite", "yarl", "sqlite3", "cattrs.preconf", "leanflow_adapters", "leanflow.testing",
        "leanflow.mockbank", "pytest", "hypothesis", "rich", "click", "orjson", "attrs", "transitions",
    ],
)  # fmt: skip
def test_the_import_leaves_out_what_only_adapters_need(module: str) -> None:
    """No I/O library, no driver, no test tool and no simulator comes with the core."""
    loaded = json.loads(_python("import json, sys, leanflow; print(json.dumps(sorted(sys.modules)))"))
    assert "leanflow" in loaded
    assert module not in loaded


@pytest.mark.parametrize("module", ["aiohttp", "aiosqlite", "sqlite3", "click", "rich"])
def test_the_adapters_package_imports_no_driver(module: str) -> None:
    """`open_store` can be imported without any driver being loaded."""
    loaded = json.loads(_python("import json, sys, leanflow_adapters; print(json.dumps(sorted(sys.modules)))"))
    assert "leanflow_adapters" in loaded
    assert module not in loaded
