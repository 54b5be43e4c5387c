"""Webhooks through the aiohttp binding, over real sockets."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest
from aiohttp import web

from leanflow._call import Reply
from leanflow_adapters.web.aiohttp import add_webhook

MAX_BODY = 1000


class Inbox:
    """Takes webhooks and remembers them."""

    def __init__(self) -> None:
        self.got: list[tuple[Mapping[str, str], bytes]] = []
        self.reply = Reply(status=200, body=b"ok")

    async def receive(self, headers: Mapping[str, str], raw_body: bytes) -> Reply:
        """Take one webhook."""
        self.got.append((headers, raw_body))
        return self.reply


@pytest.fixture
def inbox() -> Inbox:
    """What the webhooks end in."""
    return Inbox()


@pytest.fixture
async def port(inbox: Inbox) -> AsyncIterator[int]:
    """Where the webhooks go."""
    app = web.Application(client_max_size=1)  # the handler's cap counts, not the application's
    add_webhook(app, "/lean", inbox, max_body=MAX_BODY, body_timeout=0.3)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def _say(port: int, said: bytes) -> bytes:
    """Send raw bytes and return the first line of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    line = await reader.readline()
    writer.close()
    return line.strip()


async def test_the_raw_body_and_headers_arrive_and_the_reply_goes_back(inbox: Inbox, port: int) -> None:
    """Bytes are handed over untouched, header names in lower case; status, body and headers of the reply are sent."""
    raw = '{ "message" : "تم" }\n'.encode()
    inbox.reply = Reply(status=503, body=b"later", headers={"retry-after": "7"}, retry=True)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}/lean", data=raw, headers={"Lean-Signature": "AB"}) as response,
    ):
        assert (response.status, await response.read()) == (503, b"later")
        assert response.headers["retry-after"] == "7"
    ((headers, body),) = inbox.got
    assert body == raw
    assert headers["lean-signature"] == "AB"


async def test_a_second_signature_is_seen(inbox: Inbox, port: int) -> None:
    """A header that comes twice is handed over joined, so that neither value wins unseen."""
    head = b"POST /lean HTTP/1.1\r\nhost: x\r\nlean-signature: a\r\nLean-Signature: b\r\ncontent-length: 2\r\n\r\n{}"
    assert await _say(port, head) == b"HTTP/1.1 200 OK"
    assert inbox.got[0][0]["lean-signature"] == "a, b"


async def test_a_body_of_the_cap_is_taken_and_one_more_byte_is_refused(inbox: Inbox, port: int) -> None:
    """The cap is inclusive."""
    async with aiohttp.ClientSession() as session:
        for size, status in ((MAX_BODY, 200), (MAX_BODY + 1, 413)):
            async with session.post(f"http://127.0.0.1:{port}/lean", data=b"x" * size) as response:
                assert response.status == status
    assert [len(body) for _, body in inbox.got] == [MAX_BODY]


async def test_a_body_announced_too_long_is_refused_before_it_comes(inbox: Inbox, port: int) -> None:
    """A content length over the cap is answered 413 though not one byte of the body was sent."""
    head = b"POST /lean HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n"
    assert await _say(port, head) == b"HTTP/1.1 413 Request Entity Too Large"
    assert not inbox.got


async def test_an_endless_body_is_refused_at_the_cap(inbox: Inbox, port: int) -> None:
    """A chunked body without an announced length is answered 413 once it is over the cap, not at its end."""
    head = b"POST /lean HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    assert (await _say(port, head + b"3e9\r\n" + b"x" * 1001 + b"\r\n")).startswith(b"HTTP/1.1 413")
    assert not inbox.got


async def test_a_small_body_that_unpacks_large_is_refused(inbox: Inbox, port: int) -> None:
    """A compressed body is capped by what it becomes."""
    packed = zlib.compress(b"0" * 1_000_000)[:900]
    async with aiohttp.ClientSession() as session:
        headers = {"content-encoding": "deflate"}
        async with session.post(f"http://127.0.0.1:{port}/lean", data=packed, headers=headers) as response:
            assert response.status == 413
    assert not inbox.got


async def test_a_body_that_does_not_unpack_is_refused(inbox: Inbox, port: int) -> None:
    """A body that is not what its content encoding says is answered 400."""
    async with aiohttp.ClientSession() as session:
        headers = {"content-encoding": "gzip"}
        async with session.post(f"http://127.0.0.1:{port}/lean", data=b"{}", headers=headers) as response:
            assert response.status == 400
    assert not inbox.got


async def test_a_body_that_does_not_come_is_given_up(inbox: Inbox, port: int) -> None:
    """A sender that stops half way is answered 408 after the timeout, and nothing is taken in."""
    head = b"POST /lean HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{"
    assert (await _say(port, head)).startswith(b"HTTP/1.1 408")
    assert not inbox.got


async def test_a_cut_body_is_not_taken_in(inbox: Inbox, port: int) -> None:
    """A sender that hangs up half way leaves nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /lean HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{")
    writer.write_eof()
    await reader.read()
    writer.close()
    assert not inbox.got
