"""Receivers of webhooks that are slow, over real sockets: an answer that is not all there in time is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from inspect import signature

import pytest

from leanflow.errors import InvalidRequest
from leanflow.mockbank import ATTEMPT_LIMIT, Mockbank
from leanflow_adapters.mockbank import HandClock, MockbankServer, serve

WAYS = {  # what comes at once, and what drips
    "nothing comes": (b"", b""),
    "the head drips": (b"", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\nx-slow: yes\r\n\r\n"),
    "the head stops": (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n", b""),
    "the body drips": (b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\nconnection: close\r\n\r\n", b"." * 40),
    "chunks drip": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n", b"1\r\n.\r\n" * 9),
}
_ENDS = {
    "nothing comes": b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    "the head stops": b"connection: close\r\n\r\n",
    "chunks drip": b"0\r\n\r\n",
}
IN_TIME = timedelta(seconds=0.3)


class Slow:
    """A receiver whose answer comes in drops, until it is let go."""

    def __init__(self, way: str) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self.let_go = asyncio.Event()
        self.left = 0  # who has hung up on it
        self._way = way

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one webhook."""
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        self.bodies.append(await reader.readexactly(int(length.partition(b":")[2])))
        gone = asyncio.create_task(reader.read())
        try:
            await self._answer(writer, gone)
            await gone
            self.left += 1
        except ConnectionError:
            self.left += 1
        finally:
            gone.cancel()
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, gone: asyncio.Task[bytes]) -> None:
        at_once, drops = WAYS[self._way]
        writer.write(at_once)
        let_go = asyncio.create_task(self.let_go.wait())
        while drops and not let_go.done() and not gone.done():
            writer.write(drops[:1])
            drops = drops[1:] or drops  # it never comes to an end
            await asyncio.wait({let_go, gone}, timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({let_go, gone}, return_when=asyncio.FIRST_COMPLETED)
        let_go.cancel()
        if not gone.done():
            writer.write(drops + _ENDS.get(self._way, b""))
            await writer.drain()
            writer.close()


@asynccontextmanager
async def standing(way: str, answer_in: timedelta = ATTEMPT_LIMIT) -> AsyncIterator[tuple[MockbankServer, Slow]]:
    """Run Mockbank on a clock moved by hand, and a slow receiver of its webhooks."""
    receiver = Slow(way)
    listening = await asyncio.start_server(receiver.take, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/webhooks"
    serving = serve(Mockbank(), clock=HandClock(), webhook_url=receiver.url, answer_in=answer_in)
    async with listening, serving as server:
        yield server, receiver


def statuses(server: MockbankServer) -> list[int | None]:
    """Return what came back for each attempt."""
    return [one.status for one in server.log.webhooks]


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_that_is_not_whole_in_time_is_none(way: str) -> None:
    """It is hung up on; the same bytes come again after one minute of Mockbank's clock, and not before."""
    async with standing(way, IN_TIME) as (server, receiver):
        server.connect("user-1")
        await server.settle()
        assert statuses(server) == [None]
        await server.advance(timedelta(seconds=59))
        assert statuses(server) == [None]
        await server.advance(timedelta(seconds=1))
        assert statuses(server) == [None, None]
        assert [one.attempt for one in server.log.webhooks] == [1, 2]
        assert receiver.bodies[0] == receiver.bodies[1]
        async with asyncio.timeout(10):
            while receiver.left < 2:
                await asyncio.sleep(0)


@pytest.mark.parametrize("way", WAYS)
async def test_the_same_answer_whole_in_time_is_one(way: str) -> None:
    """Within Lean's 10 s, however it came, 200 is success."""
    async with standing(way) as (server, receiver):
        receiver.let_go.set()
        server.connect("user-1")
        await server.settle()
        assert statuses(server) == [200]
        assert server.next_due() is None


async def test_a_receiver_has_leans_ten_seconds() -> None:
    """Unless a test says otherwise; none at all is refused."""
    assert signature(serve).parameters["answer_in"].default == ATTEMPT_LIMIT == timedelta(seconds=10)
    with pytest.raises(InvalidRequest, match="answer_in: must be above 0"):
        serve(answer_in=timedelta())
