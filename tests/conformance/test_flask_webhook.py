"""The Flask binding keeps a binding's promises, over real sockets, under two servers."""

from __future__ import annotations

from collections.abc import Iterator

import flask
import pytest

from leanflow import LeanFlow, sign
from leanflow.errors import InvalidRequest
from leanflow.testing.conformance import Inbox, WebhookConformance
from leanflow.testing.conformance._inbox import SECRET
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.web.flask import add_webhook
from tests.support.lean import Refusing
from tests.support.wsgi import Switch, gunicorn, werkzeug


def _application(inbox: Inbox, max_body: int, body_timeout: float) -> flask.Flask:
    app = flask.Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 1  # the binding's cap counts, not the application's
    add_webhook(app, "/lean/webhooks", inbox.blocking, max_body=max_body, body_timeout=body_timeout)
    return app


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Switch, str]]:
    """A gunicorn for all tests of this module."""
    switch = Switch()
    with gunicorn(switch) as base:
        yield switch, base


class TestFlaskUnderGunicorn(WebhookConformance):
    """As a route, under gunicorn's threaded worker."""

    @pytest.fixture
    def url(self, inbox: Inbox, served: tuple[Switch, str]) -> str:
        """Serve an application on a free port."""
        switch, base = served
        switch.application = _application(inbox, self.max_body, self.body_timeout)
        return f"{base}/lean/webhooks"


class TestFlaskUnderWerkzeug(WebhookConformance):
    """The same under the server of ``flask run``."""

    @pytest.fixture
    def url(self, inbox: Inbox) -> Iterator[str]:
        """Serve an application on a free port."""
        with werkzeug(_application(inbox, self.max_body, self.body_timeout)) as base:
            yield f"{base}/lean/webhooks"


def test_an_engine_of_one_loop_is_refused() -> None:
    """Flask has no loop that lasts: the error names what serves instead."""
    flows = LeanFlow(store=MemoryStore(), transport=Refusing(), webhook_secrets=["s"])
    with pytest.raises(InvalidRequest, match=r"leanflow\.blocking"):
        add_webhook(flask.Flask(__name__), "/lean/webhooks", flows)  # type: ignore[arg-type]  # that is the point


def test_a_body_that_was_read_before_is_handed_over() -> None:
    """Somebody's `before_request` that has looked at the body takes nothing away."""
    inbox = Inbox()
    app = flask.Flask(__name__)
    add_webhook(app, "/lean/webhooks", inbox.blocking)
    app.before_request(lambda: flask.request.get_data() and None)
    headers = {"lean-signature": sign(SECRET, b"{}")}
    assert app.test_client().post("/lean/webhooks", data=b"{}", headers=headers).status_code == 200
    assert inbox.taken == [b"{}"]
