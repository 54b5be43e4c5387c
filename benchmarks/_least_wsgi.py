"""The least that takes a webhook in Django and Flask under gunicorn's threads, and leanflow in the same place.

Each function returns an application of WSGI's; one for each process, because Django has one configuration.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import django
import flask
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from benchmarks._least import WHERE
from benchmarks._ours import SECRET
from leanflow.blocking import LeanFlow as Blocking
from leanflow_adapters.web.django import webhook_view
from leanflow_adapters.web.flask import add_webhook

__all__ = ["WSGI_FLOORS", "WSGI_OURS", "Step", "inserting"]

Step = Callable[[bytes, str], int]
"""Takes body and signature; commits; returns the status."""

MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
"""Of those that every project has, the ones that concern a webhook."""


def inserting(file: Path) -> Step:
    """Return a step that checks the signature and inserts one row, its commit synced; on one connection for all."""
    db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    db.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
        "CREATE TABLE inbox (key TEXT PRIMARY KEY, reconnect_id TEXT, body BLOB) WITHOUT ROWID"
    )
    lock = threading.Lock()

    def step(raw: bytes, signature: str) -> int:
        digest = "sha512=" + hmac.new(SECRET.encode(), raw, hashlib.sha512).hexdigest()
        if not hmac.compare_digest(digest, signature):
            return 401
        body = json.loads(raw)
        row = body["event_id"], body["payload"]["reconnect_id"], raw
        with lock:
            db.execute("INSERT OR IGNORE INTO inbox VALUES (?, ?, ?)", row)
        return 200

    return step


def _django(view: Callable[..., HttpResponse]) -> Any:
    urls = (path(WHERE[1:], view),)
    settings.configure(ROOT_URLCONF=urls, MIDDLEWARE=MIDDLEWARE, ALLOWED_HOSTS=["*"], SECRET_KEY=SECRET)
    django.setup()
    return WSGIHandler()


def _floor_django(step: Step) -> Any:
    def take(http: HttpRequest) -> HttpResponse:
        return HttpResponse(status=step(http.body, http.headers["lean-signature"]))

    return _django(csrf_exempt(require_POST(take)))


def _floor_flask(step: Step) -> Any:
    app = flask.Flask("floor")

    @app.post(WHERE)
    def take() -> flask.Response:
        return flask.Response(status=step(flask.request.get_data(), flask.request.headers["lean-signature"]))

    return app


def _our_django(flows: Blocking) -> Any:
    return _django(webhook_view(flows))


def _our_flask(flows: Blocking) -> Any:
    app = flask.Flask("leanflow")
    add_webhook(app, WHERE, flows)
    return app


WSGI_FLOORS: Mapping[str, Callable[[Step], Any]] = MappingProxyType({"django": _floor_django, "flask": _floor_flask})
"""By binding: returns the minimum, which takes webhooks at `WHERE`."""

WSGI_OURS: Mapping[str, Callable[[Blocking], Any]] = MappingProxyType({"django": _our_django, "flask": _our_flask})
"""By binding: returns leanflow in the same place."""
