"""The encrypting store: around any other."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from leanflow._request import IdKind, Scope
from leanflow.errors import InvalidRequest, KeyMissing, MalformedBody
from leanflow.events import Page
from leanflow.ports import (
    KEYS,
    REENCRYPTED,
    Announcement,
    Blocking,
    Body,
    Committed,
    Hearing,
    Hinting,
    OutboxRow,
    ParkedEvent,
    Part,
    Sink,
    Step,
    Store,
)
from leanflow_adapters.crypto._seals import Seals

__all__ = ["EncryptedStore"]

_log = logging.getLogger("leanflow.store")

if TYPE_CHECKING:
    _Passing: Any  # to type checkers it has every method of the store that it is around
else:

    class _Passing:
        """Passes on what is not done here."""

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)


class EncryptedStore(_Passing):  # type: ignore[misc]  # it passes on what it does not say itself
    """Encrypts results and webhooks, and keeps them in another store; all else is that store's own.

    Encrypted are pages of results, parked webhooks, and announcements that carry a webhook's body. Requests, history
    and ids are not: stores must find and compare them.
    """

    def __init__(self, inner: Store, *, keys: Sequence[str | bytes], lost: Collection[str] = ()) -> None:
        """Put a store into another; nothing is opened yet.

        Args:
            inner: any store. What it holds in the clear stays readable until `LeanFlow.reencrypt` has been there.
            keys: Fernet keys, newest first: it encrypts, the others only decrypt.
            lost: what stands for keys that nobody has any more (`KeyMissing.key`). What was encrypted with them is
                gone; it holds up nothing else, neither the start of an engine nor `reencrypt`.

        Raises:
            InvalidRequest: there is no key, one is no Fernet key, or one of the lost was given.
        """
        self._inner = inner
        self._seals = Seals(keys)
        self._lost = _names(lost)
        if given := [name for name in self._lost if self._seals.has(name)]:
            raise InvalidRequest("lost", f"{given[0]} stands for a key that was given")
        self._checked: set[Scope] = set()

    def __repr__(self) -> str:
        return f"EncryptedStore({self._inner!r})"

    @property
    def inner(self) -> Store:
        """The store that keeps what is encrypted here."""
        return self._inner

    @property
    def newest(self) -> str:
        """What stands for the newest key (the beginning of its digest)."""
        return self._seals.newest

    # keys

    async def register(self, scope: Scope, sinks: Sequence[Sink]) -> None:
        """Store the sinks that a deployment serves: the first thing that an engine does.

        Raises:
            KeyMissing: something of this scope is encrypted with a key that was not given.
        """
        await self._check(scope)
        await self._inner.register(scope, sinks)

    async def _check(self, scope: Scope) -> None:
        """See that all keys of a scope are there, and that the newest is remembered before it is used."""
        if scope in self._checked:
            return
        known = (await self._inner.remember(scope, KEYS) or "").split()
        for name in known:
            if not self._seals.has(name) and name not in self._lost:
                raise KeyMissing(name)
        if self.newest not in known:
            await self._inner.remember(scope, KEYS, " ".join([*known, self.newest]))
        reached = await self._inner.remember(scope, REENCRYPTED)
        if reached and json.loads(reached)[0] != self.newest:
            # This key encrypts again: what lies before the place that another's run had reached counts anew.
            await self._inner.remember(scope, REENCRYPTED, "")
        self._checked.add(scope)

    async def retire(self, scope: Scope) -> None:
        """Take note that nothing of a scope is encrypted with another key than the newest."""
        await self._inner.remember(scope, KEYS, self.newest)

    def is_current(self, body: Body) -> bool:
        """Return whether it is stored as it would be stored now, or with a key that is lost: then so it stays."""
        if isinstance(body.unreadable, KeyMissing) and body.unreadable.key in self._lost:
            return True
        return not _is_sealed(body.part, body.tag) or self._seals.is_current(body.stored)

    # what goes in

    async def commit(self, step: Step) -> Committed:
        """Commit one step, its bodies encrypted."""
        raw = step.inbox.raw
        if raw is None and not step.pages and not any(told.kind == "webhook" for told in step.announcements):
            return await self._inner.commit(step)
        await self._check(step.scope)
        sealed = attrs.evolve(
            step,
            inbox=attrs.evolve(step.inbox, raw=None if raw is None else self._seals.seal(raw)),
            pages=tuple(attrs.evolve(page, raw=self._seals.seal(page.raw)) for page in step.pages),
            announcements=self._told(step.announcements),
        )
        return await self._inner.commit(sealed)

    async def orphan(self, scope: Scope, key: str, announcements: tuple[Announcement, ...]) -> bool:
        """Turn a parked event into a seen one and announce that; False if it is not parked."""
        return await self._inner.orphan(scope, key, self._told(announcements))

    def _told(self, announcements: tuple[Announcement, ...]) -> tuple[Announcement, ...]:
        return tuple(self._sealed(told) if told.kind == "webhook" else told for told in announcements)

    def _sealed(self, told: Announcement) -> Announcement:
        def payload() -> str:
            return self._seals.seal(told.payload.encode()).decode()

        return attrs.evolve(told, payload=payload)

    async def rewrite(self, scope: Scope, bodies: Sequence[tuple[Body, bytes]]) -> int:
        """Replace each body by the bytes beside it, encrypted with the newest key; return how many."""
        await self._check(scope)
        sealed = []
        for body, content in bodies:
            sealed.append((body, self._seals.seal(content) if _is_sealed(body.part, body.tag) else content))
            await asyncio.sleep(0)  # a megabyte takes milliseconds, and webhooks wait
        return await self._inner.rewrite(scope, sealed)

    # what comes out

    async def pages(self, scope: Scope, request_id: str, *, first: int = 0, limit: int = 100) -> Sequence[Page]:
        """Return the stored pages, by number, from the `first`-th on."""
        found = await self._inner.pages(scope, request_id, first=first, limit=limit)
        return [attrs.evolve(page, raw=self._seals.open(page.raw)) for page in found]

    async def parked(self, scope: Scope, kind: IdKind, value: str) -> Sequence[ParkedEvent]:
        """Return the events parked under an id, oldest first."""
        return self._events(await self._inner.parked(scope, kind, value))

    async def early(self, scope: Scope, request_id: str) -> Sequence[ParkedEvent]:
        """Return the events parked under a request, oldest first."""
        return self._events(await self._inner.early(scope, request_id))

    async def parked_due(self, scope: Scope, *, now: datetime, limit: int) -> Sequence[ParkedEvent]:
        """Return parked events that are due or past their life, oldest first."""
        return self._events(await self._inner.parked_due(scope, now=now, limit=limit))

    async def claim_outbox(
        self, scope: Scope, *, sinks: Sequence[str], owner: str, now: datetime, lease: float, limit: int
    ) -> Sequence[OutboxRow]:
        """Claim undelivered rows of these sinks, oldest first, one per request and sink.

        What cannot be decrypted is set aside: it holds up no other row, and comes back when it is delivered again.
        """
        claim, rows = self._inner.claim_outbox, []
        for row in await claim(scope, sinks=sinks, owner=owner, now=now, lease=lease, limit=limit):
            try:
                rows.append(self._row(row))
            except (KeyMissing, MalformedBody) as error:
                _log.error("%s: set aside: %s", row.sink, error, extra={"key": row.key})
                what = type(error).__name__
                await self._inner.undelivered(scope, row.key, row.sink, due_at=now, error=what, set_aside=True)
        return rows

    async def outbox(self, scope: Scope, *, set_aside: bool | None = None, limit: int = 100) -> Sequence[OutboxRow]:
        """Return undelivered rows, oldest first; the payload of one that cannot be decrypted is as it lies there."""
        return [
            attrs.evolve(row, payload=self._opened(row.payload.encode()).decode()) if row.kind == "webhook" else row
            for row in await self._inner.outbox(scope, set_aside=set_aside, limit=limit)
        ]

    async def bodies(
        self, scope: Scope, part: Part, *, after: tuple[str, str] | None = None, limit: int
    ) -> Sequence[Body]:
        """Return bodies, decrypted, those behind the place `after`; `stored` is what lies in the store."""
        found = []
        for body in await self._inner.bodies(scope, part, after=after, limit=limit):
            found.append(self._body(body))
            await asyncio.sleep(0)  # the same
        return found

    def _body(self, body: Body) -> Body:
        """Return it decrypted, or with what is in the way: erasing must not be stopped by a body that is lost."""
        try:
            return attrs.evolve(body, content=self._seals.open(body.stored))
        except (KeyMissing, MalformedBody) as error:
            return attrs.evolve(body, content=b"", unreadable=error)

    def _events(self, found: Sequence[ParkedEvent]) -> Sequence[ParkedEvent]:
        return [attrs.evolve(event, raw=self._opened(event.raw)) for event in found]

    def _opened(self, stored: bytes) -> bytes:
        """Return what was sealed; what cannot be opened as it is: the engine tells of it, and goes on with others."""
        with suppress(KeyMissing, MalformedBody):
            return self._seals.open(stored)
        return stored

    def _row(self, row: OutboxRow) -> OutboxRow:
        if row.kind != "webhook":
            return row
        return attrs.evolve(row, payload=self._seals.open(row.payload.encode()).decode())

    # stores out of this one

    def using(self, connection: Any) -> AbstractAsyncContextManager[Store]:
        """Return a store that encrypts and works inside the application's transaction; see the inner store's."""
        return self._joined(self._inner.using(connection))

    async def using_blocking(self) -> Callable[[Any], AbstractAsyncContextManager[Store]]:
        """Return what is `using` for connections that block, where the inner store joins such.

        Raises:
            InvalidRequest: it joins none.
        """
        if not isinstance(self._inner, Blocking):
            raise InvalidRequest("connection", f"a {type(self._inner).__name__} joins none that blocks")
        using = await self._inner.using_blocking()
        return lambda connection: self._joined(using(connection))

    @asynccontextmanager
    async def _joined(self, entered: AbstractAsyncContextManager[Store]) -> AsyncIterator[Store]:
        async with entered as store:
            yield self._around(store)

    def reopen(self) -> EncryptedStore:
        """Return a second handle on the same data, where the inner store gives one."""
        return self._around(self._inner.reopen())  # type: ignore[attr-defined]  # stores of one process have none

    def _around(self, store: Store) -> EncryptedStore:
        other = object.__new__(type(self))
        other._inner, other._seals, other._lost, other._checked = store, self._seals, self._lost, self._checked
        return other

    async def hear(self, scope: Scope, heard: Callable[[Sequence[str]], None]) -> Hearing | None:
        """Pass on the inner store's hints, if it has any."""
        return await self._inner.hear(scope, heard) if isinstance(self._inner, Hinting) else None


def _names(lost: Collection[str]) -> frozenset[str]:
    if isinstance(lost, str):
        raise InvalidRequest("lost", "must be a list of what stands for keys")
    return frozenset(lost)


def _is_sealed(part: Part, tag: str) -> bool:
    """Return whether bodies of this kind are encrypted: all but announcements that carry no webhook."""
    return part is not Part.announcements or tag == "webhook"
