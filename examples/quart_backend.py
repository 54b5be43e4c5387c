"""A Quart backend that loads a user's bank accounts, reconnects included: ``python -m examples.quart_backend``.

Without Lean's keys in the environment (LEAN_APP, LEAN_SECRET, LEAN_WEBHOOK_SECRET) Mockbank plays Lean.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quart import Quart, Request, abort, request as http

from leanflow import Change, DataRequest, Handlers, LeanFlow, Resource, State
from leanflow_adapters import open_store
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.mockbank import lean_or_mockbank
from leanflow_adapters.web.quart import add_webhook, front_end_blueprint, lifespan

PAGE = Path(__file__).with_name("page.html")
handlers = Handlers()


@handlers.on(State.fetched, resource=Resource.accounts, name="store-accounts")
async def arrived(change: Change, flows: LeanFlow) -> None:
    """Use the data. Called at least once for each change: `change.key` tells a second time from the first."""
    results = await flows.results(change.request.id)
    print(f"{len(results.items)} accounts for {change.request.reference}", flush=True)


def user_of(http_request: Request) -> str:
    """Return who is logged in. Your session knows; here everybody is the same user, unless a cookie says otherwise."""
    return http_request.cookies.get("user", "user-17")


def is_theirs(http_request: Request, record: DataRequest) -> bool:
    """Decide who may see a request, run its prompt, follow its progress."""
    return record.reference == user_of(http_request)


def make_app(env: Mapping[str, str]) -> Quart:
    """Put the application together. Nothing is opened before it runs."""
    name, url = env["LEAN_APP"], env.get("LEAN_URL")
    lean = LeanTransport(client_id=name, client_secret=env["LEAN_SECRET"], base_url=url, auth_url=url)
    store, secrets = open_store(env["STORE"]), [env["LEAN_WEBHOOK_SECRET"]]
    flows = LeanFlow(store=store, transport=lean, webhook_secrets=secrets, handlers=handlers, app=name)
    app = Quart(__name__)
    app.while_serving(lifespan(flows))
    add_webhook(app, "/lean/webhooks", flows)
    app.register_blueprint(front_end_blueprint(flows, authorise=is_theirs), url_prefix="/requests")

    @app.get("/")
    async def page() -> str:
        return PAGE.read_text(encoding="utf-8").replace("{{ sdk }}", env["LEAN_SDK"])

    @app.post("/accounts")
    async def ask() -> dict[str, str]:
        entity_id, customer_id = env["ENTITY_ID"], env["CUSTOMER_ID"]  # your tables know
        request = await flows.request(
            Resource.accounts, entity_id=entity_id, customer_id=customer_id, reference=user_of(http)
        )
        return {"id": request.id}

    @app.get("/accounts/<request_id>")
    async def show(request_id: str) -> list[dict[str, Any]]:
        if not is_theirs(http, await flows.get(request_id)):
            abort(404)
        return [{"name": one["nickname"]} for one in (await flows.results(request_id)).items]

    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    with lean_or_mockbank(os.environ, f"http://127.0.0.1:{port}/lean/webhooks") as settings:
        make_app(settings).run(port=port)
