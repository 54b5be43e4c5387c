"""A stateful test of a whole backend, ready to be pointed at one's own store, handlers or endpoints.

hypothesis makes up what happens: users who ask, come back, type wrong codes, close the window, or say that they were
let in and were not; webhooks that come twice, late, reversed, forged or never; calls that fail; acknowledgements that
are lost, so that handlers are called again; restarts; and days that pass. After each step everything that leanflow
promises is looked at, and at the end, when all is calm, that everything has ended and was acted on once.

Needs hypothesis (the extra ``testing``)::

    class Shop(ReconnectMachine):
        make_store = MemoryStore
        make_transport = MockbankTransport

        def make_handlers(self):
            self.shop = MyShop()
            return [self.shop.handlers]

        def acted(self):
            return self.shop.request_ids_of_stored_data

    TestShop = Shop.TestCase
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import attrs

try:
    from hypothesis import strategies as st
    from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
except ModuleNotFoundError as error:
    _missing = "leanflow.testing.stateful needs the extra: pip install 'leanflow-openbanking[testing]'"
    raise ModuleNotFoundError(_missing, name=error.name) from error

from leanflow._call import Answer, Call, Reply
from leanflow._flows import LeanFlow
from leanflow._handlers import Handlers
from leanflow._lean.signature import HEADER, sign
from leanflow._request import DataRequest, Resource, State
from leanflow.errors import NotInState, StoreUnavailable
from leanflow.mockbank import Disturbance, Fault, Mockbank
from leanflow.ports import Store
from leanflow.testing._arriving import Delivery, forged, malformed
from leanflow.testing._clock import FakeClock
from leanflow.testing._on_demand import WatchedFlow
from leanflow.testing._travel import Travel

__all__ = ["ReconnectMachine", "SimulatedLean"]

T = TypeVar("T")

_SPANS = tuple(timedelta(seconds=s) for s in (1, 60, 125, 1200, 7200, 90_000, 700_000))
_UNTIL_ALL_ENDS = timedelta(days=45)  # the longest wait is 30 days and a grace
_LET_IN = frozenset({State.reconnected, State.results_ready, State.fetched})
_USERS = ("user-1", "user-2", "user-3")
_CLAIMS = ("SUCCESS", "ERROR", "CANCELLED")
_DISTURBANCES: Mapping[str, Mapping[str, Any]] = {
    "webhooks come twice": {"copies": 1},
    "webhooks are lost": {"drop": True},
    "webhooks are late": {"delay": timedelta(minutes=10)},
    "webhooks overtake": {"reverse": True},
    "webhooks come after a forgery": {"forgeries": 1},
    "webhooks lack their event id": {"without_event_id": True},
    "webhooks lack their time": {"without_timestamp": True},
}
_FAULTS: Mapping[str, Callable[[], Fault]] = {
    "the bank has an issue": lambda: Fault.failed("BANK_ISSUE"),
    "Lean has an error": lambda: Fault.http(500),
    "the connection is cut": Fault.cut,
    "a proxy answers": Fault.html,
    "Lean takes its time": Fault.pending,
}


class SimulatedLean(Protocol):
    """A transport to a Mockbank that also delivers its webhooks: `leanflow_adapters.mockbank.MockbankTransport`."""

    receive: Any

    async def send(self, call: Call) -> Answer:
        """Send one call."""
        ...

    async def token(self, customer_id: str) -> str | None:
        """Return a token for the Link SDK."""
        ...

    async def aclose(self) -> None:
        """Close it."""
        ...

    def next_due(self) -> datetime | None:
        """Return when Mockbank next has something to do."""
        ...

    async def tick(self) -> int:
        """Let happen what is due."""
        ...


@attrs.define
class _Known:
    """What the test knows of a request by itself.

    Attributes:
        entity_id: whose data it is for.
        shut: whether the bank wanted the user when it was made, and has not let the user in since.
        version: the highest that was seen.
        state: the last that was seen.
    """

    entity_id: str
    shut: bool
    version: int = -1
    state: State = State.requested


class ReconnectMachine(RuleBasedStateMachine):
    """A `RuleBasedStateMachine` that walks requests through everything that may happen to them.

    Subclasses set `make_store` and `make_transport`, and override what is theirs: `make_handlers`, `acted`, and
    `receive` and `callback` if webhooks and the Link SDK's word go through endpoints of theirs. They may add rules and
    invariants: `flows`, `bank`, `clock` and `run` are there for them.
    """

    requests: Bundle[str] = Bundle("requests")

    make_store: Callable[[], Store]
    """Returns an empty store. It is opened and closed with each restart, and must keep what it was given."""

    make_transport: Callable[[Mockbank, FakeClock], SimulatedLean]
    """Returns the way to a Mockbank."""

    resources: Sequence[Resource | str] = (Resource.accounts, Resource.identity)
    """What the backend asks for; of those that are not asked for per account."""

    # what a subclass says of itself

    def make_handlers(self) -> Iterable[Handlers]:
        """Return the handlers under test."""
        return ()

    def acted(self) -> Iterable[str] | None:
        """Return the ids of the requests whose data the backend has acted on, once for each time it did; None: untold.

        What counts as acting is the backend's: storing the accounts, crediting, writing a letter.
        """
        return None

    async def receive(self, headers: Mapping[str, str], raw: bytes) -> Reply:
        """Take in one webhook. Override it to go through an endpoint."""
        return await self.flows.receive(headers, raw)

    async def callback(self, request_id: str, payload: Mapping[str, Any], prompt: int) -> None:
        """Take the Link SDK's word. Override it to go through an endpoint."""
        await self.flows.callback(request_id, payload, prompt=prompt)

    # the world

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.Runner()
        self.clock = FakeClock()
        self.bank = Mockbank(now=self.clock.now())
        self.errors: list[BaseException] = []
        self._lean = type(self).make_transport(self.bank, self.clock)
        self._store = _Forgetful(type(self).make_store())
        self._known: dict[str, _Known] = {}
        self._heard: list[tuple[Mapping[str, str], bytes]] = []
        self._entities = {user: self.bank.connect(user) for user in _USERS}
        handlers = list(self.make_handlers())
        self.flows: LeanFlow = WatchedFlow(
            store=self._store,
            transport=self._lean,
            webhook_secrets=[self.bank.webhook_secret],
            handlers=handlers,
            app=self.bank.app,
            clock=self.clock,
            workers=0,
            errors=self.errors,
            also=self._lean,
        )
        self._lean.receive = self._receive
        self._travel = Travel(self.flows, self.clock, self._lean)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the machine's loop."""
        return self._loop.run(work)

    async def _receive(self, headers: Mapping[str, str], raw: bytes) -> Reply:
        reply = await self.receive(headers, raw)
        if reply.status == 200:
            self._heard.append((headers, raw))
        return reply

    async def _pass(self, span: timedelta) -> None:
        """Pass time; work whose store is away for a moment is done later."""
        end = self.clock.now() + span
        for _ in range(100):
            try:
                await self._travel(max(end - self.clock.now(), timedelta()))
            except StoreUnavailable:
                continue
            return

    @initialize()
    def _begin(self) -> None:
        self.run(self.flows.__aenter__())

    # what happens

    @rule(
        target=requests,
        user=st.sampled_from(_USERS),
        locked_out=st.booleans(),
        number=st.integers(0, 3),
    )
    def ask(self, user: str, locked_out: bool, number: int) -> str:  # noqa: FBT001 - a rule's argument
        """The application asks for data; the bank may have logged the user out before."""
        entity_id = self._entities[user]
        if locked_out:
            self.bank.expire_session(entity_id)
        resource = self.resources[number % len(self.resources)]
        request = self.run(self.flows.request(resource, entity_id=entity_id))
        # Known only if Lean said so: a call that failed meanwhile says nothing about the user.
        shut = request.state is State.reconnect_required and not self.bank.session_live(entity_id)
        self._known.setdefault(request.id, _Known(entity_id, shut=shut))
        return request.id

    @rule(request_id=requests)
    def user_comes_back(self, request_id: str) -> None:
        """The prompt is handed out, and the user types the right code."""
        self._prompt(request_id)
        self._type(request_id, self.bank.settings.otp)

    @rule(request_id=requests, prompted=st.booleans(), does=st.sampled_from(["nothing", "types wrong", *_CLAIMS]))
    def user_does_not(self, request_id: str, prompted: bool, does: str) -> None:  # noqa: FBT001 - hypothesis names it
        """The user stays away, types a wrong code, or the front end says something that is not so: anybody can."""
        if prompted:
            self._prompt(request_id)
        if does == "types wrong":
            self._type(request_id, "wrong")
        elif does in _CLAIMS:
            request = self.run(self.flows.get(request_id))
            self.run(self.callback(request_id, {"status": does}, request.prompt_number))

    def _prompt(self, request_id: str) -> None:
        try:
            self.run(self.flows.prompt(request_id))
        except NotInState:
            return

    def _type(self, request_id: str, code: str) -> None:
        """Type a code in the Link SDK, and pass on what it calls back with."""
        request = self.run(self.flows.get(request_id))
        if request.reconnect_id is None:
            return
        outcome = self.bank.submit_otp(request.reconnect_id, code)
        if self.bank.session_live(request.entity_id):
            for known in self._known.values():
                if known.entity_id == request.entity_id:
                    known.shut = False
        if outcome.status is not None:
            self.run(self.callback(request_id, outcome.payload(), request.prompt_number))

    @rule(span=st.sampled_from(_SPANS))
    def time_passes(self, span: timedelta) -> None:
        """Webhooks are delivered, probes made, deadlines kept."""
        self.run(self._pass(span))

    @rule(what=st.sampled_from([*_DISTURBANCES, *_FAULTS]), times=st.integers(1, 2))
    def something_goes_wrong(self, what: str, times: int) -> None:
        """Something happens to the next webhooks on their way, or to the next call."""
        if what in _DISTURBANCES:
            self.bank.disturb(Disturbance(times=times, **_DISTURBANCES[what]))
        else:
            self.bank.fault(_FAULTS[what]())

    @rule(data=st.data())
    def stranger_sends(self, data: st.DataObject) -> None:
        """Nobody's webhook, or a signed one that is none: refused, and nothing changes."""
        secret = self.bank.webhook_secret
        one: Delivery = data.draw(forged(secret) | malformed().map(lambda raw: _signed(raw, secret)))
        before = self._versions()
        reply = self.run(self.receive(one.headers, one.raw))
        assert 400 <= reply.status < 500, f"a {one.kind} webhook was answered {reply.status}"
        assert self._versions() == before, f"a {one.kind} webhook moved a request"

    @rule(number=st.integers(0, 50), anew=st.booleans())
    def webhook_comes_again(self, number: int, anew: bool) -> None:  # noqa: FBT001 - hypothesis names it
        """One that was taken in is delivered once more, or to a process that knows nothing of it: nothing changes."""
        if not self._heard:
            return
        if anew:
            self.restart()
        headers, raw = self._heard[number % len(self._heard)]
        before = self._versions()
        assert self.run(self.receive(headers, raw)).status == 200
        assert self._versions() == before, "a webhook that came again moved a request"

    @rule()
    def acknowledgement_is_lost(self) -> None:
        """The process dies after a handler and before that is noted: the handler will be called again."""
        self._store.forgets = True

    @rule()
    def restart(self) -> None:
        """The process ends, and another begins on the same store."""
        self.run(self.flows.__aexit__(None, None, None))
        self.run(self.flows.__aenter__())

    @rule(request_id=consumes(requests))
    def cancel(self, request_id: str) -> None:
        """The application withdraws a request, if it may."""
        try:
            self.run(self.flows.cancel(request_id))
        except NotInState:
            return

    # what holds

    @invariant()
    def promises_hold(self) -> None:
        """Look at every request; then at who was let in, what was acted on, and what was raised."""
        for request_id in self._known:
            self._look(request_id)
        self._nobody_was_let_in()
        self._data_was_acted_on_once()
        if self.errors:  # a handler that raises would be called again for days
            raise self.errors[0]

    def _nobody_was_let_in(self) -> None:
        """Only the bank lets a user in: never the front end's word, nor a stranger's."""
        for request_id, known in self._known.items():
            assert not (known.shut and known.state in _LET_IN), f"{request_id} is {known.state}; nobody typed the code"

    def _data_was_acted_on_once(self) -> None:
        """The backend acts on data that is there, and once."""
        acted = self.acted()
        for request_id, times in Counter(() if acted is None else acted).items():
            known = self._known.get(request_id)
            assert known is not None, f"the backend acted on {request_id}, which nobody asked for"
            assert known.state is State.fetched, f"the backend acted on {request_id}, which is {known.state}"
            assert times == 1, f"the backend acted {times} times on {request_id}"

    def _look(self, request_id: str) -> DataRequest:
        request = self.run(self.flows.get(request_id))
        rows = self.run(self.flows.history(request_id))
        known = self._known[request_id]
        moves = [row for row in rows if row.declined is None]
        assert [row.version for row in moves] == list(range(request.version + 1)), "versions have holes"
        assert moves[-1].to_state == request.state, "the history ends elsewhere than the record"
        assert len({row.key for row in rows}) == len(rows), "an event was decided twice"
        assert request.version >= known.version, "a committed version is gone"
        assert not known.state.is_end or request.state is known.state, f"{known.state} was left for {request.state}"
        known.version, known.state = request.version, request.state
        return request

    def _versions(self) -> dict[str, int]:
        return {request_id: self.run(self.flows.get(request_id)).version for request_id in self._known}

    # the end

    def teardown(self) -> None:
        """Let everything come to its end in peace, and look once more."""
        try:
            self._come_to_an_end()
        finally:
            self.run(self.flows.__aexit__(None, None, None))
            self._loop.close()

    def _come_to_an_end(self) -> None:
        self.bank.calm()
        self._store.forgets = False
        self.run(self._pass(_UNTIL_ALL_ENDS))
        self.promises_hold()
        for request_id in self._known:
            request = self._look(request_id)
            assert request.state.is_end, f"{request_id} is still {request.state} after {_UNTIL_ALL_ENDS.days} days"
            if request.state is State.fetched:
                assert self.run(self.flows.results(request_id)).items, f"the data of {request_id} is gone"
        acted = self.acted()
        if acted is not None:
            fetched = {request_id for request_id, known in self._known.items() if known.state is State.fetched}
            missed = fetched - set(acted)
            assert not missed, f"the backend never acted on {', '.join(sorted(missed))}, which is fetched"


class _Forgetful:
    """A store, but that once it does not come to note what was delivered.

    Attributes:
        forgets: whether the next time is that.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.forgets = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def delivered(self, scope: Any, rows: Any) -> None:
        """Note that announcements were delivered, or fail before that."""
        if self.forgets:
            self.forgets = False
            raise StoreUnavailable("the acknowledgement was lost")
        await self._store.delivered(scope, rows)


def _signed(raw: bytes, secret: str) -> Delivery:
    return Delivery(headers={HEADER: sign(secret, raw)}, raw=raw, kind="malformed")
