"""A small backend that asks Lean for transactions: aiohttp, one SQLite file, and the whole loop with the user.

Lean itself can be ``leanflow mockbank``: LEAN_URL says where it listens.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from leanflow import Change, Handlers, LeanFlow, Resource, State
from leanflow_adapters import open_store
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.web.aiohttp import add_webhook

FLOWS = web.AppKey("flows", LeanFlow)
handlers = Handlers()


@handlers.on(State.fetched, resource=Resource.transactions, name="store-transactions")
async def arrived(change: Change, flows: LeanFlow) -> None:
    """Use the data. Called at least once for each change: `change.key` tells a second time from the first."""
    results = await flows.results(change.request.id)
    print(f"{change.key}: {len(results.items)} transactions for {change.request.reference}", flush=True)


async def ask(http: web.Request) -> web.Response:
    """POST /requests: ask for transactions. Asking again while a request is live returns that one."""
    request = await http.app[FLOWS].request(Resource.transactions, **await http.json())
    return web.json_response({"id": request.id, "state": request.state})


async def look(http: web.Request) -> web.Response:
    """GET /requests/{id}: the front end looks until it is fetched, has failed, or the user is wanted."""
    request = await http.app[FLOWS].get(http.match_info["id"])
    return web.json_response({"state": request.state, "failure": request.failure and request.failure.to_dict()})


async def prompt(http: web.Request) -> web.Response:
    """POST /requests/{id}/prompt: the user is wanted; the browser runs Lean.reconnect with what this returns."""
    made = await http.app[FLOWS].prompt(http.match_info["id"])
    return web.json_response({"number": made.number, "reconnect": made.to_dict()})


async def callback(http: web.Request) -> web.Response:
    """POST /requests/{id}/callback: what the Link SDK said in the browser. A hint; Lean's webhooks decide."""
    said = await http.json()
    request = await http.app[FLOWS].callback(http.match_info["id"], said["payload"], prompt=said["number"])
    return web.json_response({"id": request.id, "state": request.state})


async def engine(app: web.Application) -> AsyncIterator[None]:
    """Run the engine as long as the application runs."""
    async with app[FLOWS]:
        yield


def make_app(env: Mapping[str, str]) -> web.Application:
    """Put the application together. Nothing is opened before it runs."""
    name, secret, url = env["LEAN_APP"], env["LEAN_SECRET"], env.get("LEAN_URL")  # Lean's sandbox, unless it is given
    store = open_store(env.get("STORE", "sqlite:///flows.db"))
    lean = LeanTransport(client_id=name, client_secret=secret, base_url=url, auth_url=url)
    hook = [env["LEAN_WEBHOOK_SECRET"]]
    flows = LeanFlow(store=store, transport=lean, webhook_secrets=hook, handlers=handlers, app=name)
    app = web.Application()
    app[FLOWS] = flows
    app.cleanup_ctx.append(engine)
    app.router.add_post("/requests", ask)
    app.router.add_get("/requests/{id}", look)
    app.router.add_post("/requests/{id}/prompt", prompt)
    app.router.add_post("/requests/{id}/callback", callback)
    add_webhook(app, "/lean/webhooks", flows)
    return app


if __name__ == "__main__":
    web.run_app(make_app(os.environ), host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
