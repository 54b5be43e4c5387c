"""What the fixtures hand out, in this very run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from leanflow import Change, Handlers, LeanFlow, Policy, Reply, Resource, State, verify
from leanflow.errors import InvalidRequest
from leanflow.events import EntityCreated, OtherWebhook
from leanflow.mockbank import Fault, Mockbank
from leanflow.testing import ChangeAt, FakeClock, FlowsAt, Signer, Travel
from leanflow_adapters.mockbank import MockbankTransport

_heard: list[Any] = []
_handlers = Handlers()


@_handlers.on(State.fetched)
async def _arrived(change: Change, flows: LeanFlow) -> None:
    _heard.append((change.request.region, bool((await flows.results(change.request.id)).items)))


class TestOverrides:
    """Fixtures of the same names, as in a user's ``conftest.py``."""

    @pytest.fixture
    def leanflow_handlers(self) -> Handlers:
        """The handlers under test."""
        return _handlers

    @pytest.fixture
    def mockbank(self, leanflow_clock: FakeClock) -> Mockbank:
        """A bank elsewhere."""
        return Mockbank(now=leanflow_clock.now(), region="ksa", seed=7)

    @pytest.fixture
    def leanflow_settings(self, leanflow_settings: dict[str, Any]) -> dict[str, Any]:
        """A policy of one's own."""
        return {**leanflow_settings, "policy": Policy(user_timeout=timedelta(minutes=5))}

    async def test_each_part_can_be_overridden(
        self, flows: LeanFlow, flows_at: FlowsAt, travel: Travel, change_at: ChangeAt
    ) -> None:
        """Handlers, bank and settings; the others follow them."""
        _heard.clear()
        await flows_at(State.results_ready)
        await travel(seconds=1)
        assert _heard == [("ksa", True)]
        assert flows.policy.user_timeout == timedelta(minutes=5)
        assert change_at(State.fetched).request.region == "ksa"


async def test_a_handler_may_be_added_in_the_test(
    leanflow_handlers: Handlers, flows_at: FlowsAt, travel: Travel
) -> None:
    """The engine opens at its first use, and takes what is there by then."""
    states = []

    @leanflow_handlers.on()
    def heard(change: Change, _flows: LeanFlow) -> None:
        states.append(change.to_state)

    await flows_at(State.cancelled)
    await travel(seconds=1)
    assert states == [State.requested, State.reconnect_required, State.cancelled]


async def test_webhooks_may_go_through_the_application(
    flows: LeanFlow, flows_at: FlowsAt, travel: Travel, leanflow_transport: MockbankTransport
) -> None:
    """Where they go is an attribute of the transport."""
    came: list[bytes] = []

    async def endpoint(headers: Mapping[str, str], raw: bytes) -> Reply:
        came.append(raw)
        return await flows.receive(headers, raw)

    leanflow_transport.receive = endpoint
    request = await flows_at("results_ready")
    await travel(seconds=1)
    assert (await flows.get(request.id)).state is State.fetched
    assert len(came) == 3
    assert b"entity.created" in came[0]


async def test_a_slow_answer_takes_its_time(
    flows: LeanFlow, mockbank: Mockbank, leanflow_clock: FakeClock, travel: Travel
) -> None:
    """It moves the clock by what it takes, instead of waiting for somebody who does."""
    began = leanflow_clock.now()
    mockbank.fault(Fault.slow(30))
    request = await flows.request("accounts", entity_id=mockbank.connect())
    assert leanflow_clock.now() - began == timedelta(seconds=30)
    await travel(seconds=1)
    assert (await flows.get(request.id)).state is State.fetched


async def test_travel_takes_a_timedelta_or_words(travel: Travel, leanflow_clock: FakeClock) -> None:
    """Both, too; nothing at all is no time."""
    began = leanflow_clock.now()
    await travel(timedelta(days=1))
    await travel(days=1, hours=2)
    await travel(timedelta(minutes=1), seconds=1)
    await travel()
    assert leanflow_clock.now() - began == timedelta(days=2, hours=2, minutes=1, seconds=1)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("resource", [Resource.accounts, Resource.transactions, Resource.refresh])
async def test_a_request_is_where_it_was_to_be(
    flows: LeanFlow, flows_at: FlowsAt, state: State, resource: Resource
) -> None:
    """For each state and each kind of resource: by events, each of them in its history."""
    request = await flows_at(state, resource=resource, reference="user-17")
    assert (request.state, request.resource, request.reference) == (state, resource, "user-17")
    moves = [row for row in await flows.history(request.id) if row.declined is None]
    assert [row.version for row in moves] == list(range(request.version + 1))
    assert moves[-1].to_state == state


@pytest.mark.parametrize("code", ["BANK_ISSUE", "EU_ACCOUNT_LOCKED", "SOMETHING_NEW"])
async def test_a_request_fails_as_it_was_to(flows: LeanFlow, flows_at: FlowsAt, code: str) -> None:
    """At once, or when its budget is spent; and its renewal is not haunted."""
    request = await flows_at(State.failed, code=code)
    assert request.failure is not None
    assert request.failure.code == code
    assert (await flows.renew(request.id)).state is State.fetched


async def test_the_rest_of_the_way_is_open(flows: LeanFlow, flows_at: FlowsAt, travel: Travel) -> None:
    """From each live state but those that wait for the user time alone brings the data."""
    for state in (State.reconnected, State.results_ready):
        request = await flows_at(state)
        await travel(minutes=2)
        assert (await flows.get(request.id)).state is State.fetched


async def test_requests_that_cannot_be_there_are_refused(flows_at: FlowsAt) -> None:
    """No such state; or a live request for the same, which is where it is."""
    with pytest.raises(InvalidRequest, match="nowhere"):
        await flows_at("nowhere")
    live = await flows_at(State.awaiting_user)
    with pytest.raises(InvalidRequest, match="it is awaiting_user"):
        await flows_at(State.requested, entity_id=live.entity_id)


def test_only_asyncio_will_do(flows: LeanFlow) -> None:
    """Under trio, or under no loop, the error says what to do."""
    counting = flows.counts()
    with pytest.raises(InvalidRequest, match="let the fixture anyio_backend return 'asyncio'"):
        counting.send(None)


# --- a handler's argument ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
async def test_a_change_is_what_a_handler_would_get(
    change_at: ChangeAt, leanflow_handlers: Handlers, flows: LeanFlow, flows_at: FlowsAt, travel: Travel, state: State
) -> None:
    """The same as a running engine's, but for ids and times: where from, where to, caused by what."""
    told: list[Change] = []
    leanflow_handlers.on(state, name="told")(lambda change, _flows: told.append(change))
    await flows_at(state)
    await travel(seconds=0)
    from_engine = told[-1]
    made = change_at(state, from_state=from_engine.from_state)
    assert (made.from_state, made.to_state, made.cause) == (
        from_engine.from_state, from_engine.to_state, from_engine.cause,
    )  # fmt: skip
    request, other = made.request.to_dict(), from_engine.request.to_dict()
    assert {name for name, value in request.items() if value is None} ^ {
        name for name, value in other.items() if value is None
    } <= {"customer_id", "correlation_id", "probed_at", "round_started_at", "probe_at", "grace_until", "hinted_at"}
    assert Change.from_dict(made.to_dict()) == made


CODES = [
    "BANK_ISSUE", "CONSENT_EXPIRED", "DISABLED_BY_LEAN", "MALFORMED_BODY", "NO_ANSWER", "RESULTS_UNAVAILABLE",
    "SOMETHING_NEW", "TOO_MANY_PAGES",
]  # fmt: skip


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("resource", [Resource.accounts, Resource.refresh])
def test_a_failure_has_its_code(change_at: ChangeAt, code: str, resource: Resource) -> None:
    """Lean's codes, and leanflow's own, each brought about as it comes about."""
    change = change_at(State.failed, code=code, resource=resource, reference="user-17")
    assert change.request.failure is not None
    assert change.request.failure.code == code
    assert change.request.reference == "user-17"
    assert change.from_state is State.requested


def test_a_loop_of_reconnects_fails_where_it_ends(change_at: ChangeAt) -> None:
    """The user let in three times, and wanted a fourth."""
    change = change_at(State.failed, code="RECONNECT_LOOP", from_state=State.reconnected)
    assert change.request.failure is not None
    assert change.request.failure.code == "RECONNECT_LOOP"
    assert change.request.round == 3


def test_changes_have_keys_of_their_own(change_at: ChangeAt) -> None:
    """Two are of two requests."""
    assert change_at(State.fetched).key != change_at(State.fetched).key


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"state": "nowhere"}, "none of"),
        ({"state": State.fetched, "from_state": State.expired}, "does not lead"),
        ({"state": State.requested, "from_state": State.fetched}, "begins in requested"),
        ({"state": State.failed, "code": "RECONNECT_LOOP"}, "does not end a request in requested"),
        ({"state": State.fetched, "colour": "red"}, "no argument of LeanFlow.request"),
        ({"state": State.fetched, "resource": "transactions"}, "account_id"),
    ],
)
def test_a_change_that_cannot_be_is_refused(change_at: ChangeAt, asked: dict[str, Any], problem: str) -> None:
    """By a clear error, and nothing is made up."""
    with pytest.raises(InvalidRequest, match=problem):
        change_at(**asked)


async def test_a_webhook_is_lean_s_own(
    webhook: Signer, mockbank: Mockbank, flows: LeanFlow, leanflow_handlers: Handlers
) -> None:
    """Its bytes are signed, `receive` takes them, and its event is what a handler hears."""
    heard: list[Any] = []
    leanflow_handlers.on_webhook("*", name="heard")(lambda event, _flows: heard.append(event))
    made = [
        webhook("entity.created", {"id": "e-1"}),
        webhook("payment.created"),
        webhook("nobody.knows.it", {"a": 1}, event_id=None, timestamp=None),
    ]
    for one in made:
        assert verify(one.raw, one.headers["lean-signature"], [mockbank.webhook_secret])
        assert (await flows.receive(one.headers, one.raw)).status == 200
    await flows.tick()
    assert heard == [one.event for one in made]
    first, _, last = heard
    assert isinstance(first, EntityCreated)
    assert (first.entity_id, first.payload["app_user_id"]) == ("e-1", "user-1")
    assert isinstance(last, OtherWebhook)
    assert (last.event_id, last.timestamp) == (None, None)
