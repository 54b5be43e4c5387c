"""A Flask backend that loads a user's bank accounts, reconnects included: ``python -m examples.flask_backend``.

Without Lean's keys in the environment (LEAN_APP, LEAN_SECRET, LEAN_WEBHOOK_SECRET) Mockbank plays Lean. With them, and
STORE, under gunicorn: ``gunicorn -w 4 --threads 8 'examples.flask_backend:web()'``, and the worker apart from it:
``leanflow worker examples.flask_backend:engine --workers 1``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask, Request, abort, request as http

from leanflow import Change, DataRequest, Handlers, Resource, State
from leanflow.blocking import LeanFlow
from leanflow_adapters import open_store
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.mockbank import lean_or_mockbank
from leanflow_adapters.web.flask import add_webhook, front_end_blueprint

PAGE = Path(__file__).with_name("page.html")
handlers = Handlers()


@handlers.on(State.fetched, resource=Resource.accounts, name="store-accounts")
def arrived(change: Change, flows: LeanFlow) -> None:
    """Use the data. Called at least once for each change: `change.key` tells a second time from the first."""
    results = flows.results(change.request.id)
    print(f"{len(results.items)} accounts for {change.request.reference}", flush=True)


def user_of(seen: Request) -> str:
    """Return who is logged in. Your session knows; here everybody is the same user, unless a cookie says otherwise."""
    return seen.cookies.get("user", "user-17")


def is_theirs(seen: Request, record: DataRequest) -> bool:
    """Decide who may see a request, run its prompt, follow its progress."""
    return record.reference == user_of(seen)


def engine(env: Mapping[str, str] = os.environ, workers: int = 0) -> LeanFlow:
    """Put the engine together. Nothing is opened before it is used: in a server that forks, after the fork."""
    name, url = env["LEAN_APP"], env.get("LEAN_URL")
    lean = LeanTransport(client_id=name, client_secret=env["LEAN_SECRET"], base_url=url, auth_url=url)
    store, secrets = open_store(env["STORE"]), [env["LEAN_WEBHOOK_SECRET"]]
    return LeanFlow(
        store=store, transport=lean, webhook_secrets=secrets, handlers=[handlers], app=name, workers=workers
    )


def web(env: Mapping[str, str] = os.environ, workers: int = 0) -> Flask:
    """Put the application together."""
    app, flows = Flask(__name__), engine(env, workers)
    add_webhook(app, "/lean/webhooks", flows)
    app.register_blueprint(front_end_blueprint(flows, authorise=is_theirs), url_prefix="/requests")

    @app.get("/")
    def page() -> str:
        return PAGE.read_text(encoding="utf-8").replace("{{ sdk }}", env["LEAN_SDK"])

    @app.post("/accounts")
    def ask() -> dict[str, str]:
        whose = env["ENTITY_ID"], env["CUSTOMER_ID"]  # your tables know
        request = flows.request(Resource.accounts, entity_id=whose[0], customer_id=whose[1], reference=user_of(http))
        return {"id": request.id}

    @app.get("/accounts/<request_id>")
    def show(request_id: str) -> list[dict[str, Any]]:
        if not is_theirs(http, flows.get(request_id)):
            abort(404)
        return [{"name": one["nickname"]} for one in flows.results(request_id).items]

    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    with lean_or_mockbank(os.environ, f"http://127.0.0.1:{port}/lean/webhooks") as settings:
        web(settings, workers=1).run(port=port, threaded=True)
