"""`open_store`: a URL names a store, or the error says which ones there are."""

from __future__ import annotations

from typing import Any

import pytest

from leanflow.errors import InvalidRequest
from leanflow_adapters import open_store
from leanflow_adapters.postgres import PostgresStore


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


@pytest.mark.parametrize("url", [None, 5, b"memory:"])
def test_what_is_no_text_is_refused(url: Any) -> None:
    """As a variable of the environment that is not set."""
    with pytest.raises(InvalidRequest, match=f"^url: must be a URL, not {type(url).__name__}; supported: sqlite:///"):
        open_store(url)


def test_postgres_takes_options_of_its_own() -> None:
    """Ours are taken out of the URL, the driver's stay; no password is shown."""
    store = open_store("postgresql://user:hunter2@host/db?schema=flows&migrate=1&writers=3&sslmode=require")
    assert repr(store) == "PostgresStore(host='host', schema='flows')"
    assert isinstance(store, PostgresStore)
    assert store._dsn == "postgresql://user:hunter2@host/db?sslmode=require"


@pytest.mark.parametrize("options", ["migrate=perhaps", "writers=many", "writers=0", "schema="])
def test_options_that_are_not_understood_are_refused(options: str) -> None:
    """The error names the option and repeats nothing else of the URL."""
    with pytest.raises(InvalidRequest, match=options.partition("=")[0]) as caught:
        open_store(f"postgresql://user:hunter2@host/db?{options}")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey", "valkeys"])
def test_redis_takes_options_of_its_own(scheme: str) -> None:
    """Redis and Valkey, in the clear and with TLS: ours are taken out of the URL, and no password is shown."""
    store = open_store(f"{scheme}://user:hunter2@host:6380/2?prefix=flows&hints=0&writers=3&health_check_interval=9")
    assert repr(store) == "RedisStore(host='host', prefix='flows')"


def test_redis_may_be_a_socket() -> None:
    """`unix:` names a file."""
    assert repr(open_store("unix:///run/redis.sock?db=1")) == "RedisStore(host='/run/redis.sock', prefix='leanflow')"


@pytest.mark.parametrize(
    "url",
    ["redis://h/x", "redis://h:port/0", "redis://h?prefix=", "redis://h?prefix={a}", "redis://h?writers=x",
     "redis://h?nonsense=1"],
)  # fmt: skip
def test_a_redis_url_that_is_not_understood_is_refused(url: str) -> None:
    """A wrong database, port or option raises `InvalidRequest`, and repeats no password."""
    with pytest.raises(InvalidRequest) as caught:
        open_store(url.replace("//h", "//user:hunter2@h"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["mysql", "mongodb"])
def test_a_store_that_is_not_there_names_those_that_are(scheme: str) -> None:
    """The error lists what is supported and repeats nothing of the URL behind the scheme."""
    url = f"{scheme}://user:hunter2@host/db"
    with pytest.raises(InvalidRequest) as caught:
        open_store(url)
    assert "sqlite:///relative.db" in str(caught.value)
    assert "memory:" in str(caught.value)
    assert "hunter2" not in str(caught.value)
