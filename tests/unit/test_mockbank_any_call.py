"""Nothing that is sent breaks Mockbank: calls near those that it knows, and anything at all.

Every answer here is also held to Mockbank's own description (see ``conftest.py``).
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import attrs
from hypothesis import example, given, strategies as st

from leanflow import Call
from leanflow.mockbank import Mockbank
from leanflow.mockbank.api._route_table import routes

UNKNOWN = "7d0b6f0a-0000-4000-8000-000000000000"
_TABLE = [*routes("uae"), *routes("ksa")]
_KNOWN = {
    "account_id": "ACCOUNT",
    "app_user_id": "user-1",
    "consent_id": "CONSENT",
    "customer_id": "CUSTOMER",
    "entity_id": "ENTITY",
    "refresh_id": "REFRESH",
    "results_id": "RESULTS",
}
_WORDS = [*_KNOWN.values(), UNKNOWN, "true", "0", "50", "2025-01-01", "2025-01-01T00:00:00Z", "{}", "USER_REQUESTED"]
_TEXTS = st.sampled_from(_WORDS) | st.text(st.characters(), max_size=20)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=4),
)
_HEADERS = ["authorization", "Authorization", "lean-app-token", "content-type", "customer-ip", "x"]
_CONTENT = st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/html", ";", ""])
_METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD"]) | st.text(max_size=8)
_PATHS = st.lists(_TEXTS, max_size=6).map("/".join)


@st.composite
def _fitting(draw: st.DrawFn, name: str, schema: dict[str, Any], *, text: bool) -> Any:
    """A value that fits a schema, more often than not."""
    if draw(st.integers(0, 9)) == 0:
        return draw(_TEXTS if text else _VALUES)
    if name in _KNOWN:
        return _KNOWN[name]
    made: Any = draw(st.sampled_from(["2025-01-01", "2025-01-01T00:00:00Z", "mockbank_user_1", "{}"]))
    kinds = {"boolean": True, "integer": draw(st.integers(0, 100)), "array": []}
    made = kinds.get(schema["type"], made) if isinstance(schema["type"], str) else 1
    made = draw(st.sampled_from(schema["enum"])) if "enum" in schema else made
    return (made if isinstance(made, str) else json.dumps(made)) if text else made


@st.composite
def _near(draw: st.DrawFn) -> Call:
    """A call to a route that is there, with most of it in order."""
    route = draw(st.sampled_from(_TABLE))
    path = route.path
    for name in route.places:
        path = path.replace(f"{{{name}}}", draw(_fitting(name, {"type": "string"}, text=True)))
    wanted = [one for one in route.query if one.required or draw(st.booleans())]
    query = {one.name: draw(_fitting(one.name, dict(one.schema), text=True)) for one in wanted}
    fields = (route.body or route.form or {}).get("properties", {})
    body = {name: draw(_fitting(name, dict(its), text=False)) for name, its in fields.items()}
    sent = urlencode(body) if route.form else json.dumps(body)
    return Call(method=route.method, path=path, query=query, body=sent.encode("utf-8", "replace") if fields else None)


@st.composite
def _calls(draw: st.DrawFn) -> Call:
    """Any call; words in capitals stand for ids that exist."""
    near = draw(_near())
    if draw(st.integers(0, 2)):
        return near
    other = Call(
        method=draw(_METHODS),
        path=draw(_PATHS),
        query=draw(st.dictionaries(st.sampled_from(sorted(_KNOWN)) | _TEXTS, _TEXTS, max_size=6)),
        headers=draw(st.dictionaries(st.sampled_from(_HEADERS), _CONTENT | _TEXTS, max_size=4)),
        body=draw(st.none() | st.binary(max_size=40) | _VALUES.map(json.dumps).map(str.encode)),
    )
    taken = draw(st.sets(st.sampled_from(["method", "path", "query", "headers", "body"]), min_size=1))
    return attrs.evolve(near, **{name: getattr(other, name) for name in taken})


@given(region=st.sampled_from(["uae", "ksa"]), asked=_calls(), is_let_in=st.sampled_from([True, True, True, False]))
@example(region="uae", asked=Call(method="GET", path="/customers/v1/\ud800"), is_let_in=True)
@example(region="uae", asked=Call(method="POST", path="/customers/v1", body=b'{"app_user_id":1e9999999999999999999}'),
         is_let_in=True)  # fmt: skip
@example(region="ksa", asked=Call(method="GET", path="/banks/v1", headers={"authorization": "Bearer \udcff.\udcff"}),
         is_let_in=False)  # fmt: skip
def test_no_call_whatever_breaks_it(region: str, asked: Call, is_let_in: bool) -> None:
    """Any method, path, query, headers and bytes get an answer below 500, in JSON and UTF-8."""
    bank = Mockbank(region=region)
    known = _known(bank)

    def named(text: str) -> str:
        for word, has in known.items():
            text = text.replace(word, has)
        return text

    headers = {name: value for name, value in asked.headers.items() if not (is_let_in and name == "lean-app-token")}
    call = attrs.evolve(
        asked,
        path=named(asked.path),
        query={named(name): named(value) for name, value in asked.query.items()},
        headers={"authorization": f"Bearer {bank.token()}", **headers} if is_let_in else headers,
        body=None if asked.body is None else named(asked.body.decode("latin-1")).encode("latin-1"),
    )
    answer = bank.handle(call, bank.now).answer
    assert answer is not None
    assert 200 <= answer.status < 500
    json.loads(answer.body.decode())


def _known(bank: Mockbank) -> dict[str, str]:
    entity = bank.connect()
    customer, token = bank.customer_of(entity), {"authorization": f"Bearer {bank.token()}"}

    def ask(method: str, path: str, body: object = None, **query: str) -> Any:
        told = None if body is None else json.dumps(body).encode()
        answer = bank.handle(Call(method=method, path=path, query=query, headers=token, body=told), bank.now).answer
        assert answer is not None
        return json.loads(answer.body)

    owned = ask("GET", f"/customers/v1/{customer}/entities/{entity}")
    return {
        "ENTITY": entity,
        "ACCOUNT": bank.accounts_of(entity)[0],
        "CUSTOMER": customer,
        "RESULTS": ask("GET", "/data/v2/accounts", entity_id=entity, **{"async": "true"})["results_id"],
        "REFRESH": ask("POST", "/data/v2/refreshes", {"entity_id": entity})["refresh_id"],
        "CONSENT": owned["consents"][0]["id"],
    }
