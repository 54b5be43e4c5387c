"""`receive`: what is stored, what is answered, and what a second copy does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from leanflow import LeanFlow, Policy, State, sign
from leanflow._lean.webhooks import parse_webhook
from leanflow.ports import OutboxRow, Store
from leanflow.testing import FakeClock, travel
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.engine import StoreMaker, deliver, dump, engine, recorder
from tests.support.lean import SECRET, Lean, signed, webhook
from tests.support.stores import unsteady

ALL_TYPES = (
    "entity.created", "entity.updated", "entity.reconnected", "entity.data.refresh.updated", "consent.status.updated",
    "bank.availability.updated", "results.ready", "payment.created", "payment.updated", "payment_intent.created",
    "payment_source.created", "bulk_payment_intent.updated", "payment.reconciliation.updated",
    "iban_account_verification.bank.availability.updated", "something.new",
)  # fmt: skip


def _payload(kind: str) -> dict[str, object]:
    if kind == "entity.data.refresh.updated":
        return {"refresh_id": "r", "entity_id": "e", "status": "PENDING"}
    if kind.endswith("bank.availability.updated"):
        return {"identifier": "LEANMB1", "availability": {"active": {"data": True}, "enabled": {"data": False}}}
    return {"id": "x", "reconnect_id": "y"}


async def _pending(flows: LeanFlow, lean: Lean, entity_id: str = "e") -> tuple[str, bytes]:
    lean.will(entity_id, "pending")
    request = await flows.request("accounts", entity_id=entity_id)
    assert request.results_id is not None
    lean.finish(request.results_id)
    [raw] = lean.take()
    return request.id, raw


@pytest.mark.parametrize("kind", ALL_TYPES)
async def test_every_type_is_answered_200(make: StoreMaker, clock: FakeClock, lean: Lean, kind: str) -> None:
    """Every type, unknown ones too, is stored, told to who subscribed, and answered exactly 200."""
    heard = recorder()
    async with engine(make(), lean, clock, handlers=heard.handlers) as flows:
        [reply] = await deliver(flows, webhook(kind, _payload(kind), event_id="1"))
        assert (reply.status, reply.retry) == (200, False)
        await flows.tick()
        assert [event.type for event in heard.webhooks] == [kind]


@pytest.mark.parametrize("copies", [2, 7, 100])
async def test_copies_have_one_effect(make: StoreMaker, clock: FakeClock, lean: Lean, copies: int) -> None:
    """R7: copies, one after another and all at once, are answered 200, and one of them counts."""
    heard = recorder()
    async with engine(make(), lean, clock, handlers=heard.handlers) as flows:
        request_id, raw = await _pending(flows, lean)
        replies = await asyncio.gather(*(flows.receive(signed(raw), raw) for _ in range(copies)))
        replies += await deliver(flows, *[raw] * copies)
        assert {reply.status for reply in replies} == {200}
        await flows.tick()
        await deliver(flows, raw)
        await flows.tick()
        rows = await flows.history(request_id)
        assert [row.to_state for row in rows] == ["requested", "requested", "results_ready", "fetched"]
        assert len(heard.webhooks) == 1
        assert lean.fetched["e"] == 1


async def test_a_webhook_without_an_event_id_is_known_by_its_body(clock: FakeClock, make: StoreMaker) -> None:
    """v1's webhooks have no event id: the digest of the body tells copies."""
    lean = Lean(clock, api="v1")
    async with engine(make(), lean, clock, api="v1") as flows:
        request_id, raw = await _pending(flows, lean)
        assert "event_id" not in json.loads(raw)
        await deliver(flows, raw, raw, raw)
        assert len(await flows.history(request_id)) == 3


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"lean-signature": ""},
        {"lean-signature": sign("another secret", b"{}")},
        {"lean-signature": sign(SECRET, b"{} ")},
        {"lean-signature": sign(SECRET, b"{}")[:-2]},
        {"lean-signature": sign(SECRET, b"{}").removeprefix("sha512=")},
        {"lean-signature": f"{sign(SECRET, b'{}')}, {sign(SECRET, b'{}')}"},
        {"lean-signature": sign(SECRET, b"{}"), "Lean-Signature": sign(SECRET, b"{}")},
    ],
)
async def test_a_bad_signature_writes_nothing(
    make: StoreMaker, clock: FakeClock, lean: Lean, headers: dict[str, str]
) -> None:
    """R12: 401, and the store is the same to the last byte: no dedupe row either."""
    store = make()
    async with engine(store, lean, clock) as flows:
        await _pending(flows, lean)
        before = dump(store)
        reply = await flows.receive(headers, b"{}")
        assert (reply.status, reply.retry) == (401, False)
        assert dump(store) == before


async def test_a_forged_copy_does_not_burn_the_event(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """A forged webhook with a real event id is refused, and the real one still counts."""
    async with engine(make(), lean, clock) as flows:
        request_id, raw = await _pending(flows, lean)
        assert (await flows.receive(signed(raw, "a guess"), raw)).status == 401
        assert (await flows.receive(signed(raw), raw)).status == 200
        assert (await flows.get(request_id)).state is State.results_ready


async def test_secrets_are_rotated(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Each of several secrets is taken, with the hex digits in either case."""
    async with engine(make(), lean, clock, webhook_secrets=["new", "old"]) as flows:
        for number, secret in enumerate(("new", "old", "older")):
            raw = webhook("a.b", {}, event_id=str(number))
            assert (await flows.receive(signed(raw, secret), raw)).status == (401 if secret == "older" else 200)
        raw = webhook("a.b", {}, event_id="upper")
        assert (await flows.receive({"LEAN-SIGNATURE": "sha512=" + sign("new", raw)[7:].upper()}, raw)).status == 200


@pytest.mark.parametrize(
    "raw",
    [b"", b"null", b"[]", b"{", b'"text"', b"\xff\xfe", b"{}", b'{"type":7}', b'{"type":"results.ready","payload":{}}',
     b'{"type":"results.ready","payload":{"id":7}}', b"[" * 100_000, b'{"a":' * 20_000],
)  # fmt: skip
async def test_a_signed_body_that_is_no_webhook_is_400(
    make: StoreMaker, clock: FakeClock, lean: Lean, raw: bytes
) -> None:
    """R14: 400, and nothing is stored."""
    store = make()
    async with engine(store, lean, clock) as flows:
        before = dump(store)
        assert (await flows.receive(signed(raw), raw)).status == 400
        assert dump(store) == before


async def test_a_body_over_the_cap_is_413(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """R14: one byte over `policy.max_body` is refused unread; the cap itself is not."""
    raw = webhook("a.b", {"a": "b"}, event_id="1")
    async with engine(make(), lean, clock, policy=Policy(max_body=len(raw))) as flows:
        assert (await flows.receive({}, raw + b" ")).status == 413
        assert (await flows.receive(signed(raw), raw)).status == 200


@pytest.mark.parametrize("trouble", ["down", "loses_answers"])
async def test_a_store_that_is_down_is_503_and_the_resend_counts_once(
    make: StoreMaker, clock: FakeClock, lean: Lean, trouble: str
) -> None:
    """503 with `retry`, so that Lean sends again; that has one effect, also if the first was stored after all."""
    store = unsteady(make())
    async with engine(store, lean, clock) as flows:
        request_id, raw = await _pending(flows, lean)
        setattr(store, trouble, True)
        [reply] = await deliver(flows, raw)
        assert (reply.status, reply.retry) == (503, True)
        setattr(store, trouble, False)
        assert [reply.status for reply in await deliver(flows, raw, raw)] == [200, 200]
        await flows.tick()
        rows = await flows.history(request_id)
        assert [row.to_state for row in rows] == ["requested", "requested", "results_ready", "fetched"]


async def test_a_stalled_store_is_503_before_lean_gives_up(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """R17: after `policy.commit_timeout` every waiting webhook gets 503, none 200; the resends have one effect."""
    store = unsteady(make())
    async with engine(store, lean, clock, policy=Policy(commit_timeout=timedelta(milliseconds=500))) as flows:
        request_id, raw = await _pending(flows, lean)
        store.gate = asyncio.Event()
        replies = await asyncio.gather(*(flows.receive(signed(raw), raw) for _ in range(10)))
        assert {reply.status for reply in replies} == {503}
        store.gate.set()
        store.gate = None
        replies = await asyncio.gather(*(flows.receive(signed(raw), raw) for _ in range(10)))
        assert {reply.status for reply in replies} == {200}
        assert [row.to_state for row in await flows.history(request_id)] == ["requested", "requested", "results_ready"]


async def test_copies_of_what_was_committed_need_no_store(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """R7: once one is committed its copies are 200 at once, however the store is; whatever else comes is not."""
    store = unsteady(make())
    async with engine(store, lean, clock) as flows:
        request_id, raw = await _pending(flows, lean)
        other, raw_of_other = await _pending(flows, lean, "f")
        await deliver(flows, raw)
        store.down = True
        assert [reply.status for reply in await deliver(flows, *[raw] * 100)] == [200] * 100
        assert [reply.status for reply in await deliver(flows, raw_of_other)] == [503]
        store.down = False
        await deliver(flows, raw_of_other)
        for each in (request_id, other):
            assert [row.to_state for row in await flows.history(each)] == ["requested", "requested", "results_ready"]


@pytest.mark.parametrize("kind", ["results.ready", "entity.updated"])
async def test_copies_of_what_nobody_owns_need_no_store(
    make: StoreMaker, clock: FakeClock, lean: Lean, kind: str
) -> None:
    """R7, R9: whether it is parked for a request that is to come, or only told of, one goes to the store."""
    store = unsteady(make())
    raw, other = (webhook(kind, _payload(kind), event_id=each) for each in ("1", "2"))
    async with engine(store, lean, clock) as flows:
        assert {reply.status for reply in await deliver(flows, raw)} == {200}
        store.down = True
        assert [reply.status for reply in await deliver(flows, *[raw] * 100)] == [200] * 100
        assert [reply.status for reply in await deliver(flows, other)] == [503]


async def test_a_webhook_that_was_rolled_back_counts_when_it_comes_again(
    tmp_path: Path, clock: FakeClock, lean: Lean
) -> None:
    """In the application's transaction nothing is believed to be committed before it is."""
    path = tmp_path / "flows.db"
    async with engine(SQLiteStore(path), lean, clock) as flows, aiosqlite.connect(path) as connection:
        request_id, raw = await _pending(flows, lean)
        event = parse_webhook(raw)
        async with flows.using(connection) as tx:
            await connection.execute("SAVEPOINT before")
            await tx.apply(event)
            await connection.execute("ROLLBACK TO before")
            [request] = await tx.apply(event)
            assert request.state is State.results_ready
            await connection.commit()
        assert [row.to_state for row in await flows.history(request_id)] == ["requested", "requested", "results_ready"]


async def test_a_webhook_that_comes_while_the_engine_closes_is_503(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """Its sender comes again, and finds the next process: a store that closes under it is no error of the server's."""
    store = make()
    async with engine(store, lean, clock) as flows:
        _, raw = await _pending(flows, lean)
        await store.aclose()
        reply = await flows.receive(signed(raw), raw)
        assert (reply.status, reply.retry) == (503, True)
        await store.open()
        assert (await flows.receive(signed(raw), raw)).status == 200


# --- early: the event beats the record it belongs to -------------------------------------------------------------


async def test_an_early_webhook_waits_for_its_request(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """R9: a webhook that comes before the answer is stored is parked, and taken as soon as it is, without a timer."""
    arrived, go = asyncio.Event(), asyncio.Event()
    heard = recorder()
    async with engine(make(), lean, clock, handlers=heard.handlers) as flows:
        real = lean._result

        def result(*args: str) -> object:
            made = real(*args)
            lean.finish(made.results_id)
            arrived.set()
            return made

        lean._result = result  # type: ignore[method-assign, assignment]  # for this test
        lean.will("e", "pending")
        store_is_slow = unsteady(flows._store)
        flows._steps._store = store_is_slow
        store_is_slow.gate, store_is_slow.only = go, frozenset({"commit"})
        asking = asyncio.create_task(flows.request("accounts", entity_id="e"))
        await arrived.wait()
        flows._steps._store = flows._store
        [raw] = lean.take()
        await deliver(flows, raw, raw)
        assert [row.kind for row in await flows.undelivered() if row.kind == "webhook"] == ["webhook"]
        flows._steps._store = store_is_slow
        go.set()
        request = await asking
        assert request.state in (State.requested, State.results_ready)
        await flows.tick()
        final = await flows.get(request.id)
        assert final.state is State.fetched
        assert len(heard.webhooks) == 1
        assert clock.now() == FakeClock().now()


async def test_a_parked_webhook_is_found_by_the_one_who_parks_it(
    make: StoreMaker, clock: FakeClock, lean: Lean
) -> None:
    """The other side of the race: the id is stored between the look for owners and the parking commit."""
    async with engine(make(), lean, clock) as flows:
        request_id, raw = await _pending(flows, lean)
        blind = unsteady(flows._store)
        flows._steps._store = blind
        looked: list[str] = []

        async def nobody(*_: object) -> tuple[str, ...]:
            return ()

        async def look(*args: Any) -> object:
            looked.append("owners")
            return await (nobody() if len(looked) == 1 else flows._store.owners(*args))

        blind.owners = look
        flows._steps._owners.clear()
        await deliver(flows, raw)
        assert len(looked) == 2
        assert (await flows.get(request_id)).state is State.results_ready
        assert (await flows._store.parked_due(flows._scope, now=clock.now() + timedelta(days=2), limit=9)) == []


async def test_a_parked_webhook_is_offered_again(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """If the process died between the two commits, the worker offers what is parked, after a second."""
    async with engine(make(), lean, clock) as flows:
        raw = webhook("results.ready", {"id": "00000000-0000-0000-0000-000000000001"}, event_id="early")
        await deliver(flows, raw)
        steps = flows._steps
        drain, steps._drain = steps._drain, _nothing  # type: ignore[method-assign, assignment]  # put back below
        request_id, _ = await _pending(flows, lean)
        steps._drain = drain  # type: ignore[method-assign]  # put back
        assert (await flows.get(request_id)).state is State.requested
        await travel(flows, clock, timedelta(seconds=1))
        assert (await flows.get(request_id)).state is State.fetched


async def _nothing(*_: object) -> None:
    """Stand for a process that died here."""


async def test_a_parked_webhook_is_told_of_once(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """Copies of a parked webhook that come after it was delivered to its subscribers are not delivered again."""
    heard = recorder()
    async with engine(make(), lean, clock, handlers=heard.handlers) as flows:
        raw = webhook("results.ready", {"id": "nobody's"}, event_id="1")
        for _ in range(3):
            assert [reply.status for reply in await deliver(flows, raw)] == [200]
            await flows.tick()
        assert len(heard.webhooks) == 1


async def test_an_orphan_is_reported_once_and_forgotten(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """R10: a webhook whose request never comes is reported to the buses after `policy.parked_life`; no row stays."""
    bus = Bus()
    async with engine(make(), lean, clock, bus=bus) as flows:
        raws = [webhook("results.ready", {"id": f"nobody's {n}"}, event_id=str(n)) for n in range(20)]
        await deliver(flows, *raws)
        await travel(flows, clock, timedelta(hours=23))
        assert bus.reports == []
        await travel(flows, clock, timedelta(hours=2))
        assert len(bus.reports) == len(set(bus.reports)) == 20
        assert await flows._store.parked_due(flows._scope, now=clock.now() + timedelta(days=9), limit=99) == []
        await deliver(flows, *raws)
        await travel(flows, clock, timedelta(days=2))
        assert len(bus.reports) == 20


class Bus:
    """A bus that keeps what it is told."""

    name = "bus"

    def __init__(self) -> None:
        self.rows: list[OutboxRow] = []
        self.reports: list[str] = []

    async def open(self) -> None:
        """Connect to nothing."""

    async def publish(self, batch: Sequence[OutboxRow]) -> list[None]:
        """Take everything."""
        self.rows.extend(batch)
        self.reports += [row.key for row in batch if row.kind == "report"]
        return [None] * len(batch)

    async def aclose(self) -> None:
        """Close nothing."""


# --- late and stale ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", sorted(State.ends()))
async def test_a_late_webhook_is_recorded_reported_and_revives_nothing(
    make: StoreMaker, clock: FakeClock, lean: Lean, end: State
) -> None:
    """R11: on every end, every webhook of the request's ids leaves the state alone, a row of history and one report."""
    bus = Bus()
    async with engine(make(), lean, clock, bus=bus) as flows:
        lean.will("e", "reconnect")
        request = await flows.request("accounts", entity_id="e")
        assert request.results_id is not None
        if end is State.cancelled:
            await flows.cancel(request.id)
        elif end is State.expired:
            await travel(flows, clock, timedelta(days=31))
        else:
            lean.results[request.results_id].status = "OK" if end is State.fetched else "DATA_NOT_FOUND"
            await deliver(flows, webhook("results.ready", {"id": request.results_id}, event_id="first"))
            await flows.tick()
        before = await flows.get(request.id)
        assert before.state is end
        rows = len(await flows.history(request.id))
        await deliver(
            flows,
            webhook("results.ready", {"id": request.results_id}, event_id="a"),
            webhook("entity.reconnected", {"id": "e", "reconnect_id": request.reconnect_id}, event_id="b"),
        )
        await flows.tick()
        assert await flows.get(request.id) == before
        assert [row.declined for row in (await flows.history(request.id))[rows:]] == ["late", "late"]
        assert len(set(bus.reports)) == len(bus.reports) == 2


async def test_a_webhook_of_an_earlier_round_is_stale(make: StoreMaker, clock: FakeClock) -> None:
    """Ids of an earlier round (v1: new ids each round) are known, and move nothing; no report, no parking."""
    lean = Lean(clock, api="v1")
    lean.will("e", "reconnect", "pending")
    async with engine(make(), lean, clock, api="v1") as flows:
        request = await flows.request("accounts", entity_id="e")
        assert request.results_id is not None
        lean.results[request.results_id].status = "LEAN_ERROR"
        await deliver(flows, webhook("results.ready", {"id": request.results_id}, event_id="first"))
        await flows.tick()
        await travel(flows, clock, timedelta(minutes=2))
        again = await flows.get(request.id)
        assert (again.state, again.results_id != request.results_id) == (State.requested, True)
        await deliver(flows, webhook("results.ready", {"id": request.results_id}, event_id="second"))
        assert await flows.get(request.id) == again
        assert (await flows.history(request.id))[-1].declined == "stale"


async def test_a_replay_long_after_has_no_effect(make: StoreMaker, clock: FakeClock, lean: Lean) -> None:
    """R13: the same body after an hour, 31, 89 and 91 days: no effect, also once the inbox row is gone."""
    heard = recorder()
    async with engine(make(), lean, clock, handlers=heard.handlers) as flows:
        request_id, raw = await _pending(flows, lean)
        await deliver(flows, raw)
        await flows.tick()
        final = await flows.get(request_id)
        for wait in (timedelta(hours=1), timedelta(days=31), timedelta(days=58), timedelta(days=2)):
            clock.advance(wait)
            await flows._store.prune(flows._scope, before=clock.now() - flows.policy.inbox_life)
            assert [reply.status for reply in await deliver(flows, raw)] == [200]
            await flows.tick()
            assert await flows.get(request_id) == final
        assert lean.fetched["e"] == 1


async def test_sandbox_never_touches_production(clock: FakeClock, lean: Lean, make: StoreMaker) -> None:
    """Confinement: a webhook that names another scope's request is parked here and unseen there."""
    one: Store = make()
    async with (
        engine(one, lean, clock) as sandbox,
        engine(make(), lean, clock, seed=1, environment="production") as production,
    ):
        request_id, raw = await _pending(sandbox, lean)
        await deliver(production, raw)
        await production.tick()
        assert (await sandbox.get(request_id)).state is State.requested
        await deliver(sandbox, raw)
        assert (await sandbox.get(request_id)).state is State.results_ready


class Counted(SQLiteStore):
    """Tells what it was asked for."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: list[str] = []

    async def owners(self, *place: Any) -> Any:
        """As the other."""
        self.asked.append("owners")
        return await super().owners(*place)

    async def load(self, *place: Any) -> Any:
        """As the other."""
        self.asked.append("load")
        return await super().load(*place)

    async def commit(self, step: Any) -> Any:
        """As the other."""
        self.asked.append("commit")
        return await super().commit(step)


async def test_a_process_that_knows_nothing_looks_once(clock: FakeClock, lean: Lean, tmp_path: Path) -> None:
    """A webhook costs it one look at who owns the id, which brings the request, and the commit."""
    async with engine(SQLiteStore(tmp_path / "flows.db"), lean, clock) as flows:
        request_id, raw = await _pending(flows, lean)
    store = Counted(tmp_path / "flows.db")
    async with engine(store, lean, clock) as flows:
        store.asked.clear()
        [reply] = await deliver(flows, raw)
        assert (reply.status, store.asked) == (200, ["owners", "commit"])
        assert (await flows.get(request_id)).state is State.results_ready
