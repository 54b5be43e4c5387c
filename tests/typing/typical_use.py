"""Typical use, for the type checker alone: `make types` reads it with mypy --strict, nothing runs it.

What an application writes must need no cast and no ignore; where a type is promised, `assert_type` holds it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import assert_type

from aiohttp import web

from leanflow import (
    Accepted,
    Change,
    DataRequest,
    Declined,
    Event,
    Handlers,
    LeanFlow,
    Policy,
    ReconnectPrompt,
    Reply,
    Resource,
    State,
    decide,
    mermaid,
)
from leanflow.errors import CallFailed
from leanflow.ports import Clock, Store, Transport
from leanflow_adapters import open_store
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.web.aiohttp import add_webhook

handlers = Handlers()


@handlers.on(State.fetched, resource=Resource.transactions, name="store-transactions")
async def arrived(change: Change, flows: LeanFlow) -> None:
    """Take what was fetched."""
    results = await flows.results(change.request.id)
    for item in results.items:
        print(item)


@handlers.on(State.reconnect_required, name="tell-the-user")
def wanted(change: Change, flows: LeanFlow) -> None:
    """Tell the user; a plain function will do."""
    assert_type(change.request, DataRequest)


@handlers.on_webhook("entity.created")
async def heard(event: Event, flows: LeanFlow) -> None:
    """Hear of what no request owns."""


def engine() -> LeanFlow:
    """Put an engine together, as an application does at module level."""
    transport = LeanTransport(client_id="id", client_secret="s", region="ksa", environment="production")
    return LeanFlow(
        store=open_store("sqlite:///flows.db"),
        transport=transport,
        webhook_secrets=["w"],
        handlers=[handlers],
        policy=Policy(reconnect_ttl=timedelta(days=7)),
    )


async def one_request(flows: LeanFlow) -> bytes:
    """Ask for data, prompt the user if the bank wants that, and wait."""
    async with flows:
        request = await flows.request(
            Resource.transactions,
            entity_id="e",
            account_id="a",
            start_date=date(2026, 1, 1),
            reference="user-17",
            metadata={"case": "9"},
        )
        assert_type(request, DataRequest)
        if request.state.needs_user:
            prompt = await flows.prompt(request.id)
            assert_type(prompt, ReconnectPrompt)
            await flows.callback(request.id, {"status": "SUCCESS"}, prompt=prompt.number)
        final = await flows.wait(request.id, timeout=60)
        if final.state is State.failed and final.failure is not None:
            print(final.failure.code, final.failure.remedy)
        async for each in flows.find(state=State.fetched, limit=10):
            assert_type(each, DataRequest)
        results = await flows.results(request.id)
        return b"".join(page.raw for page in results.pages)


async def webhook(flows: LeanFlow) -> web.Application:
    """Take webhooks in, by hand and through the binding."""
    reply = await flows.receive({"lean-signature": "x"}, b"{}")
    assert_type(reply, Reply)
    app = web.Application()
    add_webhook(app, "/lean", flows)
    return app


def pure(request: DataRequest, event: Event) -> str:
    """Use the machine alone."""
    match decide(request, event):
        case Accepted(request=after):
            return after.state.value
        case Declined(reason=reason):
            return str(reason)
    return mermaid()


async def ports(customers: AsyncIterator[str]) -> tuple[Store, Transport, Clock]:
    """What the adapters return keeps the ports."""
    transport = LeanTransport(app_token="t")
    async for customer in customers:
        try:
            assert_type(await transport.token(customer), str | None)
        except CallFailed as exc:
            assert_type(exc.maybe_sent, bool)
    return open_store("memory:"), transport, SystemClock()
