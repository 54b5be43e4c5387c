"""What every call goes through."""

from __future__ import annotations

from datetime import datetime

from leanflow._call import Answer, Call
from leanflow.mockbank._log import CallRecord
from leanflow.mockbank._world import World
from leanflow.mockbank.adversary._faults import Context

from . import _auth
from ._answers import Refused, Writer
from ._ask import Ask
from ._exchange import Exchange, instead, spoilt
from ._router import Route, Router

__all__ = ["answer"]


def answer(world: World, router: Router, call: Call, now: datetime) -> Exchange:
    """Answer one call: faults, credentials, parameters, handler, faults again, log."""
    world.catch_up(now)
    methods, path = router.find(call.path)
    route = methods.get(call.method)
    write = Writer(now, world.log.total_calls, world.settings.seed)
    if route is None:
        said = write.refused(_no_route(list(methods)))
        world.adversary.struck = []
        return _logged(world, Context(kind="unknown", method=call.method, path=call.path), Exchange(answer=said))
    ask = Ask(
        world=world,
        call=call,
        now=now,
        write=write,
        kind=route.kind,
        path=path,
        resource=route.resource,
        api=route.api,
    )
    context = ask.context()
    struck = world.adversary.before(context)
    ask.delay = world.adversary.slow(context)
    if struck is not None:
        return _logged(world, context, instead(write, struck, ask.delay))
    said = _handled(ask, route)
    return _logged(world, context, spoilt(said, ask.delay, world.adversary.leaving(context)))


def _no_route(methods: list[str]) -> Refused:
    if not methods:
        return Refused(status=404, code="INVALID_URL")
    return Refused(status=405, code="INVALID_HTTP_METHOD", headers={"allow": ", ".join(sorted(methods))})


def _handled(ask: Ask, route: Route) -> Answer:
    try:
        if not route.open:
            _auth.authorise(ask)
        ask.read_path(route.places)
        ask.read_query(route.query)
        if route.body is not None:
            ask.read_body(route.body, required=route.body_required)
        return route.handler(ask)
    except Refused as refusal:
        return ask.write.refused(refusal)


def _logged(world: World, context: Context, exchange: Exchange) -> Exchange:
    said = exchange.answer
    http = said.status if said is not None and exchange.cut_after is None else None
    fault = "+".join(world.adversary.struck) or None
    world.log.call(CallRecord(at=world.now, context=context, http_status=http, status=_word(said), fault=fault))
    return exchange


def _word(said: Answer | None) -> str | None:
    """Return Lean's status word. It is among the first bytes of every envelope: the whole is not parsed again."""
    if said is None:
        return None
    _, found, rest = said.body[:300].partition(b'"status":"')
    return rest.partition(b'"')[0].decode(errors="replace") if found else None
