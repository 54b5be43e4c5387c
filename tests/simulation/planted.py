"""Mistakes planted in the engine, to see whether the simulation finds them: each in a process of its own.

``python -m tests.simulation.planted`` prints a table: the mistake, the first seed that finds it, the rule it breaks.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any

import attrs

from leanflow import LeanFlow, Reply, State, _changes as change, _receiving, _steps, calls
from leanflow._caller import Caller
from leanflow._effects import Declined, Reason
from leanflow._lean.webhooks import parse_webhook
from leanflow._machine import RULES, Rules, decide_by
from leanflow._relay import Relay
from leanflow._request import IdKind
from leanflow._steps import Heard, Stepped, Steps
from leanflow._table import TABLE, Row
from leanflow.events import Hinted, ResultsReady
from leanflow.ports import Outcome
from leanflow.testing.simulation import SimulationFailed, simulate
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.memory._data import Data
from leanflow_adapters.mockbank import MockbankTransport

__all__ = ["FAULTS"]


def inbox_before_version() -> None:
    """The inbox row is written before the versions are compared: the loser of a race loses its event."""
    commit = Data.commit

    def marking(self: Data, step: Any) -> Any:
        done = commit(self, step)
        if done.outcome is Outcome.conflict:
            self.inbox[step.scope, step.inbox.key] = step.inbox.at
        return done

    patch(Data, "commit", marking)


def lease_not_renewed() -> None:
    """Nobody prolongs the lease of a call under way."""

    async def never(_self: Caller) -> None:
        await asyncio.get_running_loop().create_future()

    patch(Caller, "keep_leases", never)


def dedupe_outside_the_transaction() -> None:
    """Whether an event was seen is asked before the step, and not again in its transaction."""
    apply, hear, commit = Steps._apply, Steps.hear, Data.commit

    async def asking(self: Any, request_id: str, event: Any, release: Any, *, announce: bool) -> Any:
        if await self._store.seen(self._scope, event.key):
            return Stepped(request=await self.load(request_id), decision=Declined(reason=Reason.duplicate))
        return await apply(self, request_id, event, release, announce=announce)

    async def asking_first(self: Any, event: Any, *, announce: bool = True) -> Any:
        if await self._store.seen(self._scope, event.key):
            return Heard(duplicate=True)
        return await hear(self, event, announce=announce)

    def trusting(self: Data, step: Any) -> Any:
        self.inbox.pop((step.scope, step.inbox.key), None)
        return commit(self, step)

    patch(Steps, "_apply", asking)
    patch(Steps, "hear", asking_first)
    patch(Data, "commit", trusting)


def late_event_revives_an_end() -> None:
    """`results.ready` leads out of `failed` and `cancelled`."""
    add_row(Row("results_ready", (State.failed, State.cancelled), State.results_ready, (), change.fetch_now))


def callback_taken_as_proof() -> None:
    """The Link SDK's SUCCESS leads to `reconnected`."""

    def succeeded(_request: Any, event: Any, _policy: Any) -> bool:
        return isinstance(event, Hinted) and event.status == "SUCCESS"

    add_row(Row("hinted", (State.awaiting_user,), State.reconnected, (succeeded,), change.await_results))


def fetch_before_commit() -> None:
    """The results are fetched while the webhook that announces them is taken in, and not under a claim."""
    receive = LeanFlow.receive

    async def fetching(self: Any, headers: Any, raw_body: bytes) -> Reply:
        event = parse_webhook(raw_body)
        if isinstance(event, ResultsReady):
            for request_id in await self._steps.owners(IdKind.results, event.results_id):
                await self._caller._collect(await self._steps.load(request_id))
        return await receive(self, headers, raw_body)

    patch(LeanFlow, "receive", fetching)


def answered_before_commit() -> None:
    """200 is answered before the webhook is stored."""
    hear = Steps.hear

    async def later(self: Any, event: Any, *, announce: bool = True) -> Heard:
        self.later = asyncio.ensure_future(hear(self, event, announce=announce))
        return Heard()

    patch(Steps, "hear", later)


def failing_handler_counts_as_told() -> None:
    """A handler that raises is not called again."""

    async def swallow(self: Any, deliver: Any, row: Any) -> None:
        with suppress(Exception):
            await deliver(row)

    patch(Relay, "_try", swallow)


def sent_before_it_is_claimed() -> None:
    """A request is placed before it is stored."""
    create = LeanFlow._create

    async def sending(self: Any, made: Any, renews: Any = None, renewal: Any = None) -> Any:
        await self._caller._ask(calls.place(made))
        return await create(self, made, renews, renewal)

    patch(LeanFlow, "_create", sending)


def version_not_compared() -> None:
    """The last writer wins."""
    commit = Data.commit

    def careless(self: Data, step: Any) -> Any:
        slot = None if step.request_id is None else self.slot(step.scope, step.request_id)
        if slot is not None:
            step = attrs.evolve(step, version=slot.request.version, call_no=slot.request.call_no)
        return commit(self, step)

    patch(Data, "commit", careless)


def signature_not_checked() -> None:
    """Whatever comes is believed."""
    patch(_receiving, "verify", lambda *_: True)


def twins() -> None:
    """A second request for the same is inserted."""
    create = Data._create

    def careless(self: Data, creation: Any) -> Any:
        for slot in self.requests.values():
            self.change(slot, slot.request.moved({"fingerprint": slot.request.id}))
        return create(self, creation)

    patch(Data, "_create", careless)


FAULTS: Mapping[str, Callable[[], None]] = MappingProxyType(
    {
        plant.__name__: plant
        for plant in (
            inbox_before_version,
            lease_not_renewed,
            dedupe_outside_the_transaction,
            late_event_revives_an_end,
            callback_taken_as_proof,
            fetch_before_commit,
            answered_before_commit,
            failing_handler_counts_as_told,
            sent_before_it_is_claimed,
            version_not_compared,
            signature_not_checked,
            twins,
        )
    }
)


def patch(where: Any, name: str, what: Any) -> None:
    """Plant it; this process ends soon."""
    setattr(where, name, what)


def add_row(*rows: Row) -> None:
    """Decide by a table that has these rows before all others."""
    rules = attrs.evolve(Rules.of((*rows, *TABLE)), early=RULES.early)
    patch(_steps, "decide", partial(decide_by, rules))


def first_seed(seeds: int) -> tuple[int, str, str] | None:
    """Return the first seed that finds what is planted, the rule that it breaks, and how."""
    for seed in range(seeds):
        try:
            simulate(seed, store=MemoryStore().reopen, transport=MockbankTransport)
        except SimulationFailed as failed:
            rule, what = failed.run.violations[0]
            return seed, rule, what
    return None


def main() -> None:
    """Plant one mistake here, or each in a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("fault", nargs="?", choices=[*FAULTS, "none"])
    parser.add_argument("--seeds", type=int, default=200)
    chosen = parser.parse_args()
    if chosen.fault is None:
        for name in FAULTS:
            subprocess.run([sys.executable, "-m", "tests.simulation.planted", name], check=False)
        return
    if chosen.fault != "none":
        FAULTS[chosen.fault]()
    found = first_seed(chosen.seeds)
    if found is None:
        print(f"{chosen.fault:32} not found in {chosen.seeds} seeds")
        raise SystemExit(1)
    print(f"{chosen.fault:32} seed {found[0]:4}  {found[1]}: {found[2]}")


if __name__ == "__main__":
    main()
