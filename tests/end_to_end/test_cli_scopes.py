"""Which application a command means that names a store alone, on each store that keeps what it has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import click
import pytest

from leanflow._request import Scope
from leanflow.testing import FakeClock
from leanflow_adapters import open_store
from leanflow_adapters.cli._scopes import Named, scope_in
from tests.support import redis
from tests.support.engine import engine
from tests.support.lean import Lean
from tests.support.postgres import URL, drop, fresh_schema

USUAL = Scope(app="default", environment="sandbox", region="uae")


@pytest.fixture(params=["sqlite", "postgres", "redis"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """Give the URL of an empty store."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/flows.db"
    elif request.param == "postgres":
        schema = await fresh_schema()
        yield f"{URL}?schema={schema}&migrate=1"
        await drop(schema)
    else:
        prefix = await redis.fresh_prefix()
        yield f"{redis.URL}?prefix={prefix}"
        await redis.empty(prefix)


async def _work(url: str, app: str, *entities: str, days: int = 0) -> None:
    clock = FakeClock()
    clock.advance(timedelta(days=days))  # ids are of their time
    async with engine(open_store(url), Lean(clock), clock, app=app) as flows:
        for entity in entities:
            await flows.request("accounts", entity_id=entity)


async def test_the_only_application_is_meant_and_of_several_one_is_named(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """From an empty store to one with two; what is looked at does not become one of them."""
    assert await scope_in(open_store(url), Named()) == USUAL
    assert capsys.readouterr().err.endswith(" is empty\n")
    await _work(url, "shop", "e1", "e2")
    shop = Scope(app="shop", environment="sandbox", region="uae")
    for named in (Named(), Named(app="shop"), Named(region="uae")):
        assert await scope_in(open_store(url), named) == shop
    assert capsys.readouterr().err == "app 'shop', sandbox, uae\n" * 2
    with pytest.raises(click.UsageError, match="does not hold what was named; it holds\n  --app shop "):
        await scope_in(open_store(url), Named(app="shpo"))
    await _work(url, "kiosk", "e1", days=1)
    with pytest.raises(click.UsageError, match=r"say which\n  --app kiosk .*\n  --app shop "):
        await scope_in(open_store(url), Named())
    assert (await scope_in(open_store(url), Named(app="kiosk"))).app == "kiosk"
