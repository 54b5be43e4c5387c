"""`open_store`: a URL names a store, or the error says which ones there are."""

from __future__ import annotations

import pytest

from leanflow.errors import InvalidRequest
from leanflow_adapters import open_store


@pytest.mark.parametrize("url", ["memory:", "memory://", "MEMORY:"])
def test_memory_is_a_store(url: str) -> None:
    """`memory:` gives the store without a file."""
    assert type(open_store(url)).__name__ == "MemoryStore"


def test_each_memory_store_is_its_own() -> None:
    """Two calls give two stores: nothing is shared behind the caller's back."""
    assert open_store("memory:") is not open_store("memory:")


@pytest.mark.parametrize("url", ["sqlite:///flows.db", "sqlite:////var/lib/flows.db", "sqlite:///with%20space.db"])
def test_sqlite_names_a_file_and_opens_nothing(url: str) -> None:
    """A SQLite store is built cold: no file appears."""
    assert type(open_store(url)).__name__ == "SQLiteStore"


@pytest.mark.parametrize(
    "url",
    [
        "", "flows.db", "sqlite:", "sqlite://", "sqlite:///", "sqlite://flows.db", "sqlite:////", "sqlite:///dir/",
        "sqlite:///:memory:", "sqlite:///flows.db?mode=ro", "sqlite:///a%00b", "memory:x", "mysql://h/db",
    ],
)  # fmt: skip
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    """Whatever is not understood raises `InvalidRequest` on `url`, never a guess."""
    with pytest.raises(InvalidRequest) as caught:
        open_store(url)
    assert caught.value.parameter == "url"


@pytest.mark.parametrize("scheme", ["postgresql", "redis", "mysql"])
def test_a_store_that_is_not_there_names_those_that_are(scheme: str) -> None:
    """The error lists what is supported and repeats nothing of the URL behind the scheme."""
    url = f"{scheme}://user:hunter2@host/db"
    with pytest.raises(InvalidRequest) as caught:
        open_store(url)
    assert "sqlite:///relative.db" in str(caught.value)
    assert "memory:" in str(caught.value)
    assert "hunter2" not in str(caught.value)
