"""The same operations inside the application's own transaction."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

from leanflow._effects import Change
from leanflow._notify import Notifier
from leanflow._observed import steps_of
from leanflow._operations import Operations
from leanflow._settings import Settings
from leanflow.errors import InvalidRequest
from leanflow.ports import Store

__all__ = ["BlockingTransaction", "Transaction", "entered", "joined", "joined_blocking", "settled"]

P = ParamSpec("P")
R = TypeVar("R")
_END: Any = object()


class Transaction(Operations):
    """Operations inside the application's transaction. Nothing is announced or called before it commits."""

    def __init__(self, settings: Settings, store: Store, check: Callable[[], None]) -> None:
        steps = steps_of(settings, store, Notifier(), _nothing, is_final=False)
        super().__init__(settings, store, steps)
        self._check_engine = check

    def _check(self) -> None:
        self._check_engine()

    async def confirm(self, change: Change, sink: str) -> bool:
        """Mark a delivery in this transaction; False if it was marked before.

        With it a handler's effect in the same transaction happens exactly once, however often the handler is called.
        """
        self._check()
        return await self._store.confirm(self._scope, change.key, sink)


@contextmanager
def joined(settings: Settings, store: Store, check: Callable[[], None]) -> Iterator[Transaction]:
    """Yield the operations, which refuse to be used after the block."""
    transaction = Transaction(settings, store, check)
    try:
        yield transaction
    finally:
        transaction._check_engine = _over  # noqa: SLF001 - ours, above


def _over() -> None:
    problem = "is over: use it inside its `using` block, and after that the engine itself"
    raise InvalidRequest("transaction", problem)


def _nothing(*, announced: bool, due_at: datetime | None) -> None:
    """Workers find what a transaction left by polling: it is not committed yet."""
    del announced, due_at


# --- in the application's thread, where nothing is awaited ---------------------------------------------------------


def settled(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run to its end, in this thread and without a loop, a coroutine that never waits.

    Raises:
        InvalidRequest: it waits.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: R = done.value
        return result
    coroutine.close()
    raise InvalidRequest("connection", "the store waits for something else than the connection, which blocks")


@contextmanager
def entered(manager: AbstractAsyncContextManager[R]) -> Iterator[R]:
    """Enter and leave what never waits, as `settled`."""
    value = settled(_entering(manager))
    try:
        yield value
    except BaseException as error:  # the manager hears of whatever ends the block, as `async with` has it
        if not settled(_leaving(manager, error)):
            raise
    else:
        settled(_leaving(manager, None))


async def _entering(manager: AbstractAsyncContextManager[R]) -> R:
    return await manager.__aenter__()


async def _leaving(manager: AbstractAsyncContextManager[R], error: BaseException | None) -> bool | None:
    return await manager.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)


def _settled(
    method: Callable[Concatenate[Transaction, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[BlockingTransaction, P], R]:
    """Return what does the same and returns when it is done."""

    @functools.wraps(method)
    def done(self: BlockingTransaction, /, *args: P.args, **named: P.kwargs) -> R:
        return settled(method(self._own, *args, **named))

    return done


def _iterated(
    method: Callable[Concatenate[Transaction, P], AsyncIterator[R]],
) -> Callable[Concatenate[BlockingTransaction, P], Iterator[R]]:
    """Return what yields the same."""

    @functools.wraps(method)
    def iterated(self: BlockingTransaction, /, *args: P.args, **named: P.kwargs) -> Iterator[R]:
        found = method(self._own, *args, **named)

        async def following() -> R:
            return await anext(found, _END)

        while (each := settled(following())) is not _END:
            yield each

    return iterated


class BlockingTransaction:
    """Operations inside the application's transaction on a connection that blocks, in its thread."""

    def __init__(self, inner: Transaction) -> None:
        self._thread = threading.get_ident()
        self._inner = inner

    @property
    def _own(self) -> Transaction:
        if threading.get_ident() != self._thread:
            raise InvalidRequest("transaction", "it belongs to the thread that joined it")
        return self._inner

    # Each is the transaction's own, and takes and returns what that does.

    request = _settled(Transaction.request)
    renew = _settled(Transaction.renew)
    get = _settled(Transaction.get)
    find = _iterated(Transaction.find)
    history = _settled(Transaction.history)
    export = _settled(Transaction.export)
    pages = _iterated(Transaction.pages)
    results = _settled(Transaction.results)
    prompt = _settled(Transaction.prompt)
    callback = _settled(Transaction.callback)
    cancel = _settled(Transaction.cancel)
    apply = _settled(Transaction.apply)
    confirm = _settled(Transaction.confirm)


@contextmanager
def joined_blocking(settings: Settings, store: Store) -> Iterator[BlockingTransaction]:
    """Yield the same for this thread."""
    with joined(settings, store, _nothing_to_check) as transaction:
        yield BlockingTransaction(transaction)


def _nothing_to_check() -> None:
    """Be in no loop: the connection's thread was checked before."""
