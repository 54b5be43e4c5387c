"""A Litestar backend that loads a user's bank accounts, reconnects included: ``python -m examples.litestar_backend``.

Without Lean's keys in the environment (LEAN_APP, LEAN_SECRET, LEAN_WEBHOOK_SECRET) Mockbank plays Lean.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn
from litestar import Litestar, MediaType, Request, get, post
from litestar.exceptions import NotFoundException

from leanflow import Change, DataRequest, Handlers, LeanFlow, Resource, State
from leanflow_adapters import open_store
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.mockbank import lean_or_mockbank
from leanflow_adapters.web.litestar import front_end_route, lifespan, webhook_route

PAGE = Path(__file__).with_name("page.html")
handlers = Handlers()


@handlers.on(State.fetched, resource=Resource.accounts, name="store-accounts")
async def arrived(change: Change, flows: LeanFlow) -> None:
    """Use the data. Called at least once for each change: `change.key` tells a second time from the first."""
    results = await flows.results(change.request.id)
    print(f"{len(results.items)} accounts for {change.request.reference}", flush=True)


def user_of(http: Request[Any, Any, Any]) -> str:
    """Return who is logged in. Your session knows; here everybody is the same user, unless a cookie says otherwise."""
    return http.cookies.get("user", "user-17")


def is_theirs(http: Request[Any, Any, Any], record: DataRequest) -> bool:
    """Decide who may see a request, run its prompt, follow its progress."""
    return record.reference == user_of(http)


def make_app(env: Mapping[str, str]) -> Litestar:
    """Put the application together. Nothing is opened before it runs."""
    name, url = env["LEAN_APP"], env.get("LEAN_URL")
    lean = LeanTransport(client_id=name, client_secret=env["LEAN_SECRET"], base_url=url, auth_url=url)
    store, secrets = open_store(env["STORE"]), [env["LEAN_WEBHOOK_SECRET"]]
    flows = LeanFlow(store=store, transport=lean, webhook_secrets=secrets, handlers=handlers, app=name)

    @get("/", media_type=MediaType.HTML, sync_to_thread=False)
    def page() -> str:
        return PAGE.read_text(encoding="utf-8").replace("{{ sdk }}", env["LEAN_SDK"])

    @post("/accounts", status_code=200)
    async def ask(request: Request[Any, Any, Any]) -> dict[str, str]:
        entity_id, customer_id = env["ENTITY_ID"], env["CUSTOMER_ID"]  # your tables know
        made = await flows.request(
            Resource.accounts, entity_id=entity_id, customer_id=customer_id, reference=user_of(request)
        )
        return {"id": made.id}

    @get("/accounts/{request_id:str}")
    async def show(request: Request[Any, Any, Any]) -> list[dict[str, str]]:
        request_id = request.path_params["request_id"]
        if not is_theirs(request, await flows.get(request_id)):
            raise NotFoundException
        return [{"name": one["nickname"]} for one in (await flows.results(request_id)).items]

    webhooks = webhook_route("/lean/webhooks", flows)
    front_end = front_end_route("/requests", flows, authorise=is_theirs)
    return Litestar([page, ask, show, webhooks, front_end], lifespan=[lifespan(flows)])


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    with lean_or_mockbank(os.environ, f"http://127.0.0.1:{port}/lean/webhooks") as settings:
        uvicorn.run(make_app(settings), port=port, timeout_graceful_shutdown=2)
