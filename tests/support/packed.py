"""What bindings do with bodies that have a content encoding: the same in all of them."""

from __future__ import annotations

import gzip
import zlib
from typing import ClassVar

import pytest

from leanflow import sign
from leanflow.testing.conformance import Inbox
from leanflow.testing.conformance._inbox import SECRET
from leanflow.testing.conformance._sockets import Said, connected

__all__ = ["Unpacking"]

BODY = '{"message": "تم تحديث البيانات"}'.encode()


class Unpacking:
    """Tests of a binding; a mixin beside `WebhookConformance`, whose fixtures it uses."""

    max_body: ClassVar[int]

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
    async def test_a_packed_body_is_handed_over_unpacked(self, url: str, inbox: Inbox, encoding: str) -> None:
        """A sender, or a proxy, that packs is served: the signature covers what was packed."""
        packed = {"gzip": gzip.compress(BODY), "deflate": zlib.compress(BODY), "identity": BODY}[encoding]
        said = await _post(url, packed, encoding, sign(SECRET, BODY))
        assert (said.status, inbox.taken) == (200, [BODY])

    async def test_a_small_body_that_unpacks_large_is_refused(self, url: str, inbox: Inbox) -> None:
        """The cap counts for what a body becomes."""
        packed = gzip.compress(b"0" * 10_000_000)
        assert len(packed) < self.max_body
        assert (await _post(url, packed, "gzip")).status == 413
        assert inbox.taken == inbox.refused == []

    @pytest.mark.parametrize("body", [b"{}", gzip.compress(BODY)[:-9], b""], ids=["plain", "cut", "empty"])
    async def test_a_body_that_does_not_unpack_is_refused(self, url: str, inbox: Inbox, body: bytes) -> None:
        """A body that is not what its content encoding says is answered 400, or 401; it is never taken."""
        assert (await _post(url, body, "gzip")).status in (400, 401)
        assert inbox.taken == []


async def _post(url: str, body: bytes, encoding: str, signature: str = "") -> Said:
    async with connected(url) as line:
        heads = {"content-length": str(len(body)), "content-encoding": encoding, "lean-signature": signature}
        await line.head("POST", heads.items())
        await line.say(body)
        return await line.hear()
