"""Bad input to `receive`: a Reply, never anything else; and nothing changes without a valid signature."""

from __future__ import annotations

import asyncio
import json
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import given, settings, strategies as st

from leanflow import LeanFlow, Reply, sign
from leanflow.ports import Store
from leanflow.testing import FakeClock, travel
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.sqlite import SQLiteStore
from tests.support.engine import dump, engine, recorder
from tests.support.lean import SECRET, Lean, signed, webhook

FEWER = max(20, settings.default.max_examples // 4)  # type: ignore[union-attr]  # conftest loads one
ON = {"data": True}
PAYLOADS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("results.ready", {"id": "00000000-0000-0000-0000-000000000001"}),
    ("entity.reconnected", {"id": "e", "reconnect_id": "00000000-0000-0000-0000-000000000001"}),
    ("entity.created", {"id": "e", "customer_id": "c", "permissions": ["identity"], "bank_details": {"name": "B"}}),
    ("entity.updated", {"id": "e", "customer_id": "c"}),
    ("entity.data.refresh.updated", {"refresh_id": "r", "entity_id": "e", "status": "FINISHED", "data_status": {}}),
    ("consent.status.updated", {"status": "REVOKED", "customer_id": "c", "entity_id": "e"}),
    ("bank.availability.updated", {"identifier": "B", "availability": {"active": ON, "enabled": ON}}),
)

scraps = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\ud800", "\x00", "e" * 3000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Real webhooks, with something in them replaced, left out, added or cut; or no webhook at all."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.binary(max_size=300))
    kind, payload = draw(st.sampled_from(PAYLOADS))
    body: dict[str, Any] = json.loads(webhook(kind, payload, event_id=draw(st.sampled_from([None, "1", "2"]))))
    for _ in range(draw(st.integers(0, 2))):
        target = draw(st.sampled_from([body, body.get("payload")]))
        if not isinstance(target, dict):
            continue
        name = draw(st.sampled_from([*sorted(target), "timestamp", "event_id"]))
        if draw(st.booleans()):
            target[name] = draw(scraps)
        else:
            target.pop(name, None)
    raw = json.dumps(body, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.binary(max_size=4)) + raw[at + draw(st.integers(0, 4)) :]
    return raw


async def _prepared(flows: LeanFlow, lean: Lean) -> None:
    lean.will("e", "reconnect")
    await flows.request("accounts", entity_id="e", customer_id="c")


async def hear(store: Store, raws: list[bytes]) -> None:
    """Deliver signed bodies; each gives a Reply, and what was taken can be relayed, offered and read back."""
    clock = FakeClock()
    lean, heard = Lean(clock), recorder()
    async with engine(store, lean, clock, handlers=heard.handlers) as flows:
        await _prepared(flows, lean)
        for raw in raws:
            before = dump(store)
            reply = await flows.receive(signed(raw), raw)
            assert isinstance(reply, Reply)
            assert reply.status in (200, 400)
            if reply.status == 400:
                assert dump(store) == before
        await travel(flows, clock, timedelta(days=2))
        assert [row for row in await flows.undelivered() if row.kind != "wake"] == []
        async for request in flows.find():
            await flows.export(request.id)


@given(st.lists(bodies(), min_size=1, max_size=3))
def test_any_signed_body_gives_a_reply_in_memory(raws: list[bytes]) -> None:
    """200 or 400, and nothing else, whatever Lean may send; handlers get what was taken."""
    asyncio.run(hear(MemoryStore(), raws))


@settings(max_examples=FEWER)
@given(st.lists(bodies(), min_size=1, max_size=3))
def test_any_signed_body_gives_a_reply_on_disk(raws: list[bytes]) -> None:
    """The same where everything has to become rows: SQLite."""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(hear(SQLiteStore(Path(directory) / "flows.db", synchronous="NORMAL"), raws))


@st.composite
def headers(draw: st.DrawFn, raw: bytes) -> dict[str, str]:
    """Headers that do not vouch for a body."""
    good = sign(SECRET, raw)
    wrong = draw(
        st.sampled_from(
            [
                None,
                "",
                sign("another", raw),
                sign(SECRET, raw + b" "),
                good[:-1],
                good + "0",
                good[7:],
                "SHA512=" + good[7:],
                f"{good}, {good}",
                good.replace("sha512", "sha256"),
                " " + good,
            ]
        )
        | st.text(max_size=140)
    )
    name = draw(st.sampled_from(["lean-signature", "Lean-Signature", "LEAN-SIGNATURE"]))
    return {} if wrong is None else {name: wrong}


async def refuse(store: Store, raws: list[bytes], data: st.DataObject) -> None:
    """Deliver bodies that nobody vouches for; the store stays as it is, to the last byte."""
    clock = FakeClock()
    lean = Lean(clock)
    async with engine(store, lean, clock, handlers=recorder().handlers) as flows:
        await _prepared(flows, lean)
        before = dump(store)
        for raw in raws:
            assert (await flows.receive(data.draw(headers(raw)), raw)).status == 401
        assert dump(store) == before


@given(st.lists(bodies(), min_size=1, max_size=3), st.data())
def test_nothing_changes_without_a_signature_in_memory(raws: list[bytes], data: st.DataObject) -> None:
    """R12: 401, and the store is the same."""
    asyncio.run(refuse(MemoryStore(), raws, data))


@settings(max_examples=FEWER)
@given(st.lists(bodies(), min_size=1, max_size=3), st.data())
def test_nothing_changes_without_a_signature_on_disk(raws: list[bytes], data: st.DataObject) -> None:
    """The same on SQLite."""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(refuse(SQLiteStore(Path(directory) / "flows.db", synchronous="NORMAL"), raws, data))
