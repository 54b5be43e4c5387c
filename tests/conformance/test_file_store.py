"""The toy store of the examples and its journal. `docs/how-to/write-an-adapter.md` runs the suite on it."""

from __future__ import annotations

import importlib.util
import resource
from pathlib import Path
from typing import Any

import pytest

from leanflow._request import Scope
from leanflow.errors import StoreUnavailable

EXAMPLE = Path(__file__).parents[2] / "examples" / "file_store.py"

if not EXAMPLE.is_file():
    pytest.skip("the examples are not part of the wheel", allow_module_level=True)


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("examples_file_store", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


file_store = _load()

SCOPE = Scope(app="app", environment="sandbox", region="uae")


async def test_a_record_that_a_crash_left_half_written_is_as_if_it_never_was(tmp_path: Path) -> None:
    """Whatever the journal's last record was cut to, the store opens without it, and writes on."""
    path = tmp_path / "flows.journal"
    store = file_store.FileStore(path)
    await store.open()
    await store.remember(SCOPE, "a", "1")
    whole = path.stat().st_size
    await store.remember(SCOPE, "a", "2")
    written = path.read_bytes()
    await store.aclose()
    for size in range(whole, len(written), 7):
        path.write_bytes(written[:size])
        other = file_store.FileStore(path)
        await other.open()
        assert await other.remember(SCOPE, "a") == "1"
        await other.remember(SCOPE, "b", "3")
        await other.aclose()
        again = file_store.FileStore(path)
        await again.open()
        assert [await again.remember(SCOPE, name) for name in "ab"] == ["1", "3"]
        await again.aclose()


async def test_what_the_disk_does_not_take_never_was(tmp_path: Path) -> None:
    """A file that may not grow is StoreUnavailable; what was written in part is not there, now or after a restart."""
    path = tmp_path / "flows.journal"
    store = file_store.FileStore(path)
    await store.open()
    await store.remember(SCOPE, "a", "1")

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))
    try:
        with pytest.raises(StoreUnavailable):
            await store.remember(SCOPE, "a", "2")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert await store.remember(SCOPE, "a") == "1"
    assert await store.remember(SCOPE, "b", "3") == "3"
    await store.aclose()
    other = file_store.FileStore(path)
    await other.open()
    assert [await other.remember(SCOPE, name) for name in "ab"] == ["1", "3"]
    await other.aclose()
