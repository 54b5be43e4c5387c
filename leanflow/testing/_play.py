"""Playing a path through a whole engine, and user code along with it.

While a path is played it stands between the engine and its transport: what the engine asks for the path's request is
answered as the path has it, everything else goes on to the transport. Webhooks come signed through `LeanFlow.receive`,
the application acts through the engine's own methods, and time passes on the fake clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from leanflow import calls
from leanflow._call import Answer, Call, Reply
from leanflow._flows import LeanFlow
from leanflow._lean.signature import sign
from leanflow._request import DataRequest, Resource
from leanflow.errors import CallFailed, InvalidRequest, NotInState
from leanflow.events import Hinted
from leanflow.ports import HistoryEntry, Transport
from leanflow.testing._acts import ACTS, Act, Actor, answer_to
from leanflow.testing._clock import FakeClock
from leanflow.testing._search import Step
from leanflow.testing._timeline import entry_line, timeline

if TYPE_CHECKING:
    from leanflow.testing._paths import Path

__all__ = ["Application", "PathLeft", "PathMoment", "moments"]

_ACTS = {act.name: act for act in ACTS}


class PathLeft(AssertionError):
    """A request went another way than the path that was played; the text says where, and shows both."""


@attrs.frozen(kw_only=True)
class PathMoment:
    """What a path has come to, everything that was due being done.

    Attributes:
        steps: what has happened since the moment before, first to last.
        request: as it is now.
    """

    steps: tuple[Step, ...]
    request: DataRequest


@attrs.frozen(kw_only=True)
class Application:
    """What the application does in a path; the engine's own methods unless they are given."""

    ask: Callable[..., Awaitable[Any]]
    prompt: Callable[..., Awaitable[Any]]
    callback: Callable[..., Awaitable[Any]]
    cancel: Callable[..., Awaitable[Any]]
    renew: Callable[..., Awaitable[Any]]
    receive: Callable[[Mapping[str, str], bytes], Awaitable[Any]]


async def moments(path: Path, flows: LeanFlow, application: Application) -> AsyncIterator[PathMoment]:
    """Play a path; yield each moment at which everything that was due is done."""
    play = await _Play.begin(path, flows, application)
    try:
        await play.ask()
        yield await play.settle()
        while not play.is_over:
            await play.act()
            yield await play.settle()
    finally:
        play.end()


class _Play:
    """A path, the engine that it is played through, and how far it has come."""

    def __init__(self, path: Path, flows: LeanFlow, application: Application, known: frozenset[str]) -> None:
        self._path = path
        self._flows = flows
        self._application = application
        self._known = known
        self._request_id: str | None = None
        self._done = 0
        self.fault: PathLeft | None = None
        clock = flows._time.given  # noqa: SLF001 - the engine under test holds them, and nobody else needs to
        self._secret = flows._secrets[0]  # noqa: SLF001 - the same
        self._caller = flows._caller  # noqa: SLF001 - the same
        if not isinstance(clock, FakeClock):
            raise InvalidRequest("flows", "or its store, has a clock that goes by itself; a path needs a FakeClock")
        if flows._workers:  # noqa: SLF001 - the same
            raise InvalidRequest("flows", "has workers of its own; a path needs workers=0")
        self._clock = clock
        self._transport: Transport = self._caller._transport  # noqa: SLF001 - the same
        self._caller._transport = _Between(self, self._transport)  # noqa: SLF001 - the same

    @classmethod
    async def begin(cls, path: Path, flows: LeanFlow, application: Application) -> _Play:
        """Stand between the engine and its transport."""
        known = frozenset([request.id async for request in flows.find()])  # opens an engine that opens itself
        return cls(path, flows, application, known)

    def end(self) -> None:
        """Stand there no more."""
        self._caller._transport = self._transport  # noqa: SLF001 - the same

    @property
    def is_over(self) -> bool:
        """Whether all its steps have happened."""
        return self._done == len(self._path.steps)

    # what happens

    async def ask(self) -> None:
        """Let the application make the request."""
        asked = await self._application.ask(**self._path.asks)
        found = asked.id if isinstance(asked, DataRequest) else asked
        if not isinstance(found, str):
            raise InvalidRequest("ask", f"must return the request, or its id, not {type(found).__name__}")
        if found in self._known:
            raise PathLeft(f"the request {found} was there before the path began; ask for another entity")
        self._request_id = found

    async def act(self) -> None:
        """Let the next step happen: time passes up to it, and who acts does."""
        step = self._path.steps[self._done]
        act = _ACTS[step.act]
        request = await self._request()
        at = act.at(request, self._clock.now())
        if at is None:
            raise await self._left(f"{act.name!r} cannot happen any more")
        self._clock.advance(at - self._clock.now())
        made = act.make(request, at)
        match act.actor:
            case Actor.webhook:
                await self._deliver(made)
            case Actor.application:
                await self._by_application(act, made, request, step)
            case Actor.leanflow:
                await self._flows.apply(made, request_id=request.id)
            case Actor.answer | Actor.clock:
                pass  # the engine finds it due

    async def _deliver(self, raw: bytes) -> None:
        headers = {"content-type": "application/json", "lean-signature": sign(self._secret, raw)}
        reply = await self._application.receive(headers, raw)
        if isinstance(reply, Reply) and reply.status != 200:
            raise PathLeft(f"a webhook was answered {reply.status}: {reply.body.decode(errors='replace')}")

    async def _by_application(self, act: Act, made: Any, request: DataRequest, step: Step) -> None:
        try:
            match act.name:
                case "cancel":
                    await self._application.cancel(request.id)
                case "renew":
                    await self._application.renew(request.id)
                case _ if isinstance(made, Hinted):
                    payload = {"status": made.status}
                    await self._application.callback(request.id, payload, prompt=made.prompt_number)
                case _:
                    await self._application.prompt(request.id)
        except NotInState:
            if step.transition is not None:
                raise

    async def settle(self) -> PathMoment:
        """Let the engine do all that is due, and hold what it did to the path."""
        await self._flows.tick()
        if self.fault is not None:
            raise self.fault
        before = self._done
        assert self._request_id is not None
        rows = (await self._flows.history(self._request_id))[1:]
        for row in rows[before:]:
            if self.is_over or not _is_same(row, self._path.steps[self._done]):
                raise await self._left(f"this came instead: {entry_line(row)}")
            self._done += 1
        if self._done == before:
            raise await self._left("nothing happened")
        return PathMoment(steps=self._path.steps[before : self._done], request=await self._request())

    async def _request(self) -> DataRequest:
        assert self._request_id is not None
        return await self._flows.get(self._request_id)

    async def _left(self, why: str) -> PathLeft:
        request = await self._request()
        told = timeline(request, await self._flows.history(request.id))
        if self.is_over:
            wanted = "nothing more"
        else:
            step = self._path.steps[self._done]
            wanted = f"{step.act} ({step.before.state} -> {step.after.state})"
        return PathLeft(f"{self._path.name}: step {self._done + 1} should have been {wanted}; {why}\n{told}")

    # what Lean answers

    async def answer(self, call: Call) -> Answer | None:
        """Return what the path has Lean answer to a call; None if the call is none of the path's."""
        request = await self._asking(call)
        if request is None:
            return None
        if call == calls.list_refreshes(request.entity_id):
            return Answer(status=200, body=b'{"content":[]}')
        done = len(await self._flows.history(request.id)) - 1
        step = self._path.steps[done] if done < len(self._path.steps) else None
        if step is None or step.actor is not Actor.answer:
            why = "has ended" if step is None else f"has {step.act} next"
            self.fault = PathLeft(f"{self._path.name}: {call.method} {call.path} was called, but the path {why}")
            raise CallFailed("the path has no answer", maybe_sent=False)
        answered = answer_to(_ACTS[step.act], request, self._clock.now())
        if answered is None:
            made = step.event
            raise CallFailed("the path has it so", maybe_sent=getattr(made, "maybe_sent", True))
        return answered

    async def _asking(self, call: Call) -> DataRequest | None:
        """Return the path's request if the call is for it."""
        if self._request_id is not None:
            request = await self._request()
            return request if not request.state.is_end and _is_for(call, request) else None
        async for request in self._flows.find():
            if request.id not in self._known and request.resource is self._path.start.resource:
                return request if _is_for(call, request) else None
        return None


def _is_for(call: Call, request: DataRequest) -> bool:
    own = [calls.place(request)]
    if request.results_id is not None or request.refresh_id is not None:
        own.append(calls.collect(request))
    if request.resource is Resource.refresh:
        own.append(calls.list_refreshes(request.entity_id))
    return any((call.method, call.path, call.query, call.body) == (o.method, o.path, o.query, o.body) for o in own)


def _is_same(row: HistoryEntry, step: Step) -> bool:
    declined = None if step.transition is not None else str(step.decision)
    return (row.tag, row.to_state, row.declined) == (step.event.tag, step.after.state, declined)


class _Between:
    """The transport of an engine that a path is played through."""

    is_open = True

    def __init__(self, play: _Play, transport: Transport) -> None:
        self._play = play
        self._transport = transport

    async def send(self, call: Call) -> Answer:
        """Answer as the path has it, or let the transport do so."""
        answer = await self._play.answer(call)
        return await self._transport.send(call) if answer is None else answer

    async def token(self, customer_id: str) -> str | None:
        """Return what the transport returns."""
        return await self._transport.token(customer_id)

    async def aclose(self) -> None:
        """Close nothing: the engine closes its transport."""
