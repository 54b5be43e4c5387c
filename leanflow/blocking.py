"""`LeanFlow` for code that blocks: Django's views, Flask, Celery tasks, scripts.

The same arguments and methods as `leanflow.LeanFlow`, without ``await``. The engine runs on an event loop of its own,
in one thread, which is started when the engine is first used: in a server that forks, after the fork. Any number of
threads may use it at once. Needs the extra ``blocking``.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import logging
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from importlib import import_module
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import attrs

try:
    from anyio.from_thread import BlockingPortal, start_blocking_portal
except ModuleNotFoundError as error:
    _missing = "leanflow.blocking needs the extra: pip install 'leanflow-openbanking[blocking]'"
    raise ModuleNotFoundError(_missing, name=error.name) from error

from leanflow._call import Answer, Call, Reply
from leanflow._flows import LeanFlow as Engine
from leanflow._from_threads import loop_of_this_thread
from leanflow._handlers import Handlers
from leanflow._policy import Policy
from leanflow._request import Scope
from leanflow._transaction import BlockingTransaction as Transaction, entered, joined_blocking
from leanflow.errors import Forked, InvalidRequest, NotStarted, WrongLoop
from leanflow.observing import Observer
from leanflow.ports import Blocking, Bus, Clock, RandomSource, Store, Transport

__all__ = ["LeanFlow", "Transaction"]

P = ParamSpec("P")
R = TypeVar("R")
_END: Any = object()
_log = logging.getLogger("leanflow.webhook")


def _waited(
    method: Callable[Concatenate[Engine, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[LeanFlow, P], R]:
    """Return what does the same and returns when it is done."""

    @functools.wraps(method)
    def waited(self: LeanFlow, /, *args: P.args, **named: P.kwargs) -> R:
        def called(engine: Engine) -> Coroutine[Any, Any, R]:
            made: Coroutine[Any, Any, R] = getattr(engine, method.__name__)(*args, **named)
            return made

        return self.run(called)

    return waited


def _iterated(
    method: Callable[Concatenate[Engine, P], AsyncIterator[R]],
) -> Callable[Concatenate[LeanFlow, P], Iterator[R]]:
    """Return what yields the same, each when it is asked for."""

    @functools.wraps(method)
    def iterated(self: LeanFlow, /, *args: P.args, **named: P.kwargs) -> Iterator[R]:
        found: AsyncIterator[R] = getattr(self.engine, method.__name__)(*args, **named)

        async def following(_engine: Engine) -> R:
            return await anext(found, _END)

        while (each := self.run(following)) is not _END:
            yield each

    return iterated


def _answered(receive: Callable[Concatenate[LeanFlow, P], Reply]) -> Callable[Concatenate[LeanFlow, P], Reply]:
    """Return what answers 503 while the engine closes: whoever sent the webhook sends it again."""

    @functools.wraps(receive)
    def answered(self: LeanFlow, /, *args: P.args, **named: P.kwargs) -> Reply:
        try:
            return receive(self, *args, **named)
        except NotStarted as error:
            _log.warning("cannot store a webhook now: %s", error)
            return Reply(status=503, body=b"try again", retry=True)

    return answered


class LeanFlow:
    """The engine, for code that blocks.

    It opens itself at first use. Leaving ``with flows:`` closes it, or `close`, or the end of the program. Handlers
    that are plain functions are called with this as their second argument, in threads; coroutine functions with the
    engine itself, on its loop.

    Args:
        store: and the others: as `leanflow.LeanFlow`.

    Raises:
        InvalidRequest: an argument is wrong, as an empty secret.
    """

    def __init__(
        self,
        *,
        store: Store,
        transport: Transport,
        webhook_secrets: Sequence[str],
        handlers: Iterable[Handlers] = (),
        bus: Bus | Iterable[Bus] | None = None,
        app: str | None = None,
        environment: str | None = None,
        region: str | None = None,
        api: str = "v2",
        clock: Clock | None = None,
        policy: Policy | None = None,
        workers: int = 1,
        dice: RandomSource | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._stand_before(
            Engine(
                store=store,
                transport=transport,
                webhook_secrets=webhook_secrets,
                handlers=handlers,
                bus=bus,
                app=app,
                environment=environment,
                region=region,
                api=api,
                clock=clock,
                policy=policy,
                workers=workers,
                dice=dice,
                observer=observer,
            )
        )

    @classmethod
    def over(cls, engine: Engine) -> Self:
        """Return the blocking face of an engine that nobody has entered, and nobody but this enters."""
        made = cls.__new__(cls)
        made._stand_before(engine)  # noqa: SLF001 - what `__init__` does, too
        return made

    def _stand_before(self, engine: Engine) -> None:
        engine._face = self  # noqa: SLF001 - the same engine, seen from threads
        self._engine = engine
        self._lock = threading.Lock()
        self._pid = 0  # of the process that runs the loop, or is about to
        self._closes_at_exit = False
        self._is_over = False  # the program ends
        self._portal: BlockingPortal | None = None
        self._closing = ExitStack()

    def __repr__(self) -> str:
        return f"blocking.{self._engine!r}"

    # what it is

    @property
    def engine(self) -> Engine:
        """The engine itself. It belongs to the loop in the thread; `run` brings functions there."""
        return self._engine

    @property
    def policy(self) -> Policy:
        """Its waits, budgets and limits."""
        return self._engine.policy

    @property
    def scope(self) -> Scope:
        """What confines it: application, environment and region."""
        return self._engine.scope

    @property
    def store(self) -> Store:
        """Where everything is kept."""
        return self._engine.store

    @property
    def observer(self) -> Observer | None:
        """Who sees what is done; None: nobody."""
        return self._engine.observer

    @property
    def transport(self) -> Transport:
        """How Lean is called."""
        return self._engine.transport

    # life

    def __enter__(self) -> Self:
        """Open it now instead of at first use.

        Raises:
            Forked: it was used before this process was forked.
            MigrationNeeded: the store's tables are of another version.
            StoreUnavailable: it cannot be reached.
        """
        self._running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the engine and stop its thread. Who still waits for it gets NotStarted. The next use opens it again.

        Handlers that are being called may go on using it, for as long as the policy's `shutdown_wait`.
        """
        if self._portal is not None and self._pid == os.getpid():  # a forked process has no part in it
            with self._lock:
                self._closing.close()

    def run(
        self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /, *args: P.args, **named: P.kwargs
    ) -> R:
        """Call a coroutine function with the engine, on the engine's loop, and return what it returns.

        For what is made of several calls, or is there for the engine only, as `leanflow.testing.travel`.

        Raises:
            Forked: the engine was used before this process was forked.
            NotStarted: it was closed meanwhile.
            Exception: what the function raised.
        """
        called: Callable[[], Coroutine[Any, Any, R]] = functools.partial(function, self._engine, *args, **named)
        try:
            if self._is_served:
                loop = self._loop_of_another()
                return asyncio.run_coroutine_threadsafe(called(), loop).result()
            returned: R = self._running().call(called)
        except CancelledError:
            raise NotStarted from None
        return returned

    @property
    def _is_served(self) -> bool:
        """Whether somebody else has entered the engine, on a loop that is not ours: ``leanflow worker``, say."""
        return self._pid == 0 and self._engine._loop is not None  # noqa: SLF001 - its other face

    def _loop_of_another(self) -> asyncio.AbstractEventLoop:
        loop = self._engine._loop  # noqa: SLF001 - its other face
        if loop is None:
            raise NotStarted
        if loop_of_this_thread() is loop:
            raise WrongLoop  # it would wait for itself
        return loop

    def _running(self) -> BlockingPortal:
        """Return the way to the loop, started if it is not."""
        if self._pid not in (0, os.getpid()):
            raise Forked  # before the lock is asked for: some thread may have held it when this process was forked
        portal = self._portal
        if portal is None:
            self._pid = os.getpid()
            with self._lock:
                if self._portal is None:
                    self._pid = os.getpid()  # anew: a start that failed meanwhile has reset it
                    try:
                        self._portal = self._start()
                    except BaseException:  # whoever was interrupted here has not started it: the next use may
                        self._pid = 0
                        raise
                return self._portal
        return portal

    def _shut(self) -> None:
        """Let nobody in any more: whoever comes now opens it again, once it is closed."""
        self._portal, self._pid = None, 0

    def _close_for_good(self) -> None:
        self._is_over = True
        self.close()

    def _start(self) -> BlockingPortal:
        if self._is_over:
            raise NotStarted
        with ExitStack() as opened:
            portal = opened.enter_context(start_blocking_portal(name="leanflow"))
            opened.callback(portal.call, portal.stop, True)  # noqa: FBT003 - cancels who waits; anyio takes it so
            opened.callback(self._shut)
            portal.call(self._engine.__aenter__)
            opened.callback(portal.call, self._engine.__aexit__, None, None, None)
            self._closing = opened.pop_all()
        if not self._closes_at_exit:
            self._closes_at_exit = True
            _before_threads_end(weakref.WeakMethod(self._close_for_good))
        return portal

    # Each is the engine's own, and takes and returns what that does: type checkers read it off there.

    request = _waited(Engine.request)
    renew = _waited(Engine.renew)
    get = _waited(Engine.get)
    find = _iterated(Engine.find)
    history = _waited(Engine.history)
    export = _waited(Engine.export)
    pages = _iterated(Engine.pages)
    results = _waited(Engine.results)
    prompt = _waited(Engine.prompt)
    callback = _waited(Engine.callback)
    cancel = _waited(Engine.cancel)
    apply = _waited(Engine.apply)
    receive = _answered(_waited(Engine.receive))
    reconcile = _waited(Engine.reconcile)
    wait = _waited(Engine.wait)
    tick = _waited(Engine.tick)
    connect_prompt = _waited(Engine.connect_prompt)
    customer = _waited(Engine.customer)
    send = _waited(Engine.send)
    counts = _waited(Engine.counts)
    health = _waited(Engine.health)
    undelivered = _waited(Engine.undelivered)
    redeliver = _waited(Engine.redeliver)
    drop_sink = _waited(Engine.drop_sink)
    purge = _waited(Engine.purge)
    purge_results = _waited(Engine.purge_results)
    erase = _waited(Engine.erase)
    reencrypt = _waited(Engine.reencrypt)

    @contextmanager
    def using(self, connection: Any) -> Iterator[Transaction]:
        """Yield the same operations inside the application's transaction on `connection`. Never commits.

        They run in this thread. Requests made there are placed by the workers once the application has committed; a
        rollback leaves nothing.

        Raises:
            InvalidRequest: the connection is of a kind, or to a database, that the store does not share.
        """
        using = self.run(_using_blocking, type(connection).__name__)
        settings = attrs.evolve(self._engine._settings, transport=_OnTheLoop(self))  # noqa: SLF001 - its other face
        with entered(using(connection)) as store, joined_blocking(settings, store) as transaction:
            yield transaction


def _before_threads_end(closing: weakref.WeakMethod[Callable[[], None]]) -> None:
    """Close at the end of the program, while threads can still be started: handlers that block run in them.

    What `atexit` calls comes later: the executors are shut by then. It is what `concurrent.futures` uses itself.
    """

    def close() -> None:
        if (method := closing()) is not None:
            method()

    import_module("concurrent.futures.thread")  # what is registered last is called first
    register: Callable[[Callable[[], None]], Any] = getattr(threading, "_register_atexit", atexit.register)
    register(close)


async def _using_blocking(engine: Engine, kind: str) -> Callable[[Any], AbstractAsyncContextManager[Store]]:
    store = engine.store
    if not isinstance(store, Blocking):
        raise InvalidRequest("connection", f"a {type(store).__name__} joins none that blocks (got {kind})")
    return await store.using_blocking()


class _OnTheLoop:
    """The engine's transport, for a thread that waits for it: its coroutines block instead of waiting."""

    def __init__(self, flows: LeanFlow) -> None:
        self._flows = flows

    async def send(self, call: Call) -> Answer:
        return self._flows.run(Engine.send, call)

    async def token(self, customer_id: str) -> str | None:
        return self._flows.run(_token, customer_id)

    async def aclose(self) -> None:
        """Leave it open: it is the engine's."""


async def _token(engine: Engine, customer_id: str) -> str | None:
    return await engine.transport.token(customer_id)
