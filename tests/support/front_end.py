"""What the front end's routes promise, driven over real sockets, whatever the framework that serves them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, ClassVar
from urllib.parse import urlsplit

import aiohttp
import pytest

from leanflow import DataRequest, LeanFlow
from leanflow.errors import StoreUnavailable
from leanflow.testing import FakeClock
from leanflow_adapters.memory import MemoryStore
from leanflow_adapters.web._front_end import Streams
from tests.support.engine import deliver, engine
from tests.support.lean import Lean

__all__ = ["FrontEndSuite", "is_theirs"]

Serve = Callable[..., AbstractAsyncContextManager[str]]
ME = {"x-user": "user-17"}
MISSING = "0190f3c4-0000-7000-8000-000000000000"


def is_theirs(http: Any, record: DataRequest) -> bool:
    """Decide by a header, which stands for a session here."""
    return bool(http.headers.get("x-user") == record.reference)


async def _is_theirs_later(http: Any, record: DataRequest) -> bool:
    await asyncio.sleep(0)
    return is_theirs(http, record)


class FrontEndSuite:
    """Tests of a binding: subclass it and give it the fixture `serve`.

    `serve(flows, authorise=…, streams=…)` is an asynchronous context manager that gives the URL below which the
    routes are, without a slash at its end.
    """

    notices_within: ClassVar[float] = 0.02  # seconds: the heartbeat at which a browser that has left is noticed

    @pytest.fixture
    def lean(self) -> Lean:
        """Lean, which wants the user."""
        lean = Lean(FakeClock())
        lean.will("e", "reconnect")
        return lean

    @pytest.fixture
    async def flows(self, lean: Lean) -> AsyncIterator[LeanFlow]:
        """An engine without workers."""
        async with engine(MemoryStore(), lean, FakeClock()) as flows:
            yield flows

    @pytest.fixture
    async def request_id(self, flows: LeanFlow) -> str:
        """A request whose user is wanted."""
        return (await flows.request("accounts", entity_id="e", customer_id="c", reference="user-17")).id

    @pytest.fixture
    async def http(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A browser."""
        async with aiohttp.ClientSession() as session:
            yield session

    # who may

    async def test_nobody_is_let_in_unless_somebody_decides_who(
        self, serve: Serve, flows: LeanFlow, request_id: str, http: aiohttp.ClientSession
    ) -> None:
        """Without a hook every route is 403, says what to pass, and does nothing."""
        async with serve(flows) as url:
            for method, path in _ROUTES:
                async with http.request(method, f"{url}/{request_id}{path}", headers=ME, json=_SAID) as answer:
                    assert answer.status == 403
                    assert answer.content_type == "application/problem+json"
                    assert "authorise=" in (await answer.json())["detail"]
        assert (await flows.get(request_id)).version == 1

    async def test_anything_but_true_refuses(
        self, serve: Serve, flows: LeanFlow, request_id: str, http: aiohttp.ClientSession
    ) -> None:
        """A hook that forgets to answer, or answers something true by accident, lets nobody in."""
        verdicts: list[Any] = [False, None, 1, "yes", object()]
        async with serve(flows, authorise=lambda *_: verdicts[0]) as url:
            while verdicts:
                for method, path in _ROUTES:
                    async with http.request(method, f"{url}/{request_id}{path}", headers=ME, json=_SAID) as answer:
                        assert answer.status == 403, verdicts[0]
                del verdicts[0]
        assert (await flows.get(request_id)).version == 1

    @pytest.mark.parametrize("hook", [is_theirs, _is_theirs_later])
    async def test_the_hook_sees_request_and_record(
        self, serve: Serve, flows: LeanFlow, request_id: str, http: aiohttp.ClientSession, hook: Any
    ) -> None:
        """Whose session it is gets in, and nobody else; the hook may be a coroutine function."""
        async with serve(flows, authorise=hook) as url:
            for user, status in (("user-17", 200), ("user-18", 403)):
                async with http.get(f"{url}/{request_id}", headers={"x-user": user}) as answer:
                    assert answer.status == status
            async with http.get(f"{url}/{MISSING}", headers=ME) as answer:
                assert (answer.status, answer.content_type) == (404, "application/problem+json")

    # what is done

    async def test_the_loop_goes_round(
        self, serve: Serve, flows: LeanFlow, lean: Lean, request_id: str, http: aiohttp.ClientSession
    ) -> None:
        """Prompt, callback, and the progress told meanwhile: ids are versions, the stream ends with the request."""
        async with serve(flows, authorise=is_theirs) as url:
            here = f"{url}/{request_id}"
            async with http.get(f"{here}/events", headers=ME) as stream:
                assert (stream.status, stream.content_type) == (200, "text/event-stream")
                assert (await _event(stream))["state"] == "reconnect_required"
                async with http.post(f"{here}/prompt", headers=ME) as answer:
                    prompt = await answer.json()
                assert (answer.status, prompt["number"]) == (200, 1)
                assert prompt["reconnect"]["reconnect_id"]
                assert prompt["reconnect"]["sandbox"] is True
                told = await _event(stream)
                assert (told["state"], told["wants_user"], told["end"]) == ("awaiting_user", True, False)
                async with http.post(f"{here}/callback", headers=ME, json={**_SAID, "number": 1}) as answer:
                    assert answer.status == 200
                lean.reconnect(prompt["reconnect"]["reconnect_id"])
                await deliver(flows, *lean.take())
                await flows.tick()
                seen = [told["version"]]
                while not told["end"]:
                    told = await _event(stream)
                    seen.append(told["version"])
                assert (told["state"], seen) == ("fetched", sorted(set(seen)))
                assert await stream.content.read() == b""
            async with http.get(here, headers=ME) as answer:
                assert await answer.json() == told

    async def test_what_cannot_be_done_is_a_problem_document(
        self, serve: Serve, flows: LeanFlow, request_id: str, http: aiohttp.ClientSession, lean: Lean
    ) -> None:
        """409 for a state that does not allow it, 400 for nonsense, 405, 413, and 503 while something is down."""
        async with serve(flows, authorise=is_theirs) as url:
            here = f"{url}/{request_id}"
            for body in (b"", b"[]", b'{"number": "1", "payload": {}}', b'{"number": 1, "payload": {}}', b"\xff"):
                assert await _refused(http, f"{here}/callback", 400, data=body)
            assert await _refused(http, f"{here}/callback", 413, data=b" " * 70_000)
            lean.down = True
            assert await _refused(http, f"{here}/prompt", 503) == "5"
            async with http.get(f"{here}/prompt", headers=ME) as answer:
                assert (answer.status, answer.headers["allow"]) == (405, "POST")
            await flows.cancel(request_id)
            assert await _refused(http, f"{here}/prompt", 409)
            vars(flows)["get"] = _unavailable
            assert await _refused(http, f"{here}/prompt", 503) == "5"

    # the stream

    async def test_a_stream_goes_on_where_it_was_left(
        self, serve: Serve, flows: LeanFlow, request_id: str, http: aiohttp.ClientSession
    ) -> None:
        """With Last-Event-ID only later versions are told; at the end there is nothing to come again for: 204."""
        async with serve(flows, authorise=is_theirs) as url:
            headers = {**ME, "last-event-id": "1"}
            async with http.get(f"{url}/{request_id}/events", headers=headers) as stream:
                await flows.prompt(request_id)
                assert (await _event(stream))["version"] == 2
            await flows.cancel(request_id)
            async with http.get(f"{url}/{request_id}/events", headers={**ME, "last-event-id": "2"}) as stream:
                assert (await _event(stream))["state"] == "cancelled"
                assert await stream.content.read() == b""
            async with http.get(f"{url}/{request_id}/events", headers={**ME, "last-event-id": "3"}) as answer:
                assert answer.status == 204
            async with http.get(f"{url}/{request_id}/events", headers={**ME, "last-event-id": "x"}) as stream:
                assert (await _event(stream))["version"] == 3

    @pytest.mark.parametrize("path", ["", "/events"])
    async def test_head_is_answered_at_once_and_without_a_body(
        self, serve: Serve, flows: LeanFlow, request_id: str, path: str
    ) -> None:
        """What GET would answer, without what it would tell; of a stream too, which is not opened for it."""
        async with serve(flows, authorise=is_theirs, streams=Streams(at_once=1)) as url:
            for user, status in (("user-17", 200), ("user-17", 200), ("user-18", 403)):
                answer = await _exchange("HEAD", f"{url}/{request_id}{path}", {"x-user": user})
                head, _, body = answer.partition(b"\r\n\r\n")
                assert int(head.split()[1]) == status
                assert body == b""
                if (path, status) == ("/events", 200):
                    assert b"content-type: text/event-stream" in head.lower()
            await flows.cancel(request_id)
            seen = {**ME, "last-event-id": "2"}
            assert (await _exchange("HEAD", f"{url}/{request_id}/events", seen)).split()[1] == b"204"

    async def test_a_stream_that_is_silent_says_that_it_lives(
        self, serve: Serve, flows: LeanFlow, request_id: str, http: aiohttp.ClientSession
    ) -> None:
        """Comments come as heartbeats, and after its time the stream ends, to be authorised again."""
        streams = Streams(heartbeat=0.02, seconds=0.1)
        async with (
            serve(flows, authorise=is_theirs, streams=streams) as url,
            http.get(f"{url}/{request_id}/events", headers=ME) as stream,
        ):
            text = (await stream.content.read()).decode()
        assert text.startswith("retry: ")
        assert text.count("\n:\n") > 1
        assert text.count("data: ") == 1

    async def test_streams_are_bounded_and_their_places_come_back(
        self, serve: Serve, flows: LeanFlow, request_id: str, http: aiohttp.ClientSession
    ) -> None:
        """One stream too many is 503; a browser that has left makes place."""
        async with serve(flows, authorise=is_theirs, streams=Streams(at_once=1, heartbeat=self.notices_within)) as url:
            async with http.get(f"{url}/{request_id}/events", headers=ME) as stream:
                await _event(stream)
                async with http.get(f"{url}/{request_id}/events", headers=ME) as answer:
                    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
                stream.close()
            async with asyncio.timeout(10):
                while True:
                    async with http.get(f"{url}/{request_id}/events", headers=ME) as stream:
                        if stream.status == 200:
                            break

    async def test_streams_that_come_at_once_are_bounded_as_well(
        self, serve: Serve, flows: LeanFlow, request_id: str, http: aiohttp.ClientSession
    ) -> None:
        """Those that were let in before the first of them counted end at once, and are to come later."""
        streams = Streams(at_once=1, heartbeat=self.notices_within)
        async with serve(flows, authorise=is_theirs, streams=streams) as url, AsyncExitStack() as stack:

            async def told() -> bytes:
                stream = await stack.enter_async_context(http.get(f"{url}/{request_id}/events", headers=ME))
                if stream.status == 503:
                    return b""
                return await stream.content.readuntil(b"\n\n") + await stream.content.readline()

            firsts = await asyncio.wait_for(asyncio.gather(*(told() for _ in range(4))), 10)
        assert sum(b"id: " in first for first in firsts) == 1

    async def test_a_stream_of_what_is_erased_ends(
        self, serve: Serve, flows: LeanFlow, request_id: str, http: aiohttp.ClientSession
    ) -> None:
        """Whoever comes again is told that there is none."""
        streams = Streams(heartbeat=0.02)
        async with serve(flows, authorise=is_theirs, streams=streams) as url:
            async with http.get(f"{url}/{request_id}/events", headers=ME) as stream:
                await _event(stream)
                await flows.erase(entity_id="e")
                await asyncio.wait_for(stream.content.read(), 10)
            async with http.get(f"{url}/{request_id}/events", headers=ME) as answer:
                assert answer.status == 404

    async def test_a_version_of_thousands_of_digits_is_none(
        self, serve: Serve, flows: LeanFlow, request_id: str, http: aiohttp.ClientSession
    ) -> None:
        """What a browser says that it has seen is read with care."""
        headers = {**ME, "last-event-id": "9" * 5000}
        async with (
            serve(flows, authorise=is_theirs, streams=Streams(heartbeat=self.notices_within)) as url,
            http.get(f"{url}/{request_id}/events", headers=headers) as stream,
        ):
            assert stream.status == 200
            assert (await _event(stream))["version"] == 1

    async def test_no_bank_data_and_none_of_leans_ids_are_told(
        self, serve: Serve, flows: LeanFlow, request_id: str, http: aiohttp.ClientSession
    ) -> None:
        """Progress has the request's own id, states and codes, and nothing else."""
        record = await flows.get(request_id)
        async with (
            serve(flows, authorise=is_theirs) as url,
            http.get(f"{url}/{request_id}", headers=ME) as answer,
        ):
            told = await answer.json()
        assert set(told) == {"id", "version", "state", "wants_user", "end", "failure", "successor_id"}
        assert record.reconnect_id
        assert record.reconnect_id not in json.dumps(told)


_ROUTES = (("GET", ""), ("GET", "/events"), ("POST", "/prompt"), ("POST", "/callback"))
_SAID = {"number": 1, "payload": {"status": "SUCCESS"}}


async def _exchange(method: str, url: str, headers: dict[str, str]) -> bytes:
    """Return all that a server says to a request before it hangs up: clients hide what they do not expect."""
    there = urlsplit(url)
    reader, writer = await asyncio.open_connection(there.hostname, there.port)
    told = {"host": there.netloc, "connection": "close", **headers}
    lines = [f"{method} {there.path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


async def _unavailable(_request_id: str) -> DataRequest:
    raise StoreUnavailable("it is down")


async def _refused(http: aiohttp.ClientSession, url: str, status: int, data: bytes | None = None) -> str:
    async with http.post(url, headers=ME, data=data) as answer:
        problem = await answer.json(content_type="application/problem+json")
        assert (answer.status, problem["status"]) == (status, status)
        assert problem["title"]
        assert problem["detail"]
        return answer.headers.get("retry-after", "refused")


async def _event(stream: aiohttp.ClientResponse) -> dict[str, Any]:
    """Return the data of the next event that is more than a comment."""
    async with asyncio.timeout(10):
        while True:
            lines = (await stream.content.readuntil(b"\n\n")).decode().splitlines()
            fields = dict(line.split(": ", 1) for line in lines if ": " in line)
            if "data" in fields:
                told: dict[str, Any] = json.loads(fields["data"])
                assert int(fields["id"]) == told["version"]
                return told
