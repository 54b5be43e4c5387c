"""Paths: generated from the machine, covering it, each playable through a whole engine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any, get_args

import pytest

from leanflow import Change, Handlers, LeanFlow, Policy, Resource, State
from leanflow._table import TABLE
from leanflow.errors import InvalidRequest
from leanflow.ports import Clock
from leanflow.testing import FakeClock
from leanflow.testing._paths import Covering, Path, _paths, paths
from leanflow.testing._play import PathLeft
from leanflow.testing._transitions import Transition, impossible, transitions
from leanflow_adapters.memory import MemoryStore
from tests.support.engine import engine
from tests.support.lean import Lean


@asynccontextmanager
async def playable(api: str = "v2", clock: Clock | None = None, **more: Any) -> Any:
    """An engine that a path can be played through."""
    clock = clock or FakeClock()
    async with engine(MemoryStore(), Lean(clock, api=api), clock, api=api, **more) as flows:
        yield flows


def covered(found: list[Path]) -> frozenset[Transition]:
    """What paths take together."""
    return frozenset[Transition]().union(*(path.covers for path in found))


# --- what they cover ---------------------------------------------------------------------------------------------


def test_paths_take_every_row_of_the_table() -> None:
    """All rows, and every transition but those that cannot be, each with its reason."""
    found = covered(paths())
    assert {transition.row for transition in found} == set(range(len(TABLE)))
    cannot = {t for t in transitions() if all(t in impossible(r) for r in (Resource.accounts, Resource.refresh))}
    assert set(transitions()) - found == cannot
    assert [str(transition) for transition in cannot] == ["reconnected --action_due [gives_up]--> failed"]


@pytest.mark.parametrize("deadlines", [True, False])
@pytest.mark.parametrize("resource", [Resource.accounts, Resource.refresh])
def test_what_cannot_be_is_what_no_search_finds(resource: Resource, deadlines: bool) -> None:
    """The list of impossible transitions is neither too long nor too short, for each kind of request."""
    found = covered(paths(resource=resource, deadlines=deadlines, covering="decisions"))
    assert set(transitions()) - found == set(impossible(resource, deadlines=deadlines))
    assert impossible(resource.value, deadlines=deadlines) == impossible(resource, deadlines=deadlines)


def test_a_path_to_each_state() -> None:
    """Covering states, every state is entered; covering rows takes fewer paths than covering transitions."""
    entered = {step.after.state for path in paths(covering="states") for step in path.steps}
    assert entered == set(State)
    assert len(paths(covering="states")) < len(paths(covering="rows")) < len(paths(covering="transitions"))
    assert {t.row for t in covered(paths(covering="rows"))} == set(range(len(TABLE)))


@pytest.mark.parametrize("to", list(State))
def test_all_paths_end_where_they_are_wanted(to: State) -> None:
    """With `to` every path ends there, and together they take what can lie on the way."""
    found = paths(to=to)
    assert {path.request.state for path in found} == {to}
    assert paths(to=[to, State.fetched])
    taken = covered(found)
    leaving = {transition for transition in taken if transition.from_state.is_end and transition.trigger != "renewed"}
    assert not leaving


@pytest.mark.parametrize("to", list(State))
def test_paths_to_a_state_take_all_that_can_lie_on_the_way(to: State) -> None:
    """No path that any other question brought to light ends there by a transition that these do not take."""
    others = [*paths(), *paths(covering="decisions"), *(path for state in State for path in paths(to=state))]
    on_the_way = covered([path for path in others if path.request.state is to])
    assert on_the_way <= covered(paths(to=to))


def test_paths_are_short_and_end_at_rest() -> None:
    """None is longer than the longest budget asks for; after its last step nothing is due at that time."""
    for path in paths():
        last = path.steps[-1]
        assert len(path.steps) <= 9
        assert path.request.due_at is None or path.request.due_at > last.at
        assert [step.before.state for step in path.steps[1:]] == [step.after.state for step in path.steps[:-1]]


def test_paths_include_deadlines_and_retries() -> None:
    """There is one that waits thirty days for its user, one that spends a budget, and one that gives up twice."""
    by_name = {path.name: path for path in paths()}
    expired = by_name["requested-reconnect_required-awaiting_user-expired(reconnect,prompt,pending-at-the-end,age)"]
    assert (expired.request.updated_at - expired.start.created_at).days == 30
    spent = by_name["requested-failed(5x-bank-issue,silence)"]
    assert spent.request.failure is not None
    assert spent.request.failure.code == "NO_ANSWER"
    twice = by_name["requested-failed(pending,pending-at-last,wait-over,pending,pending-at-last,wait-over)"]
    assert twice.request.placements == 1


def test_names_are_unique_and_do_not_change() -> None:
    """The same names in each process, whatever its hash seed, and none twice."""
    names = [path.name for path in paths()]
    assert len(set(names)) == len(names)
    code = "from leanflow.testing._paths import paths; print(*(p.name for p in paths()), sep='\\n')"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    assert said.stdout.split() == names


def test_a_policy_of_ones_own_is_kept_to() -> None:
    """Budgets and waits are those of the policy: with one round the loop is shorter."""
    ends = [path.request for path in paths(to="failed", policy=Policy(max_rounds=1))]
    loops = [end for end in ends if end.failure is not None and end.failure.code == "RECONNECT_LOOP"]
    assert loops
    assert max(end.rounds_prompted for end in loops) == 1


@pytest.mark.parametrize(
    "wrong", [{"to": "done"}, {"covering": "everything"}, {"resource": "money"}, {"resource": "refresh", "api": "v1"}]
)
def test_what_paths_do_not_know_is_refused(wrong: dict[str, Any]) -> None:
    """A state, a word or a resource that there is not."""
    with pytest.raises(InvalidRequest):
        paths(**wrong)


def test_a_path_tells_itself() -> None:
    """As a timeline, and as an export that looks like an engine's."""
    [path] = [path for path in paths(to="fetched") if path.name.endswith("(pending,reconnect,prompt,nudge,ok)")] or [
        path for path in paths() if path.name.endswith("(reconnect,prompt,nudge,ok)")
    ]
    assert "awaiting_user -> fetched" in path.timeline()
    assert [row["to_state"] for row in path.export()["history"]][-1] == "fetched"
    assert repr(path) == f"Path(name={path.name!r})"


# --- playing them ------------------------------------------------------------------------------------------------


def _sets() -> Iterator[dict[str, Any]]:
    yield from ({"covering": covering} for covering in get_args(Covering))
    yield from ({"to": state} for state in State)
    yield {"covering": "decisions", "api": "v1"}
    yield {"resource": "transactions", "deadlines": False}


@pytest.mark.parametrize("chosen", list(_sets()), ids=str)
async def test_an_engine_goes_the_way_of_every_path(chosen: dict[str, Any]) -> None:
    """Played through a whole engine, the history has the path's steps, one for one."""
    for path in paths(**chosen):
        async with playable(path.start.api) as flows:
            request = await path.play(flows)
            history = await flows.history(request.id)
        steps = [(step.event.tag, step.before.state, step.after.state) for step in path.steps]
        assert [(row.tag, row.from_state, row.to_state) for row in history[1:]] == steps
        assert request.state is path.request.state


async def test_moments_are_when_nothing_more_is_due() -> None:
    """Handlers have been called by then, and each step belongs to one moment."""
    heard: list[str] = []
    handlers = Handlers()

    @handlers.on(name="listen")
    async def listen(change: Change, _flows: LeanFlow) -> None:
        heard.append(change.to_state)

    [path] = [path for path in paths() if path.name.endswith("(reconnect,entity-reconnected,results-ready,ok)")]
    async with playable(handlers=[handlers]) as flows:
        seen = [(moment.request.state, len(moment.steps), list(heard)) async for moment in path.moments(flows)]
    assert seen == [
        ("reconnect_required", 1, ["requested", "reconnect_required"]),
        ("reconnected", 1, ["requested", "reconnect_required", "reconnected"]),
        ("fetched", 2, ["requested", "reconnect_required", "reconnected", "results_ready", "fetched"]),
    ]


async def test_code_of_the_user_is_driven_along() -> None:
    """What the application does in a path is done by the functions that are handed in."""
    done: list[str] = []
    [path] = [path for path in paths() if path.name.endswith("(reconnect,prompt,entity-live,hint-cancelled,ok)")]
    async with playable() as flows:

        async def ask(**asked: Any) -> str:
            done.append(f"ask {asked['resource']}")
            return str((await flows.request(**{**asked, "entity_id": "theirs", "reference": "user-17"})).id)

        async def prompt(request_id: str) -> None:
            done.append(f"prompt {(await flows.prompt(request_id)).number}")

        async def callback(request_id: str, payload: dict[str, Any], *, prompt: int) -> None:
            done.append(f"callback {payload['status']}")
            await flows.callback(request_id, payload, prompt=prompt)

        request = await path.play(flows, ask=ask, prompt=prompt, callback=callback)
    assert done == ["ask accounts", "prompt 1", "callback CANCELLED"]
    assert (request.reference, request.state) == ("user-17", State.fetched)


async def test_webhooks_come_signed_to_the_users_endpoint() -> None:
    """`receive` gets headers and raw body as a server would; what it does not pass on never happened."""
    [path] = [path for path in paths() if path.name.endswith("(reconnect,results-ready,ok)")]
    async with playable() as flows:

        async def endpoint(headers: dict[str, str], raw: bytes) -> int:
            return int((await flows.receive(headers, raw)).status)

        assert (await path.play(flows, receive=endpoint)).state is State.fetched

    async def deaf(_headers: dict[str, str], _raw: bytes) -> None: ...

    async with playable() as flows:
        with pytest.raises(PathLeft, match=r"step 2 should have been results-ready .*; nothing happened\nrequest "):
            await path.play(flows, receive=deaf)

    async with playable() as flows:
        with pytest.raises(PathLeft, match="a webhook was answered 401"):
            await path.play(flows, receive=lambda _headers, raw: flows.receive({}, raw))


async def test_code_that_goes_another_way_is_told() -> None:
    """A handler that acts where the path has somebody else act: the failure shows the step and the timeline."""
    handlers = Handlers()

    @handlers.on(State.reconnect_required, name="hasty")
    async def hasty(change: Change, flows: LeanFlow) -> None:
        await flows.cancel(change.request.id)

    [path] = [path for path in paths() if path.name.endswith("(reconnect,prompt,nudge,ok)")]
    async with playable(handlers=[handlers]) as flows:
        with pytest.raises(PathLeft) as caught:
            await path.play(flows)
    assert "step 2 should have been prompt (reconnect_required -> awaiting_user)" in str(caught.value)
    assert "this came instead: cancelled: reconnect_required -> cancelled" in str(caught.value)


async def test_a_call_that_the_path_does_not_have_is_told() -> None:
    """As when the code asks for other data, or again for what is there."""
    [path] = [path for path in paths() if path.name.endswith("(reconnect,results-ready,ok)")]
    async with playable() as flows:

        async def other(**asked: Any) -> str:
            return str((await flows.request("identity", entity_id=asked["entity_id"])).id)

        with pytest.raises(PathLeft, match=r"step 1 should have been reconnect .* this came instead: answered_ok"):
            await path.play(flows, ask=other)

    async with playable() as flows:
        there = await flows.request(**path.asks)
        with pytest.raises(PathLeft, match="was there before the path began"):
            await path.play(flows, ask=lambda **_: flows.get(there.id))


async def test_the_transport_stays_the_engines_own() -> None:
    """Calls for other requests go to it while a path is played, and all of them afterwards."""
    [path] = [path for path in paths() if path.name.endswith("(reconnect,results-ready,ok)")]
    clock = FakeClock()
    lean = Lean(clock)
    async with engine(MemoryStore(), lean, clock) as flows:

        async def ask(**asked: Any) -> Any:
            assert (await flows.request("identity", entity_id="somebody-else")).state is State.fetched
            return await flows.request(**asked)

        await path.play(flows, ask=ask)
        assert (await flows.request("accounts", entity_id="later")).state is State.fetched
    assert lean.placed == {"somebody-else": 1, "later": 1}


async def test_only_a_still_engine_can_play() -> None:
    """Time must be the path's to move, and nothing may go on behind its back."""
    path = paths(covering="states")[0]
    async with playable(workers=1) as flows:
        with pytest.raises(InvalidRequest, match="workers=0"):
            await path.play(flows)
    async with engine(MemoryStore(), Lean(FakeClock()), None) as flows:
        with pytest.raises(InvalidRequest, match="FakeClock"):
            await path.play(flows)
    async with playable() as flows:
        with pytest.raises(InvalidRequest, match="sing"):
            await path.play(flows, sing=flows.prompt)
        with pytest.raises(InvalidRequest, match="ask"):
            await path.play(flows, ask=lambda **_: flows.counts())


def test_paths_are_found_once() -> None:
    """The search is made once for the same question; each caller gets a list of its own."""
    first = paths(covering="states")
    first.clear()
    assert paths(covering="states")
    assert _paths.cache_info().hits
