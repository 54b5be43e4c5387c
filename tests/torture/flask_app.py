"""The application of `tests.torture.gunicorn`: Flask, over an engine without workers; and the worker's engine."""

from __future__ import annotations

import os

from flask import Flask, request as http

from leanflow import Change, Handlers, Resource, State
from leanflow.blocking import LeanFlow
from leanflow_adapters import open_store
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.web.flask import add_webhook
from tests.torture.lean import SECRET

__all__ = ["engine", "web"]

handlers = Handlers()


@handlers.on(State.fetched, name="kept")
def kept(change: Change, _flows: LeanFlow) -> None:
    """Write down whose data came."""
    with open(os.environ["TORTURE_KEPT"], "a", encoding="utf-8") as file:  # noqa: PTH123 - one write, whole
        file.write(f"{change.request.entity_id}\n")


def engine() -> LeanFlow:
    """Return the engine."""
    lean = LeanTransport(app_token="torture", base_url=os.environ["TORTURE_LEAN"])
    store = open_store(os.environ["TORTURE_STORE"])
    return LeanFlow(store=store, transport=lean, webhook_secrets=[SECRET], handlers=[handlers], workers=0)


def web() -> Flask:
    """Return the application."""
    app, flows = Flask(__name__), engine()
    add_webhook(app, "/webhook", flows)

    @app.post("/ask/<entity_id>")
    def ask(entity_id: str) -> dict[str, str]:
        request = flows.request(Resource.accounts, entity_id=entity_id, key=entity_id)
        return {"id": request.id, "state": request.state, "pid": str(os.getpid()), "seen": http.method}

    @app.post("/prompt/<request_id>")
    def prompt(request_id: str) -> dict[str, str]:
        return {"reconnect_id": flows.prompt(request_id).reconnect_id}

    return app
