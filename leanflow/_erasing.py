"""Going through all that a store holds: to forget an entity or a customer, or to encrypt it anew.

The order of erasing makes it resumable. First tombstones, so that nothing new is stored; then what belongs to no
request; then the requests, those last by which the others were found. Whoever is killed in between and begins anew
finds the rest.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence

import attrs

from leanflow._ids import first_id
from leanflow._request import DataRequest, Scope
from leanflow._settings import Settings
from leanflow._step_rows import CUSTOMER, ENTITY
from leanflow._steps import Steps
from leanflow.errors import KeyMissing, RequestNotFound
from leanflow.events import Cancelled
from leanflow.ports import REENCRYPTED, Body, Encrypting, Erased, Part, Query, Reencrypted, Store

__all__ = ["Eraser", "Reencryption", "mentions"]

AT_ONCE = 100
SLICE = 20
"""Bodies that are looked at at a time: each may have a megabyte."""


class Eraser:
    """Erases in one scope."""

    def __init__(self, settings: Settings, store: Store, steps: Steps) -> None:
        self._scope = settings.scope
        self._clock = settings.clock
        self._store = store
        self._steps = steps
        self._now = settings.clock.now()
        self._is_doubtful = False  # whether a request was met that by its id was made after the tombstones
        self._met_unreadable = False

    async def erase_entity(self, entity_id: str) -> Erased:
        """Delete everything of an entity; return what there was."""
        names = [(ENTITY, entity_id)]
        gone = await self._forget(names)
        gone += await self._erase(Query(entity_id=entity_id))
        return gone + await self._look_again(names) + await self._left()

    async def erase_customer(self, customer_id: str) -> Erased:
        """Delete everything of a customer and of the entities that the customer's requests name."""
        entities = sorted({request.entity_id async for request in self._found(Query(customer_id=customer_id))})
        names = [(CUSTOMER, customer_id), *((ENTITY, each) for each in entities)]
        gone = await self._forget(names)
        for entity_id in entities:  # by whichever request the entity was found, it goes after those that do not say so
            gone += await self._erase(Query(entity_id=entity_id), but=customer_id)
        gone += await self._erase(Query(customer_id=customer_id))
        return gone + await self._look_again(names) + await self._left()

    async def _forget(self, names: Sequence[tuple[str, str]]) -> Erased:
        """Leave tombstones, and delete what names one of these ids, whether it belongs to a request or to none."""
        self._now = self._clock.now()
        for kind, value in names:
            await self._store.bury(self._scope, kind, value, now=self._now)
        return await self._sweep(names)

    async def _look_again(self, names: Sequence[tuple[str, str]]) -> Erased:
        """Delete what was taken in meanwhile for somebody who seemed to have come back.

        So it seems by a request that another process made, with a clock ahead of this one's, before it was deleted.
        """
        return await self._sweep(names) if self._is_doubtful else Erased()

    async def _sweep(self, names: Sequence[tuple[str, str]]) -> Erased:
        """Delete the parked events and the announcements that name one of these ids."""
        values = frozenset(value for _, value in names)
        gone = Erased()
        async for found in self._told():
            self._met_unreadable = self._met_unreadable or any(body.unreadable is not None for body in found)
            named = [body for body in found if body.unreadable is None and _is_about(body, values)]
            if named:
                gone += await self._take_away(named)
        return gone

    async def _take_away(self, named: Sequence[Body]) -> Erased:
        if named[0].part is Part.parked:
            return Erased(parked=sum([await self._store.orphan(self._scope, body.place[0], ()) for body in named]))
        await self._store.delivered(self._scope, [body.place for body in named])
        webhooks = sum(body.tag == "webhook" for body in named)
        return Erased(webhooks=webhooks, announcements=len(named) - webhooks)

    async def _left(self) -> Erased:
        """Count what nobody can decrypt, and did not go with a request."""
        if not self._met_unreadable:
            return Erased()
        left = [sum(body.unreadable is not None for body in found) async for found in self._told()]
        return Erased(unreadable=sum(left))

    async def _told(self) -> AsyncIterator[Sequence[Body]]:
        """Yield what may name somebody and yet belong to no request: parked events, then announcements, in slices."""
        for part in (Part.parked, Part.announcements):
            after: tuple[str, str] | None = None
            while found := await self._store.bodies(self._scope, part, after=after, limit=SLICE):
                yield found
                after = found[-1].place

    async def _erase(self, query: Query, *, but: str | None = None) -> Erased:
        """Erase the requests that a query finds, each in a transaction of its own, except of the customer `but`."""
        gone = Erased()
        async for request in self._found(query):
            if but is None or request.customer_id != but:
                gone += await self._erase_one(request)
        return gone

    async def _erase_one(self, request: DataRequest) -> Erased:
        self._is_doubtful = self._is_doubtful or request.id > first_id(self._now)
        cancelled = not request.state.is_end
        if cancelled:  # so that nobody works on it any more, and whoever waits for it is told
            now = self._clock.now()
            try:
                await self._steps.apply(request.id, Cancelled().stamped(now, f"erased:{request.id}"))
            except RequestNotFound:
                return Erased()  # erased by another call
        erased = await self._store.erase(self._scope, request.id, now=self._clock.now())
        self._steps.forget(request.id)
        return Erased() if erased is None else attrs.evolve(erased, cancelled=int(cancelled))

    async def _found(self, query: Query) -> AsyncIterator[DataRequest]:
        while found := await self._store.find(self._scope, attrs.evolve(query, limit=AT_ONCE)):
            for request in found:
                yield request
            query = attrs.evolve(query, after=found[-1].id)


class Reencryption:
    """Goes through all bodies of a scope; where it has got to is remembered in the store."""

    def __init__(self, store: Store, keys: Encrypting, scope: Scope) -> None:
        self._store = store
        self._keys = keys
        self._scope = scope

    async def run(self, progress: Callable[[Reencrypted], None]) -> Reencrypted:
        """Encrypt anew what is not encrypted with the newest key; return how much."""
        done = Reencrypted()
        reached = await self._reached()
        parts = list(Part)
        for part in parts[parts.index(reached[0]) if reached else 0 :]:
            after = reached[1] if reached is not None and reached[0] is part else None
            while found := await self._store.bodies(self._scope, part, after=after, limit=SLICE):
                done = await self._write_anew(found, done)
                after = found[-1].place
                await self._store.remember(self._scope, REENCRYPTED, json.dumps([self._keys.newest, part, *after]))
                progress(done)
        await self._keys.retire(self._scope)
        await self._store.remember(self._scope, REENCRYPTED, "")
        return done

    async def _write_anew(self, found: Sequence[Body], done: Reencrypted) -> Reencrypted:
        """Encrypt those anew that need it and can be read.

        Raises:
            KeyMissing: one was encrypted with a key that was not given, and not given as lost either.
        """
        old = [body for body in found if not self._keys.is_current(body)]
        for body in old:
            if isinstance(body.unreadable, KeyMissing):
                raise body.unreadable
        readable = [(body, body.content) for body in old if body.unreadable is None]
        return Reencrypted(
            looked_at=done.looked_at + len(found),
            written=done.written + (await self._store.rewrite(self._scope, readable) if readable else 0),
            unreadable=done.unreadable + sum(body.unreadable is not None for body in found),
        )

    async def _reached(self) -> tuple[Part, tuple[str, str]] | None:
        """Return behind which body an interrupted run with the same key goes on."""
        note = await self._store.remember(self._scope, REENCRYPTED)
        if not note:
            return None
        key, part, first, second = json.loads(note)
        return (Part(part), (first, second)) if key == self._keys.newest else None


def _is_about(body: Body, values: frozenset[str]) -> bool:
    """Return whether a body names one of these ids: Lean's anywhere, ours where we put Lean's ids.

    What an application calls its requests by may be the same text as some id of Lean's, and then says nothing.
    """
    if body.part is Part.parked or body.tag == "webhook":
        return mentions(body.content, values)
    try:
        told = json.loads(body.content)
    except ValueError:  # what was damaged must not keep the rest
        return mentions(body.content, values)
    request = told.get("request", told)  # of a change or report; else a wake, which has the ids itself
    return not values.isdisjoint((request.get("entity_id"), request.get("customer_id")))


def mentions(content: bytes, values: frozenset[str]) -> bool:
    """Return whether one of these ids stands in a body as a whole text, however it is spelled in JSON.

    An announced webhook is JSON within a text of the announcement's JSON: it is looked into as well.
    """
    try:
        nodes = [json.loads(content)]
    except ValueError:
        return any(value.encode() in content for value in values)
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node
        elif isinstance(node, str):
            if node in values:
                return True
            if node.startswith("{"):
                try:
                    nodes.append(json.loads(node))
                except ValueError:
                    continue
    return False
