"""The world of one run: clock, Lean, network, users, processes, and what happens to them. All from one seed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import attrs

from leanflow._call import Reply
from leanflow._handlers import Handlers
from leanflow._lean.signature import sign
from leanflow._lean.webhooks import parse_webhook
from leanflow._policy import Policy
from leanflow.mockbank import Delivery, Mockbank
from leanflow.ports import Clock, Outcome, Store, Transport
from leanflow.testing._clock import FakeClock
from leanflow.testing.simulation._loop import Dice, SimulatedLoop
from leanflow.testing.simulation._oracle import Oracle
from leanflow.testing.simulation._ports import PROCESS
from leanflow.testing.simulation._process import Process
from leanflow.testing.simulation._turns import Turns

__all__ = ["Link", "Moment", "Receive", "StoreMaker", "TransportMaker", "World"]

Receive = Callable[[Mapping[str, str], bytes], Any]
StoreMaker = Callable[[], Store]
"""Returns one more handle on the same data: a restart, or another process."""


class TransportMaker(Protocol):
    """Makes the way to Lean, as `leanflow_adapters.mockbank.MockbankTransport` is made."""

    def __call__(self, bank: Mockbank, clock: Clock, /, *, receive: Receive) -> Transport:
        """Return a transport to this bank; `receive` takes what is delivered before the answer of a call."""
        ...


_TRIPS = 6
"""Percent of the calls of handlers that fail, whatever the weather: an application's own trouble does not blow over."""


@attrs.frozen(kw_only=True)
class Moment:
    """One thing that happened in a run.

    Attributes:
        step: of the run; 0 is its beginning.
        at: on the simulated clock.
        who: a process (``p1``), ``user``, ``app``, ``lean``, ``net`` or ``time``.
        what: in words.
        fault: whether it was something that goes wrong.
    """

    step: int
    at: datetime
    who: str
    what: str
    fault: bool = False


@attrs.frozen
class Link:
    """A prompt that an application handed to its user."""

    request_id: str
    number: int
    reconnect_id: str


class World:
    """Everything of one run."""

    def __init__(
        self,
        seed: int,
        loop: SimulatedLoop,
        clock: FakeClock,
        *,
        store: StoreMaker,
        transport: TransportMaker,
        handlers: Iterable[Handlers],
        policy: Policy,
        processes: int,
    ) -> None:
        self.seed = seed
        self.loop = loop
        self.clock = clock
        self.policy = policy
        self.turns = Turns()
        self.dice = Dice(seed, "world")
        self.moments: list[Moment] = []
        self.violations: list[tuple[str, str]] = []
        self.error: Exception | None = None
        self.oracle = Oracle(self.violate, clock.now, policy.lease)
        self.handlers = [_oracles(self.oracle), *handlers]
        self.number = 0
        self.is_calm = False
        self.outages: Counter[str] = Counter()
        self.jumped = 0
        self.slowness = 0
        self.tripped: set[tuple[str, object]] = set()
        self.switched_off: dict[str, None] = {}
        self.revoked: dict[str, None] = {}
        self.patient_until = clock.now()
        self.api = self.dice.pick(("v1", "v2", "v2"))
        self.bank = _bank(seed, self.dice, clock.now())
        self.entities = [
            self.bank.connect(f"customer {n}", username=f"mockbank_user_{1 + 2 * (n % 2)}", now=clock.now())
            for n in range(3)
        ]
        self.transport = transport(self.bank, clock, receive=self._deliver_early)
        self.network: list[Delivery] = []
        self.heard: list[Delivery] = []
        self.links: list[Link] = []
        self.visits: set[tuple[str, int]] = set()
        self.tries: Counter[str] = Counter()
        self._store = store
        self._labels: dict[str, str] = {}
        self.wanted = processes
        self.processes: list[Process] = []
        self._started = 0
        loop.set_task_factory(_factory)
        loop.set_exception_handler(self._unheard)

    # what is noticed

    def _unheard(self, _loop: asyncio.AbstractEventLoop, facts: Mapping[str, Any]) -> None:
        """See an error that nobody waits for; that the tasks of the dead were cancelled is none."""
        error = facts.get("exception")
        if error is not None and not isinstance(error, asyncio.CancelledError):
            self.violate("errors", f"{type(error).__name__} ended a task that nobody waits for: {error}")

    def violate(self, rule: str, what: str) -> None:
        """Note that something must not have been."""
        self.violations.append((rule, self.labelled(what)))
        self.tell("!!", f"{rule}: {what}", fault=True)

    def tell(self, who: str, what: str, *, fault: bool = False, answer: bytes | None = None) -> None:
        """Add a moment to the timeline."""
        if answer is not None:
            what = f"{what} {_gist(answer)}"
        self.moments.append(Moment(step=self.number, at=self.clock.now(), who=who, what=what, fault=fault))

    def label(self, name: str, kind: str) -> str:
        """Return a short name, the same for the same thing."""
        known = self._labels.get(name)
        if known is None:
            number = 1 + sum(label.startswith(kind) for label in self._labels.values())
            known = self._labels[name] = f"{kind}{number}"
        return known

    def labelled(self, text: str) -> str:
        """Return a text with its long ids replaced by short names."""
        for name, label in self._labels.items():
            text = text.replace(name, label)
        return text

    def saw(self, process: Process, name: str, args: tuple[Any, ...], done: Any) -> None:
        """Tell of what the store did, where it is worth a line."""
        if name == "create":
            which = self.label(done.request.id, "r")
            self.tell(process.name, f"{'made' if done.is_new else 'found'} {which}: {done.request.resource}")
        elif name == "commit":
            self._saw_commit(process, args[0], done)
        elif name == "claim" and done:
            which = ", ".join(self.label(one.request.id, "r") for one in done)
            self.tell(process.name, f"claimed {which}")

    def _saw_commit(self, process: Process, step: Any, done: Any) -> None:
        what = step.inbox.tag
        if step.request_id is not None:
            what = f"{self.label(step.request_id, 'r')} {what}"
        if done.outcome is not Outcome.committed:
            what += f": {done.outcome}"
        elif step.inbox.parking is not None:
            what += ": parked"
        elif step.history is not None:
            row = step.history
            moved = row.to_state if row.from_state == row.to_state else f"{row.from_state} -> {row.to_state}"
            what += f": {moved} v{row.version}" if row.declined is None else f": declined, {row.declined}"
        self.tell(process.name, what)

    # processes

    async def come_up(self) -> None:
        """Start processes until there are as many as wanted."""
        while len(self.processes) < self.wanted:
            self._started += 1
            handle = self._store()
            await handle.open()
            process = Process(self, self._started, handle)
            self.processes.append(process)
            self.tell(process.name, "starts")
            process.start()

    async def bury(self) -> None:
        """Take dead processes away, with all that they have."""
        for process in [one for one in self.processes if one.is_dead]:
            self.processes.remove(process)
            process.kill()
            self.oracle.buried(process.name)
            await self.loop.settle()
            await process.store.aclose()

    @property
    def up(self) -> list[Process]:
        """The processes that have come up and are not frozen."""
        now = self.clock.now()
        return [p for p in self.processes if p.is_up and (p.frozen_until is None or p.frozen_until <= now)]

    async def settle(self) -> None:
        """Let everything come to where it waits; take the dead away, and start others in their place."""
        await self.loop.settle()
        if any(one.is_dead for one in self.processes):
            await self.bury()
        if len(self.processes) < self.wanted:
            await self.come_up()
            await self.loop.settle()

    def slow_answer(self, what: str) -> datetime | None:
        """Return until when an answer is on its way, if it is to be slow."""
        seconds, self.slowness = self.slowness, 0
        if not seconds:
            return None
        self.tell("net", f"{what}: the answer takes {seconds} s", fault=True)
        self.patient_until = self.clock.now() + timedelta(seconds=seconds)
        return self.patient_until

    @property
    def is_patient(self) -> bool:
        """Whether a slow call is under way, and time passes only as everybody is done: its lease must last."""
        return self.clock.now() < self.patient_until

    def trips(self, name: str, key: object) -> bool:
        """Return whether a handler fails this time, in good weather too: once at most for each thing it is told."""
        if (name, key) in self.tripped or not self.dice.chance(_TRIPS):
            return False
        self.tripped.add((name, key))
        return True

    def is_out(self, port: str) -> bool:
        """Return whether a port is down for this one, too."""
        if not self.outages[port]:
            return False
        self.outages[port] -= 1
        return True

    # time

    def advance(self, delta: timedelta) -> None:
        """Pass time; whoever could not prolong its leases meanwhile is excused."""
        if abs(delta) >= self.policy.lease / 4:
            self.oracle.excuse()
        for turn in self.turns.waiting():
            if turn.port == "store":
                self.oracle.excuse(turn.process.name)
        self.clock.advance(delta)

    # the network

    def take_deliveries(self) -> None:
        """Take from Lean what it sends now."""
        for delivery in self.bank.deliveries_due(self.clock.now()):
            self._took(delivery)
            self.network.append(delivery)

    def _took(self, delivery: Delivery) -> None:
        if self.is_genuine(delivery):
            self.oracle.lean_said(json.loads(delivery.body))

    def is_genuine(self, delivery: Delivery) -> bool:
        """Return whether it is signed as Lean signs."""
        return delivery.headers.get("lean-signature") == sign(self.bank.webhook_secret, delivery.body)

    async def bring(self, process: Process, delivery: Delivery, *, settle: bool = True) -> Reply | None:
        """Bring a webhook to a process, in it; tell Lean what came back."""
        status = None
        try:
            reply = await process.ask(process.flows.receive(delivery.headers, delivery.body))
            status = None if reply is None else reply.status
        finally:
            if settle:
                self.bank.delivered(delivery.id, status, self.clock.now())
        if status is not None:
            self.replied(process, delivery, status)
        return Reply(status=status) if status is not None else None

    def replied(self, process: Process, delivery: Delivery, status: int) -> None:
        """See what a process answered to a webhook."""
        is_genuine = self.is_genuine(delivery)
        self.tell(process.name, f"answers {status} to {'' if is_genuine else 'badly signed '}{delivery.type}")
        key = parse_webhook(delivery.body).inbox_key
        self.oracle.replied(key, delivery.body, status, genuine=is_genuine)
        if delivery.forged and key.startswith("event:"):  # without one, its bytes may be those of a real one
            self.oracle.refused.add(key)
        elif is_genuine:
            self.heard.append(delivery)

    async def _deliver_early(self, headers: Mapping[str, str], body: bytes) -> Reply:
        """Deliver what Lean sends before the answer of a call."""
        if not self.up:
            return Reply(status=502)
        process = self.dice.pick(self.up)
        told = json.loads(body)
        delivery = Delivery(
            id="", url="", headers=headers, body=body, attempt=1, type=told["type"], event_id="", lane="", early=True
        )
        self._took(delivery)
        bringing = process.run(self.bring(process, delivery, settle=False))
        await asyncio.wait({bringing})
        reply = None if bringing.cancelled() else bringing.result()
        return reply if reply is not None else Reply(status=502)


def _oracles(oracle: Oracle) -> Handlers:
    """Return a handler that hears of everything."""
    handlers = Handlers()

    @handlers.on(name="oracle")
    async def hear(change: Any, _flows: Any) -> None:
        oracle.heard("oracle", change.key, change.request.id, skipped=change.out_of_order)

    return handlers


def _bank(seed: int, dice: Dice, now: datetime) -> Mockbank:
    """Return a Lean that behaves in one of the ways that its documents leave open."""
    return Mockbank(
        seed,
        now,
        region=dice.pick(("uae", "ksa")),
        siblings_become_ready=dice.chance(30),
        duplicates_refused=dice.chance(50),
        webhook_event_ids=dice.chance(80),
        events_newest_first=dice.chance(50),
        deauthenticates=dice.pick(("otp_users", "all", "none")),
        consent_shape=dice.pick(("status_403", "envelope", "failed_403")),
        refresh_done=dice.pick(("FINISHED", "OK")),
        log_size=10,
    )


def _gist(body: bytes) -> str:
    """Return what an answer says, in a word or two."""
    try:
        told = json.loads(body)
    except ValueError:
        return f"({len(body)} bytes that are no JSON)"
    if not isinstance(told, dict):
        return ""
    detail = told.get("status_detail")
    code = detail.get("granular_status_code") if isinstance(detail, dict) else None
    words = (word for word in (told.get("status"), code) if isinstance(word, str))
    return " ".join(dict.fromkeys(words))


def _factory(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **more)
    process = PROCESS.get()
    if process is not None:
        process.adopt(task)
    return task
