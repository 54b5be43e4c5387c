"""`LeanTransport` on connections that are cut, reset, refused, silent, slow or few: what may have been sent."""

from __future__ import annotations

import asyncio
import traceback

import aiohttp
import pytest

from leanflow._call import Call
from leanflow.errors import CallFailed, WrongLoop
from leanflow_adapters.http import LeanTransport
from tests.support.transports import CALL, POST, Lean, oauth, old, served, silent, spoken


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read a request's head and its two-byte body, if it has one."""
    head = await reader.readuntil(b"\r\n\r\n")
    return head + (await reader.readexactly(2) if b"content-length: 2" in head.lower() else b"")


@pytest.mark.parametrize("call", [CALL, POST, Call(method="PUT", path="/x"), Call(method="DELETE", path="/x")])
async def test_a_cut_connection_may_have_been_sent_and_is_not_repeated(call: Call) -> None:
    """A connection closed before the answer: no method is sent again behind the engine's back."""
    requests: list[bytes] = []

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))

    async with spoken(cut) as url, old(url) as transport:
        with pytest.raises(CallFailed, match="closed the connection") as caught:
            await transport.send(call)
    assert caught.value.maybe_sent
    assert len(requests) == 1


@pytest.mark.parametrize("call", [CALL, POST])
async def test_a_kept_connection_that_dies_is_not_repeated(call: Call) -> None:
    """The second call on a kept connection is read and the connection closed: it is not sent on another one."""
    requests: list[bytes] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        requests.append(await read_request(reader))

    async with spoken(once) as url, old(url) as transport:
        assert (await transport.send(call)).body == b"{}"
        with pytest.raises(CallFailed) as caught:
            await transport.send(call)
    assert caught.value.maybe_sent
    assert len(requests) == 2


async def test_a_connection_closed_while_idle_is_not_used_again() -> None:
    """A kept connection that the server has closed costs nothing: the next call opens another one."""
    closed = asyncio.Event()
    count = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()
        closed.set()

    async with spoken(once) as url, old(url) as transport:
        for _ in range(2):
            closed.clear()
            await transport.send(POST)
            await closed.wait()
            for _ in range(20):  # let the client's loop see the end of the stream
                await asyncio.sleep(0)
    assert count == 2


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_a_cut_or_broken_answer_may_have_been_sent(said: bytes) -> None:
    """Whatever is not a whole HTTP answer is a `CallFailed` of a call that Lean may have seen."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(said)
        await writer.drain()

    async with spoken(cut) as url, old(url) as transport:
        with pytest.raises(CallFailed) as caught:
            await transport.send(CALL)
    assert caught.value.maybe_sent


async def test_a_reset_connection_may_have_been_sent() -> None:
    """A connection reset is no different from one closed."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.transport.abort()

    async with spoken(reset) as url, old(url) as transport:
        with pytest.raises(CallFailed) as caught:
            await transport.send(POST)
    assert caught.value.maybe_sent


async def test_a_refused_port_was_not_sent() -> None:
    """Where nobody listens, nothing was sent."""

    async def nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

    async with spoken(nobody) as url:
        pass
    async with old(url) as transport:
        with pytest.raises(CallFailed, match=r"cannot connect to 127\.0\.0\.1") as caught:
            await transport.send(POST)
    assert not caught.value.maybe_sent


async def test_an_unknown_host_was_not_sent() -> None:
    """A name without an address: nothing was sent. `.invalid` never resolves (RFC 2606)."""
    async with old("http://lean.invalid") as transport:
        with pytest.raises(CallFailed, match="does not resolve") as caught:
            await transport.send(POST)
    assert not caught.value.maybe_sent


async def test_a_token_endpoint_that_is_away_means_that_nothing_was_sent() -> None:
    """When no token can be had, the call did not leave."""
    lean = Lean()
    async with served(lean) as url:
        transport = LeanTransport(client_id="i", client_secret="s", base_url=url, auth_url="http://127.0.0.1:1")
        async with transport:
            with pytest.raises(CallFailed, match="asking for a token: cannot connect") as caught:
                await transport.send(CALL)
    assert not caught.value.maybe_sent
    assert not lean.seen


async def test_a_lost_token_request_is_asked_once_more() -> None:
    """Asking for a token does no harm, so a cut connection there is met with a second try."""
    asked = 0

    async def second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        if asked > 1:
            body = b'{"access_token":"t","expires_in":3599}'
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()

    async with spoken(second) as url, oauth(url) as transport:
        assert await transport.token("c") == "t"
    assert asked == 2


async def test_a_token_endpoint_that_loses_every_request_means_that_nothing_was_sent() -> None:
    """Two lost token requests end it: the call did not leave."""
    asked = 0

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")

    async with spoken(cut) as url, oauth(url) as transport:
        with pytest.raises(CallFailed, match="asking for a token: the server closed") as caught:
            await transport.send(CALL)
    assert not caught.value.maybe_sent
    assert asked == 2


async def test_a_silent_token_endpoint_ends_in_the_timeout() -> None:
    """The whole of `send` keeps its timeout, the waiting for a token included."""
    async with silent() as url, oauth(url, timeout=0.2, connect_timeout=0.1) as transport:
        with pytest.raises(CallFailed, match=r"no token within 0\.2 s") as caught:
            await transport.send(CALL)
    assert not caught.value.maybe_sent


async def test_a_call_that_a_proxy_refuses_was_not_sent() -> None:
    """A proxy that will not connect: nothing reached Lean; its error, which shows its credentials, is not passed on."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    async with spoken(refuse) as proxy, aiohttp.ClientSession(proxy=proxy) as session:
        transport = old("https://lean.invalid", session=session)
        with pytest.raises(CallFailed, match="the proxy answered 407") as caught:
            await transport.send(POST)
    assert not caught.value.maybe_sent
    assert "ClientHttpProxyError" not in "".join(traceback.format_exception(caught.value))


async def test_a_silent_server_ends_in_the_timeout() -> None:
    """A server that never answers is given up after the timeout; the call may have been sent."""
    async with silent() as url, old(url, timeout=0.2, connect_timeout=0.1) as transport:
        with pytest.raises(CallFailed, match=r"no whole answer within 0\.2 s") as caught:
            await transport.send(POST)
    assert caught.value.maybe_sent


async def test_a_dripping_server_ends_in_the_timeout() -> None:
    """A body that comes drop by drop is given up after the timeout too."""
    release = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{")
        await writer.drain()
        await release.wait()

    async with spoken(drip) as url, old(url, timeout=0.2, connect_timeout=0.1) as transport:
        with pytest.raises(CallFailed, match="no whole answer") as caught:
            await transport.send(CALL)
        release.set()
    assert caught.value.maybe_sent


async def test_waiting_for_a_free_connection_too_long_was_not_sent() -> None:
    """A call that never got a connection of the pool was not sent."""
    release = asyncio.Event()
    arrived = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.set()
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()

    async with spoken(late) as url, old(url, max_connections=1, connect_timeout=0.1) as transport:
        first = asyncio.create_task(transport.send(CALL))
        await arrived.wait()
        with pytest.raises(CallFailed, match="no connection within") as caught:
            await transport.send(CALL)
        release.set()
        assert (await first).status == 200
    assert not caught.value.maybe_sent


async def test_a_closed_transport_may_be_used_again() -> None:
    """Closing ends what is open; the next call opens anew and asks for a new token."""
    lean = Lean()
    async with served(lean) as url:
        transport = oauth(url)
        await transport.send(CALL)
        await transport.aclose()
        await transport.aclose()
        await transport.send(CALL)
        await transport.aclose()
    assert len(lean.forms) == 2


async def test_an_open_transport_belongs_to_its_loop() -> None:
    """Use from another event loop is an error that says so."""
    lean = Lean()
    async with served(lean) as url, old(url) as transport:
        await transport.send(CALL)

        def elsewhere() -> None:
            asyncio.run(transport.send(CALL))

        with pytest.raises(WrongLoop):
            await asyncio.to_thread(elsewhere)
