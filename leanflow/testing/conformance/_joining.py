"""What the port promises of working inside a transaction that the application holds."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar

import pytest

from leanflow._request import IdKind
from leanflow._transaction import entered, settled
from leanflow.errors import CallerError, InvalidRequest, NotStarted
from leanflow.ports import Blocking, Outcome, Query, Sink, Store
from leanflow.testing.conformance._samples import ALL, SCOPE, a_change, a_creation, a_request, a_step, stored

__all__ = ["BlockingJoining", "Joining"]

Connect = Callable[[], Awaitable[Any]]


class Joining:
    """`using`: working inside a transaction that the application holds on what `connect` gives."""

    joins: ClassVar[bool] = False

    def joined(self, store: Store, connection: Any) -> AbstractAsyncContextManager[Store]:
        """Return what `using` gives for a connection."""
        return store.using(connection)

    @pytest.fixture
    def connect(self) -> Connect:
        """Give an async callable that returns an application's connection to the store's database.

        It must have `commit` and `rollback`, to be awaited or not. Override it where `joins` is True.
        """
        pytest.skip("joins = False")

    async def test_another_kind_of_connection_is_refused(self, store: Store) -> None:
        """A connection of a kind that the store does not share is an InvalidRequest."""
        with pytest.raises(InvalidRequest):
            async with self.joined(store, object()):
                pass

    async def test_what_is_rolled_back_never_was(self, store: Store, connect: Connect) -> None:
        """After the application's rollback nothing of create, commit, register or confirm is left."""
        await store.register(SCOPE, [ALL])
        request = await stored(store)
        told = a_change(request)
        step = a_step(request, "event-1", announcements=(told,))
        await store.commit(step)
        connection = await connect()
        async with self.joined(store, connection) as joined:
            assert step.after is not None
            await joined.create(a_creation(a_request(2)))
            assert (await joined.commit(a_step(step.after, "event-2"))).outcome is Outcome.committed
            assert await joined.confirm(SCOPE, told.key, "all")
            await joined.register(SCOPE, [Sink(name="other")])
            assert await joined.seen(SCOPE, "event-2")
        await _done(connection.rollback())
        assert await store.load(SCOPE, request.id) == step.after
        assert await store.load(SCOPE, a_request(2).id) is None
        assert not await store.seen(SCOPE, "event-2")
        assert len(await store.outbox(SCOPE)) == 1
        assert "other" not in await store.lag(SCOPE)

    async def test_what_is_committed_is_there_for_all(self, store: Store, connect: Connect) -> None:
        """Nothing is visible before the application commits, everything afterwards."""
        request = await stored(store)
        connection = await connect()
        async with self.joined(store, connection) as joined:
            created = await joined.create(a_creation(a_request(2)))
            step = a_step(request, "event-1", changes={"reconnect_id": "c-1"}, ids=((IdKind.reconnect, "c-1"),))
            await joined.commit(step)
            assert await joined.load(SCOPE, request.id) == step.after
            assert [one.id for one in await joined.owners(SCOPE, IdKind.reconnect, "c-1")] == [request.id]
            assert len(await joined.find(SCOPE, Query())) == 2
            assert len(await joined.history(SCOPE, request.id)) == 2
            assert await store.load(SCOPE, request.id) == request
            assert await store.load(SCOPE, created.request.id) is None
        assert await store.load(SCOPE, created.request.id) is None
        await _done(connection.commit())
        assert await store.load(SCOPE, request.id) == step.after
        assert await store.load(SCOPE, created.request.id) == created.request

    async def test_a_conflict_is_an_outcome_and_leaves_the_transaction(self, store: Store, connect: Connect) -> None:
        """A step that loses raises nothing, and what was done before it in the transaction stays."""
        request = await stored(store)
        first = a_step(request, "event-1")
        connection = await connect()
        async with self.joined(store, connection) as joined:
            assert (await joined.commit(first)).outcome is Outcome.committed
            assert (await joined.commit(a_step(request, "event-2"))).outcome is Outcome.conflict
            assert (await joined.commit(a_step(request, "event-1"))).outcome is Outcome.duplicate
            assert not await joined.seen(SCOPE, "event-2")
        await _done(connection.commit())
        assert await store.load(SCOPE, request.id) == first.after

    async def test_a_delivery_is_confirmed_once_in_a_transaction(self, store: Store, connect: Connect) -> None:
        """`confirm` says False to the second, so that an effect in the same transaction happens exactly once."""
        await store.register(SCOPE, [ALL])
        request = await stored(store)
        told = a_change(request)
        await store.commit(a_step(request, "event-1", announcements=(told,)))
        for expected in (True, False):
            connection = await connect()
            async with self.joined(store, connection) as joined:
                assert await joined.confirm(SCOPE, told.key, "all") is expected
            await _done(connection.commit())
        assert not await store.outbox(SCOPE)

    async def test_a_joined_store_ends_with_its_block(self, store: Store, connect: Connect) -> None:
        """It is open inside, cannot be opened or nested, and is closed afterwards; the connection still works."""
        connection = await connect()
        async with self.joined(store, connection) as joined:
            assert joined.is_open
            with pytest.raises(CallerError):
                await joined.open()
            with pytest.raises(CallerError):
                async with joined.using(connection):
                    pass
        assert not joined.is_open
        with pytest.raises(NotStarted):
            await joined.load(SCOPE, "x")
        await _done(connection.rollback())
        assert await store.load(SCOPE, a_request(1).id) is None


class BlockingJoining(Joining):
    """The same for connections that block: what joins them never waits in a coroutine."""

    def joined(self, store: Store, connection: Any) -> AbstractAsyncContextManager[Any]:
        """Return what `using_blocking` gives for a connection; it is driven as `leanflow.blocking` drives it."""
        return _driving(store, connection)


@asynccontextmanager
async def _driving(store: Store, connection: Any) -> AsyncIterator[Any]:
    assert isinstance(store, Blocking)
    using = await store.using_blocking()
    with entered(using(connection)) as joined:
        yield _Driven(joined)


class _Driven:
    """A joined store each of whose coroutines must run to its end at once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def driven(*args: Any, **named: Any) -> Any:
            return settled(found(*args, **named))

        return driven


async def _done(ended: Any) -> None:
    """Await what a connection's method returned, if it is to be awaited."""
    if inspect.isawaitable(ended):
        await ended
