"""The backend of a page that shows a user's bank accounts: asks Lean, hands out the prompt, tells when data comes.

It keeps its requests in an SQLite file. Lean's webhooks move them, and `page.html` shows where they are.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
from aiohttp import web
from aiohttp.typedefs import Handler

from leanflow import Change, DataRequest, Handlers, LeanFlow, Remedy, Resource, State
from leanflow.errors import CallerError
from leanflow_adapters.web.aiohttp import add_webhook

FLOWS = web.AppKey("flows", LeanFlow)
handlers = Handlers()


@attrs.frozen(kw_only=True)
class User:
    """Who uses the page. An application knows it from the session, and finds the rest in its own tables."""

    reference: str
    entity_id: str
    customer_id: str


USER = web.AppKey("user", User)
SDK_URL = web.AppKey("sdk_url", str)


@handlers.on(State.fetched, resource=Resource.accounts, name="note-accounts")
async def arrived(change: Change, flows: LeanFlow) -> None:
    """Use the data, whether somebody looks at the page or not. `change.key` tells a second call from the first."""
    results = await flows.results(change.request.id)
    print(f"{len(results.items)} accounts for {change.request.reference}", flush=True)


async def page(http: web.Request) -> web.Response:
    """GET /: the page, with the Link SDK's address in it."""
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    return web.Response(text=text.replace("{{ sdk }}", http.app[SDK_URL]), content_type="text/html")


async def ask(http: web.Request) -> web.Response:
    """POST /accounts: ask for the user's accounts. While a request for them is live, this is that one."""
    user = http.app[USER]
    request = await http.app[FLOWS].request(
        Resource.accounts, entity_id=user.entity_id, customer_id=user.customer_id, reference=user.reference
    )
    return web.json_response({"id": request.id})


async def show(http: web.Request) -> web.Response:
    """GET /accounts/{id}: where it is. A page that is opened again asks whether its request is still this user's."""
    return web.json_response(await told(http.app[FLOWS], await mine(http)))


async def watch(http: web.Request) -> web.StreamResponse:
    """GET /accounts/{id}/events: tell each state as it comes (server-sent events), up to the end."""
    flows, request = http.app[FLOWS], await mine(http)
    stream = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-store"})
    await stream.prepare(http)
    while True:
        await stream.write(f"data: {json.dumps(await told(flows, request))}\n\n".encode())
        if request.state.is_end:
            return stream
        request = await flows.wait(request.id, until=[state for state in State if state is not request.state])


async def prompt(http: web.Request) -> web.Response:
    """POST /accounts/{id}/prompt: what the browser calls Lean.reconnect with, and the prompt's number."""
    made = await http.app[FLOWS].prompt((await mine(http)).id)
    return web.json_response({"number": made.number, "reconnect": made.to_dict()})


async def callback(http: web.Request) -> web.Response:
    """POST /accounts/{id}/callback: what the SDK said. A hint: Lean's webhooks decide."""
    said = await http.json()
    request = await http.app[FLOWS].callback((await mine(http)).id, said["payload"], prompt=said["number"])
    return web.json_response({"state": request.state})


async def connect(http: web.Request) -> web.Response:
    """POST /connect: what the browser calls Lean.connect with, the way out of a consent that has ended."""
    made = await http.app[FLOWS].connect_prompt(customer_id=http.app[USER].customer_id, permissions=["accounts"])
    return web.json_response(made.to_dict())


async def mine(http: web.Request) -> DataRequest:
    """Return the request that the address names, if it is this user's."""
    request = await http.app[FLOWS].get(http.match_info["id"])
    if request.reference != http.app[USER].reference:
        raise web.HTTPNotFound
    return request


async def told(flows: LeanFlow, request: DataRequest) -> dict[str, Any]:
    """Return what the page needs to know."""
    found = (await flows.results(request.id)).items if request.state is State.fetched else ()
    return {
        "state": request.state,
        "wants_user": request.state.needs_user,
        "end": request.state.is_end,
        "consent_ended": request.failure is not None and request.failure.remedy is Remedy.connect,
        "accounts": [
            {
                "name": account["nickname"],
                "number": account["account"][0]["identification"],
                "currency": account["currency"],
            }
            for account in found
        ],
    }


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say what cannot be done now, as a prompt for a request that has moved on: the page asks again."""
    try:
        return await handler(request)
    except CallerError as error:
        return web.json_response({"error": str(error)}, status=409)


async def engine(app: web.Application) -> AsyncIterator[None]:
    """Run the engine as long as the application runs."""
    async with app[FLOWS]:
        yield


def make_app(flows: LeanFlow, user: User, sdk_url: str) -> web.Application:
    """Put the application together. Nothing is opened before it runs."""
    app = web.Application(middlewares=[refusals])
    app[FLOWS], app[USER], app[SDK_URL] = flows, user, sdk_url
    app.cleanup_ctx.append(engine)
    app.router.add_get("/", page)
    app.router.add_post("/accounts", ask)
    app.router.add_get("/accounts/{id}", show)
    app.router.add_get("/accounts/{id}/events", watch)
    app.router.add_post("/accounts/{id}/prompt", prompt)
    app.router.add_post("/accounts/{id}/callback", callback)
    app.router.add_post("/connect", connect)
    add_webhook(app, "/lean/webhooks", flows)
    return app
