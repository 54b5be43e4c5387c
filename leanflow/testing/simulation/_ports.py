"""The ports of one process, as it sees them: each await waits for its turn, and may fail as the run has it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any, NoReturn, cast

from leanflow._call import Answer, Call
from leanflow._handlers import Handler, Handlers
from leanflow.errors import CallFailed, LeanflowError, StoreUnavailable
from leanflow.ports import OutboxRow, Store, Transport
from leanflow.testing.simulation._turns import Fate

__all__ = ["PROCESS", "SimulatedBus", "gated_handlers", "gated_store", "gated_transport"]

PROCESS: ContextVar[Any] = ContextVar("leanflow_simulated_process", default=None)
"""The process that the running task belongs to: what it starts is its own, and dies with it."""

_PLAIN = frozenset({"open", "aclose", "using", "is_open"})
_BACK = 0.25
"""How many of the answers of a port take a turn of their own on their way back."""


def gated_store(store: Store, process: Any) -> Store:
    """Return the store as one process sees it."""
    return cast(Store, _GatedStore(store, process))


class _GatedStore:
    def __init__(self, store: Store, process: Any) -> None:
        self._store = store
        self._process = process
        oracle = process.world.oracle
        self._watched: dict[str, Callable[..., None]] = {
            "create": oracle.created,
            "commit": oracle.committed,
            "renew": oracle.renewed,
            "release": oracle.released,
            "orphan": oracle.orphaned,
        }

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name in _PLAIN or name.startswith("_"):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._call(name, method, args, kwargs)

        self.__dict__[name] = call
        return call

    async def _call(self, name: str, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        process = self._process
        fate = await process.world.turns.wait(process, "store", name)
        if fate is Fate.refuse:
            process.world.oracle.excuse(process.name)
            raise StoreUnavailable("the simulated connection was cut before the work")
        done = await self._do(name, method, args, kwargs)
        self._see(name, done, args, kwargs)
        if fate is Fate.die:
            await _die(process)
        if not process.world.is_calm and process.world.dice.random() < _BACK:
            fate = fate if fate is not Fate.go else await process.world.turns.wait(process, "store", name, back=True)
        if fate in (Fate.lose, Fate.refuse):
            process.world.oracle.excuse(process.name)  # also of a lease that it does not know it has
            raise StoreUnavailable("the simulated connection was cut after the work")
        return done

    async def _do(self, name: str, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        world = self._process.world
        token = PROCESS.set(None)  # what a store starts for itself is not the process's to take with it
        try:
            return await world.loop.inside(partial(method, *args, **kwargs))
        except LeanflowError:
            raise
        except Exception as error:  # what a store raises that it has not promised is what is looked for
            world.violate("the store", f"{name} raised {type(error).__name__}: {error}")
            raise
        finally:
            PROCESS.reset(token)

    def _see(self, name: str, done: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        process = self._process
        watch = self._watched.get(name)
        if name == "claim":
            process.world.oracle.claimed(process.name, done, kwargs["owner"])
        elif name in ("renew", "release"):
            process.world.oracle.renewed(process.name, done, *args[1:], **kwargs) if name == "renew" else (
                process.world.oracle.released(process.name, done, *args[1:], **kwargs)
            )
        elif watch is not None:
            watch(process.name, done, *args, **kwargs)
        process.world.saw(process, name, args, done)


def gated_transport(transport: Transport, process: Any) -> Transport:
    """Return the way to Lean as one process sees it."""
    return _GatedTransport(transport, process)


class _GatedTransport:
    is_open = True

    def __init__(self, transport: Transport, process: Any) -> None:
        self._transport = transport
        self._process = process

    async def send(self, call: Call) -> Answer:
        process, world = self._process, self._process.world
        what = f"{call.method} {call.path}"
        if await world.turns.wait(process, "lean", what) is Fate.refuse:
            world.tell(process.name, f"{what}: not sent", fault=True)
            raise CallFailed("the simulated network did not take it", maybe_sent=False)
        world.oracle.sent(process.name, call)
        try:
            answer = await self._transport.send(call)
        except CallFailed as error:
            world.tell(process.name, f"{what}: {error.reason}", fault=True)
            raise
        world.oracle.answered(call, answer)
        fate = Fate.go
        if not world.is_calm:
            fate = await world.turns.wait(process, "lean", what, back=True, not_before=world.slow_answer(what))
        if fate is Fate.die:
            await _die(process)
        world.tell(process.name, f"{what}: {answer.status}{' LOST' if fate is not Fate.go else ''}", answer=answer.body)
        if fate is not Fate.go:
            raise CallFailed("the simulated network lost the answer", maybe_sent=True)
        return answer

    async def token(self, customer_id: str) -> str | None:
        if await self._process.world.turns.wait(self._process, "lean", "token") is not Fate.go:
            raise CallFailed("the simulated network did not take it", maybe_sent=False)
        return await self._transport.token(customer_id)

    async def aclose(self) -> None:
        """Leave it open: it is the world's."""


class SimulatedBus:
    """A bus that fails, loses its answer after publishing, takes half of a batch, and delivers twice."""

    def __init__(self, process: Any) -> None:
        self._process = process

    @property
    def name(self) -> str:
        """The sink's name."""
        return "bus"

    async def open(self) -> None:
        """Connect to nothing."""

    async def aclose(self) -> None:
        """Close nothing."""

    async def publish(self, batch: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        """Take a batch as the run has it; return for each row None, or what went wrong."""
        process, world = self._process, self._process.world
        fate = await world.turns.wait(process, "bus", f"publish {len(batch)}")
        if fate is Fate.refuse:
            return [ConnectionError("the simulated bus is down") for _ in batch]
        half = fate is Fate.lose and len(batch) > 1 and world.dice.chance(50)
        taken = batch[::2] if half else batch
        for row in taken:
            for _ in range(2 if fate is Fate.twice else 1):
                world.oracle.delivered("bus", row, skipped=row.skipped)
                world.tell(process.name, f"bus takes {_short(row)}{' TWICE' if fate is Fate.twice else ''}")
        if fate is Fate.die:
            await _die(process)
        lost = ConnectionError("the simulated bus's answer was lost")
        if half:
            return [None if row in taken else lost for row in batch]
        return [lost if fate is Fate.lose else None for _ in batch]


def gated_handlers(handlers: Iterable[Handlers], process: Any) -> list[Handlers]:
    """Return handlers of the same names that take turns, and sometimes fail before or after the given ones ran."""
    gated = []
    for one in handlers:
        copy = Handlers()
        for handler in one:
            copy._add(handler.sink, _gated(handler, process))  # noqa: SLF001 - a handler as it was made
        gated.append(copy)
    return gated


def _gated(handler: Handler, process: Any) -> Callable[[Any, Any], Awaitable[None]]:
    name = handler.sink.name

    async def called(subject: Any, flows: Any) -> None:
        world = process.world
        fate = await world.turns.wait(process, "handler", name)
        if fate is Fate.go and world.trips(name, getattr(subject, "key", None)):
            fate = world.dice.pick((Fate.refuse, Fate.lose))
        if fate is Fate.refuse:
            raise RuntimeError("the simulated handler had its own trouble before it began")
        returned = handler.function(subject, flows)
        if inspect.isawaitable(returned):
            await returned
        world.tell(process.name, f"{name} handles {getattr(subject, 'key', '')}{' AND FAILS' * (fate is Fate.lose)}")
        if fate is Fate.die:
            await _die(process)
        if fate is Fate.lose:
            raise RuntimeError("the simulated handler had its own trouble after it was done")

    return called


async def _die(process: Any) -> NoReturn:
    """The process ends here: the run cancels all that it has, this too."""
    process.is_dead = True
    await asyncio.get_running_loop().create_future()
    raise AssertionError("a dead process went on")


def _short(row: OutboxRow) -> str:
    return row.key
