"""What may arrive at an endpoint of what Lean has sent, and what else."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence

import attrs
from hypothesis import strategies as st

from leanflow._lean.signature import HEADER, sign
from leanflow.testing._said import webhooks

__all__ = ["Delivery", "deliveries", "forged", "malformed"]

# --- what is no webhook ------------------------------------------------------------------------------------------

_NO_OBJECTS = (
    st.none() | st.integers() | st.text(string.ascii_letters, max_size=5) | st.lists(st.integers(), max_size=2)
)
_NO_STRINGS = st.booleans() | st.lists(st.integers(), max_size=2) | st.just({"id": "1"})


@st.composite
def malformed(draw: st.DrawFn) -> bytes:
    """Return bytes that are no webhook: cut, no JSON, no object, without type or id, an id of another type."""
    whole = draw(webhooks(kinds=["results.ready", "entity.reconnected", "entity.data.refresh.updated"]))
    body = json.loads(whole)
    required = "refresh_id" if body["type"] == "entity.data.refresh.updated" else "id"
    match draw(st.integers(0, 6)):
        case 0:
            return whole.rstrip()[: draw(st.integers(0, len(whole.rstrip()) - 1))]
        case 1:
            return draw(st.sampled_from([b"\xff\xfe", b"<xml/>", b"{'type': 'x'}", b"[" * 40]))
        case 2:
            return json.dumps(draw(_NO_OBJECTS)).encode()
        case 3:
            body["type"] = draw(st.none() | st.just("") | _NO_STRINGS)
        case 4:
            del body["type"]
        case 5:
            body["payload"] = draw(_NO_OBJECTS)
        case _:
            body["payload"][required] = draw(st.none() | st.just("") | _NO_STRINGS)
    return json.dumps(body).encode()


# --- what arrives ------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Delivery:
    """One webhook as it arrives at an endpoint.

    Attributes:
        headers: with a signature, or none.
        raw: the body.
        kind: ``genuine`` (Lean's, perhaps not for the first time), ``forged``, or ``malformed`` (signed, and still no
            webhook).
    """

    headers: Mapping[str, str]
    raw: bytes
    kind: str


@st.composite
def forged(draw: st.DrawFn, secret: str, raw: bytes | None = None) -> Delivery:
    """Return webhooks that nobody vouches for.

    Args:
        draw: hypothesis gives it.
        secret: Lean's, which the forger does not know.
        raw: a true one to be changed or signed anew; None: any.
    """
    said = draw(webhooks()) if raw is None else raw
    true = sign(secret, said)
    match draw(st.integers(0, 6)):
        case 0:
            header: str | None = None
        case 1:
            header = ""
        case 2:
            header = sign(secret + "x", said)
        case 3:
            header = true.removeprefix("sha512=")
        case 4:
            header = true[: draw(st.integers(len("sha512="), len(true) - 1))]
        case 5:
            at = draw(st.integers(0, len(said)))
            said, header = said[:at] + b" " + said[at:], true
        case _:
            header = "sha256=" + true.removeprefix("sha512=")
    return Delivery(headers={} if header is None else {HEADER: header}, raw=said, kind="forged")


@st.composite
def deliveries(draw: st.DrawFn, sent: Sequence[bytes], secret: str, *, lossless: bool = False) -> list[Delivery]:
    """Return what may arrive of the webhooks that Lean has sent: twice, in any order, not at all, and worse between.

    Args:
        draw: hypothesis gives it.
        sent: the bodies, in Lean's order.
        secret: they are signed with it.
        lossless: whether each arrives at least once, as it does once Lean's Events API has been asked.
    """
    least = 1 if lossless else 0
    arriving = [
        Delivery(headers={HEADER: sign(secret, raw)}, raw=raw, kind="genuine")
        for raw in sent
        for _ in range(draw(st.integers(least, 3)))
    ]
    arriving += [draw(forged(secret, raw)) for raw in sent if draw(st.integers(0, 2)) == 0]
    arriving += [
        Delivery(headers={HEADER: sign(secret, raw)}, raw=raw, kind="malformed")
        for raw in draw(st.lists(malformed(), max_size=2))
    ]
    return draw(st.permutations(arriving))
