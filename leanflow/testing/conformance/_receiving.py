"""What a webhook binding promises: bytes and headers go in as they came, the reply goes back, nothing else comes in.

The senders are raw sockets on loopback, so that a server may be anything that speaks HTTP/1.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import ClassVar

import pytest

from leanflow._call import Reply
from leanflow._lean.signature import sign
from leanflow.testing.conformance._inbox import SECRET, Inbox
from leanflow.testing.conformance._sockets import Line, Said, connected

__all__ = ["Answering", "Guarding", "Handing"]

BODY = '{ "type" : "results.ready",\r\n\t"payload":{"id":"1"} , "message":"تم تحديث البيانات ☃" }\n'.encode()
BODIES = {
    "arabic": BODY,
    "no text": bytes(range(256)),
    "byte order mark": b"\xef\xbb\xbf{}",
    "ends in newlines": b"{}\r\n\r\n",
    "a form": b"type=results.ready&payload=%7B%7D+x",
    "of 15 kB": b'"%s"' % (b"x" * 15_000),
    "empty": b"",
}
NEVER = 5.0  # seconds: who has not answered by then waits for what never comes

Pairs = Iterable[tuple[str, str]]


def signed(raw: bytes) -> tuple[str, str]:
    """Return the header that vouches for a body."""
    return "Lean-Signature", sign(SECRET, raw)


def heads(raw: bytes, *more: tuple[str, str], kind: str | None = "application/json") -> list[tuple[str, str]]:
    """Return the headers that go with a body, its signature not among them."""
    kinds = [] if kind is None else [("Content-Type", kind)]
    return [("Content-Length", str(len(raw))), *kinds, *more]


async def post(url: str, raw: bytes, headers: Pairs | None = None, *, slash: bool | None = None) -> Said:
    """Send one webhook and return what was said to it; signed if no headers are given."""
    async with connected(url) as line:
        await line.head("POST", heads(raw, signed(raw)) if headers is None else headers, slash=slash)
        await line.say(raw)
        return await line.hear()


class _Served:
    max_body: ClassVar[int] = 20_000
    body_timeout: ClassVar[float] = 1.0

    @pytest.fixture
    def inbox(self) -> Inbox:
        """What the binding is to hand webhooks to."""
        return Inbox()


class Handing(_Served):
    """What is handed over."""

    chunked: ClassVar[bool] = True

    @pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
    async def test_bytes_arrive_as_they_were_sent(self, url: str, inbox: Inbox, body: bytes) -> None:
        """The body is handed over untouched, whatever is in it: the signature is over its bytes."""
        said = await post(url, body)
        assert (said.status, inbox.taken) == (200, [body])

    @pytest.mark.parametrize(
        "kind",
        ["application/json;charset=utf-8", "text/plain", "application/x-www-form-urlencoded", "Application/JSON", None],
    )
    async def test_the_content_type_does_not_matter(self, url: str, inbox: Inbox, kind: str | None) -> None:
        """No parsing of the framework's comes between: JSON, form or nothing said, the bytes are the same."""
        said = await post(url, BODY, heads(BODY, signed(BODY), kind=kind))
        assert (said.status, inbox.taken) == (200, [BODY])

    async def test_a_body_in_pieces_arrives_whole(self, url: str, inbox: Inbox) -> None:
        """A body that comes byte by byte is handed over once, whole."""
        async with connected(url) as line:
            await line.head("POST", heads(BODY, signed(BODY)))
            await line.say(*(bytes([byte]) for byte in BODY))
            assert (await line.hear()).status == 200
        assert inbox.taken == [BODY]

    async def test_a_chunked_body_arrives_whole(self, url: str, inbox: Inbox) -> None:
        """A body without an announced length is handed over whole."""
        if not self.chunked:
            pytest.skip("chunked = False")
        async with connected(url) as line:
            await line.head("POST", [("Transfer-Encoding", "chunked"), signed(BODY)])
            for piece in (BODY[:7], BODY[7:50], BODY[50:]):
                await line.say(b"%x\r\n%s\r\n" % (len(piece), piece))
            await line.say(b"0\r\n\r\n")
            assert (await line.hear()).status == 200
        assert inbox.taken == [BODY]

    @pytest.mark.parametrize("name", ["lean-signature", "LEAN-SIGNATURE", "lEAN-sIGNATURE"])
    async def test_the_case_of_a_headers_name_does_not_matter(self, url: str, inbox: Inbox, name: str) -> None:
        """The signature is found however its header is written."""
        said = await post(url, BODY, heads(BODY, (name, sign(SECRET, BODY))))
        assert (said.status, inbox.taken) == (200, [BODY])

    async def test_webhooks_come_side_by_side(self, url: str, inbox: Inbox) -> None:
        """Twenty at once are each handed over once, under their own signature."""
        bodies = [b'{"number":%d}' % number for number in range(20)]
        said = await asyncio.gather(*(post(url, body) for body in bodies))
        assert [each.status for each in said] == [200] * 20
        assert sorted(inbox.taken) == sorted(bodies)

    async def test_webhooks_come_one_after_the_other_on_a_connection(self, url: str, inbox: Inbox) -> None:
        """What is kept of a connection is handed over once: no byte of one webhook gets into the next."""
        bodies, left = [b'{"number":%d}' % number for number in range(5)], 5
        while left:
            async with connected(url) as line:
                for body in bodies[-left:]:
                    await line.head("POST", heads(body, signed(body)))
                    await line.say(body)
                    said = await line.hear()
                    assert said.status == 200
                    left -= 1
                    if said.headers.get("connection", "").lower() == "close":
                        break
        assert inbox.taken == bodies


class Answering(_Served):
    """What is answered."""

    async def test_a_webhook_that_is_taken_is_answered_200(self, url: str, inbox: Inbox) -> None:
        """Exactly 200, with the reply's body: anything else makes Lean send it again."""
        said = await post(url, BODY)
        assert (said.status, said.body, inbox.taken) == (200, b"ok", [BODY])

    @pytest.mark.parametrize("status", [200, 400, 401, 413, 503])
    async def test_the_reply_goes_back_as_it_is(self, url: str, inbox: Inbox, status: int) -> None:
        """Status, body and headers of the reply are sent as they are."""
        inbox.reply = Reply(status=status, body=b"said so", headers={"retry-after": "7"})
        said = await post(url, BODY)
        assert (said.status, said.body, said.headers.get("retry-after")) == (status, b"said so", "7")

    async def test_a_webhook_that_nobody_vouches_for_is_answered_401(self, url: str, inbox: Inbox) -> None:
        """Without a signature, and with one of other bytes, it is refused, and nothing is taken."""
        for headers in (heads(BODY), heads(BODY, signed(BODY + b" ")), heads(BODY, ("Lean-Signature", ""))):
            assert (await post(url, BODY, headers)).status == 401
        assert inbox.taken == []

    async def test_a_second_signature_is_answered_401(self, url: str, inbox: Inbox) -> None:
        """Of two signatures neither wins unseen, in whichever order they come."""
        forged = signed(b"other bytes")
        for pair in ((signed(BODY), forged), (forged, signed(BODY))):
            assert (await post(url, BODY, heads(BODY, *pair))).status == 401
        assert inbox.taken == []

    async def test_a_store_that_is_down_is_answered_503(self, url: str, inbox: Inbox) -> None:
        """What could not be stored is answered 503; sent again, it is taken."""
        inbox.is_down = True
        assert (await post(url, BODY)).status == 503
        assert inbox.taken == []
        inbox.is_down = False
        assert (await post(url, BODY)).status == 200
        assert inbox.taken == [BODY]

    async def test_an_engine_that_fails_is_no_200(self, url: str, inbox: Inbox) -> None:
        """What the engine raises is answered 500 or above, and not shown; the next webhook is taken."""
        inbox.fault = RuntimeError("a secret in a message")
        said = await post(url, BODY)
        assert said.status is not None
        assert said.status >= 500
        assert b"a secret in a message" not in said.body
        inbox.fault = None
        assert (await post(url, BODY)).status == 200

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
    async def test_other_methods_are_answered_405(self, url: str, inbox: Inbox, method: str) -> None:
        """Webhooks are POSTs: anything else is refused, says what is allowed, and takes nothing, signed or not."""
        async with connected(url) as line:
            await line.head(method, heads(BODY, signed(BODY)))
            await line.say(BODY)
            said = await line.hear(method=method)
        assert said.status == 405
        assert "POST" in said.headers.get("allow", "")
        assert inbox.taken == []

    async def test_a_trailing_slash_is_not_redirected(self, url: str, inbox: Inbox) -> None:
        """The URL with a slash more or less is taken or refused; a redirect would lose the body."""
        for slash in (True, False):
            before = len(inbox.taken)
            said = await post(url, BODY, slash=slash)
            assert said.status is not None
            assert said.status == 200 or said.status >= 400
            assert len(inbox.taken) - before == (said.status == 200)


class Guarding(_Served):
    """What is not let in. After each of these the binding takes webhooks as before."""

    chunked: ClassVar[bool] = True
    gives_up: ClassVar[bool] = True

    async def test_a_body_over_the_cap_is_answered_413(self, url: str, inbox: Inbox) -> None:
        """A body of just `max_body` bytes is taken; one more byte is refused."""
        fits = b"x" * self.max_body
        assert (await post(url, fits)).status == 200
        assert (await post(url, fits + b"x")).status in (413, None)  # who closes on unread bytes may lose the answer
        assert inbox.taken == [fits]
        await self._still_takes(url, inbox)

    async def test_a_body_announced_too_long_is_refused_before_it_comes(self, url: str, inbox: Inbox) -> None:
        """A length over the cap is answered 413 though not one byte of the body was sent."""
        async with connected(url) as line:
            await line.head("POST", [("Content-Length", "100000000"), signed(BODY)])
            assert (await line.hear(within=NEVER)).status == 413
        assert inbox.taken == inbox.refused == []
        await self._still_takes(url, inbox)

    async def test_an_endless_body_is_refused_at_the_cap(self, url: str, inbox: Inbox) -> None:
        """A chunked body is answered 413 once it is over the cap: its end never comes."""
        if not self.chunked:
            pytest.skip("chunked = False")
        async with connected(url) as line:
            await line.head("POST", [("Transfer-Encoding", "chunked"), signed(BODY)])
            size = self.max_body + 1
            await line.say(b"%x\r\n%s\r\n" % (size, b"x" * size))
            assert (await line.hear(within=NEVER)).status == 413
        assert inbox.taken == inbox.refused == []
        await self._still_takes(url, inbox)

    async def test_a_body_that_does_not_come_is_given_up(self, url: str, inbox: Inbox) -> None:
        """A sender that stops half way is answered 408, or hung up on, and nothing is taken."""
        if not self.gives_up:
            pytest.skip("gives_up = False")
        async with connected(url) as line:
            await self._half(line)
            assert (await line.hear(within=self.body_timeout + NEVER)).status in (408, None)
        assert inbox.taken == inbox.refused == []
        await self._still_takes(url, inbox)

    async def test_a_slow_sender_holds_up_nobody(self, url: str, inbox: Inbox) -> None:
        """While one body does not come, others are taken."""
        async with connected(url) as line:
            await self._half(line)
            await self._still_takes(url, inbox)

    async def test_a_body_that_is_cut_is_not_taken(self, url: str, inbox: Inbox) -> None:
        """A sender that hangs up half way leaves nothing."""
        async with connected(url) as line:
            await self._half(line)
            line.hang_up()
            said = await line.hear(within=self.body_timeout + NEVER)
            assert said.status is None or said.status >= 400
        assert inbox.taken == inbox.refused == []
        await self._still_takes(url, inbox)

    @staticmethod
    async def _half(line: Line) -> None:
        """Send a webhook, but for its second half."""
        await line.head("POST", heads(BODY, signed(BODY)))
        await line.say(BODY[: len(BODY) // 2])

    @staticmethod
    async def _still_takes(url: str, inbox: Inbox) -> None:
        count = len(inbox.taken)
        assert (await post(url, BODY)).status == 200
        assert inbox.taken[count:] == [BODY]
