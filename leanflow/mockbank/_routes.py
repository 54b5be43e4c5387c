"""Which path is answered by whom, and what every call goes through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import attrs

from leanflow._call import Answer, Call
from leanflow._request import Resource

from . import _auth, _data_calls, _directory, _events_api, _refreshes
from ._answers import Refused, Writer
from ._ask import Ask
from ._faults import Context, Fault
from ._json import loads, to_bytes
from ._log import CallRecord
from ._world import World

__all__ = ["Exchange", "answer"]


@attrs.frozen(kw_only=True)
class Exchange:
    """What becomes of one call.

    Attributes:
        answer: what goes back; None: the connection is cut without a word.
        delay: seconds that pass before that.
        cut_after: bytes of the body after which the connection is cut; None: it is not.
    """

    answer: Answer | None
    delay: float = 0.0
    cut_after: int | None = None


@attrs.frozen
class Route:
    """One path: method, segments (``{name}`` stands for one of any text), kind for faults and log, handler."""

    method: str
    segments: tuple[str, ...]
    kind: str
    handler: Callable[[Ask], Answer]
    resource: Resource | None = None
    api: str = "v2"

    def match(self, parts: tuple[str, ...]) -> dict[str, str] | None:
        """Return what the placeholders stand for, or None."""
        if len(parts) != len(self.segments):
            return None
        found = {}
        for want, has in zip(self.segments, parts, strict=True):
            if want.startswith("{"):
                found[want[1:-1]] = has
            elif want != has:
                return None
        return found


def _route(
    spec: str, kind: str, handler: Callable[[Ask], Answer], resource: Resource | None = None, api: str = "v2"
) -> Route:
    method, _, path = spec.partition(" ")
    return Route(method, tuple(path.strip("/").split("/")), kind, handler, resource, api)


def _data_routes() -> list[Route]:
    routes = [
        _route(f"GET /data/v2/{name.value}", "data", _data_calls.data, name)
        for name in (Resource.accounts, Resource.identity)
    ]
    of_account = (
        "balances",
        "transactions",
        "identities",
        "beneficiaries",
        "direct-debits",
        "scheduled-payments",
        "standing-orders",
    )
    for path in of_account:
        resource = Resource(path.replace("-", "_"))
        routes.append(_route(f"GET /data/v2/accounts/{{account_id}}/{path}", "data", _data_calls.data, resource))
    first = {
        "identity": Resource.identity,
        "accounts": Resource.accounts,
        "balance": Resource.balances,
        "transactions": Resource.transactions,
    }
    for path, resource in first.items():
        roots = ("/data/v1", "/v1")  # the second is that of 2020
        routes.extend(_route(f"POST {root}/{path}", "data", _data_calls.data, resource, "v1") for root in roots)
    routes += [
        _route(
            f"GET {root}/results/{{results_id}}", "results", _data_calls.results, None, "v1" if "1" in root else "v2"
        )
        for root in ("/data/v2", "/data/v1", "/v1", "")
    ]
    return routes


def routes() -> tuple[Route, ...]:
    """Return every path of the API; literal segments come before placeholders."""
    d = _directory
    return (
        _route("POST /oauth2/token", "token", _auth.token),
        *_data_routes(),
        _route("POST /data/v2/refreshes", "refresh", _refreshes.post_refresh, Resource.refresh),
        _route("GET /data/v2/refreshes", "refreshes", _refreshes.list_refreshes, Resource.refresh),
        _route("GET /data/v2/refreshes/{refresh_id}", "refreshes", _refreshes.one_refresh, Resource.refresh),
        _route("GET /events/v1", "events", _events_api.events),
        _route("POST /customers/v1", "customers", d.create_customer),
        _route("GET /customers/v1", "customers", d.customers),
        _route("GET /customers/v1/entities", "entities", d.all_entities),
        _route("GET /customers/v1/app-user-id/{app_user_id}", "customers", d.customer_by_app_user),
        _route("GET /customers/v1/{customer_id}", "customers", d.customer_by_id),
        _route("PUT /customers/v1/{customer_id}", "customers", d.change_customer),
        _route("GET /customers/v1/{customer_id}/entities", "entities", d.customers_entities),
        _route("GET /customers/v1/{customer_id}/entities/{entity_id}", "entities", d.entity),
        _route("DELETE /customers/v1/{customer_id}/entities/{entity_id}", "entities", d.delete_entity),
        _route("GET /banks/v1", "banks", d.list_banks),
        _route("POST /link/connect", "connect", d.link_connect),
        _route("POST /link-connect", "connect", d.link_connect),
        _route("POST /link/v1/connect", "connect", d.link_connect),
        _route("POST /v1/link/connect", "connect", d.link_connect),
    )


def _find(table: tuple[Route, ...], call: Call) -> tuple[Route | None, Mapping[str, str], bool]:
    """Return the route, its placeholders, and whether the path is known with another method."""
    # Lean's specification writes some paths with a slash at the end, its examples without.
    parts = tuple(unquote(part) for part in call.path.strip("/").split("/"))
    known = False
    for route in table:
        found = route.match(parts)
        if found is not None:
            if route.method == call.method:
                return route, found, True
            known = True
    return None, {}, known


def answer(world: World, table: tuple[Route, ...], call: Call, now: datetime) -> Exchange:
    """Answer one call: faults, credentials, handler, faults again, log."""
    world.catch_up(now)
    route, parts, known = _find(table, call)
    write = Writer(now, world.log.total_calls, world.settings.seed)
    if route is None:
        code, status = ("INVALID_HTTP_METHOD", 405) if known else ("INVALID_URL", 404)
        said = write.refused(Refused(status=status, code=code))
        return _logged(world, Context(kind="unknown", method=call.method, path=call.path), Exchange(answer=said), None)
    ask = Ask(
        world=world,
        call=call,
        now=now,
        write=write,
        kind=route.kind,
        parts=parts,
        resource=route.resource,
        api=route.api,
    )
    context = ask.context()
    struck = world.faults.before(context)
    if struck is not None:
        return _logged(world, context, _struck_before(write, struck), struck.effect)
    said = _handled(ask, route)
    leaving = world.faults.leaving(context)
    exchange = Exchange(answer=said, delay=ask.delay)
    if leaving is not None:
        exchange = _struck_leaving(exchange, said, leaving)
    return _logged(world, context, exchange, leaving.effect if leaving else ask.struck)


def _handled(ask: Ask, route: Route) -> Answer:
    try:
        if route.kind != "token":
            _auth.authorise(ask)
        return route.handler(ask)
    except Refused as refusal:
        return ask.write.refused(refusal)


def _struck_before(write: Writer, fault: Fault) -> Exchange:
    has = fault.details
    if fault.effect == "refuse":
        return Exchange(answer=None)
    if fault.effect == "html":
        return Exchange(answer=write.html(has["status"]))
    code = has["code"] or ("RATE_LIMIT_EXCEEDED" if has["status"] == 429 else "INTERNAL_SERVER_ERROR")
    headers = {} if has["retry_after"] is None else {"retry-after": str(has["retry_after"])}
    return Exchange(answer=write.refused(Refused(status=has["status"], code=code, headers=headers)))


def _struck_leaving(exchange: Exchange, said: Answer, fault: Fault) -> Exchange:
    has = fault.details
    if fault.effect == "cut":
        if not has["after"]:
            return attrs.evolve(exchange, answer=None)
        return attrs.evolve(exchange, cut_after=min(has["after"], len(said.body) - 1))
    if fault.effect == "truncated":
        return attrs.evolve(exchange, answer=attrs.evolve(said, body=said.body[: len(said.body) // 2]))
    body: Any = loads(said.body)
    if isinstance(body, dict):
        if fault.effect == "status":
            body["status"] = has["word"]
        elif fault.effect == "missing":
            body = {name: value for name, value in body.items() if name not in has["fields"]}
        else:
            body |= has["fields"]
    return attrs.evolve(exchange, answer=attrs.evolve(said, body=to_bytes(body)))


def _logged(world: World, context: Context, exchange: Exchange, struck: str | None) -> Exchange:
    said = exchange.answer
    http = said.status if said is not None and exchange.cut_after is None else None
    world.log.call(CallRecord(at=world.now, context=context, http_status=http, status=_word(said), fault=struck))
    return exchange


def _word(said: Answer | None) -> str | None:
    """Return Lean's status word. It is among the first bytes of every envelope: the whole is not parsed again."""
    if said is None:
        return None
    _, found, rest = said.body[:300].partition(b'"status":"')
    return rest.partition(b'"')[0].decode(errors="replace") if found else None
