"""`LeanTransport` against real servers on loopback: tokens, refusals, lost connections, TLS."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from leanflow._call import Call
from leanflow.errors import CallFailed, WrongLoop
from leanflow.testing import FakeClock
from leanflow_adapters.http import LeanTransport

CALL = Call(method="GET", path="/data/v2/accounts", query={"entity_id": "e"})
POST = Call(method="POST", path="/data/v1/accounts", body=b"{}")


class Lean:
    """A server with a token endpoint and one answer for everything else; remembers what it was asked."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.asked_twice = asyncio.Event()
        self.seen: list[web.BaseRequest] = []
        self.bodies: list[bytes] = []
        self.accepted: set[str] | None = None  # tokens that are good; None: all are
        self.token_status = 200
        self.answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] = self._ok

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer anything."""
        body = await request.read()
        if request.path == "/oauth2/token":
            return self._token({name: str(value) for name, value in (await request.post()).items()})
        self.seen.append(request)
        self.bodies.append(body)
        word = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.accepted is not None and word not in self.accepted:
            return web.Response(status=401, body=b"no")
        return await self.answer(request)

    def _token(self, form: dict[str, str]) -> web.Response:
        self.forms.append(form)
        if len(self.forms) == 2:
            self.asked_twice.set()
        body = {"access_token": f"t{len(self.forms)}", "expires_in": 3599, "token_type": "Bearer"}
        return web.json_response(body, status=self.token_status)

    async def _ok(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b'{"status":"OK"}', headers={"Lean-Correlation-Id": "c1"})


@asynccontextmanager
async def served(lean: Lean, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve on a free port of loopback."""
    runner = web.ServerRunner(web.Server(lean.handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}" if tls is None else f"https://localhost:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def spoken(script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """Serve raw bytes on a free port of loopback; a script speaks on each connection and then it is closed."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(run, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def oauth(url: str, **settings: Any) -> LeanTransport:
    """Return a transport whose API and token endpoint are at one URL."""
    return LeanTransport(client_id="id", client_secret="s3", base_url=url, auth_url=url, **settings)


def old(url: str, **settings: Any) -> LeanTransport:
    """Return a transport with an app token."""
    return LeanTransport(app_token="app", base_url=url, **settings)


# --- what goes over the wire


async def test_a_call_goes_through_as_it_is() -> None:
    """Method, quoted path, query, headers and body arrive unchanged; status, headers and raw body come back."""
    lean = Lean()
    call = Call(
        method="POST",
        path="/a%2Fb%20c%41",  # %41 is an A: quoted without need, and to be left so
        query={"meta": '{"k":"a b&c+é%41"}', "page": "0"},
        headers={"customer-ip": "1.2.3.4"},
        body='{"x":"é"}'.encode(),
    )
    async with served(lean) as url, old(url + "/prefix/") as transport:
        answer = await transport.send(call)
    (request,) = lean.seen
    assert request.method == "POST"
    assert request.raw_path == "/prefix/a%2Fb%20c%41?meta=%7B%22k%22%3A%22a%20b%26c%2B%C3%A9%2541%22%7D&page=0"
    assert dict(request.query) == dict(call.query)
    assert request.headers["customer-ip"] == "1.2.3.4"
    assert request.headers["content-type"] == "application/json"
    assert lean.bodies == [call.body]
    assert (answer.status, answer.body) == (200, b'{"status":"OK"}')
    assert answer.headers["lean-correlation-id"] == "c1"


async def test_oauth_asks_with_a_form_and_sends_a_bearer() -> None:
    """The token endpoint gets client credentials as a form; the call carries the token."""
    lean = Lean()
    async with served(lean) as url, oauth(url) as transport:
        await transport.send(CALL)
    assert lean.forms == [
        {"client_id": "id", "client_secret": "s3", "grant_type": "client_credentials", "scope": "api"}
    ]
    assert lean.seen[0].headers["authorization"] == "Bearer t1"
    assert "lean-app-token" not in lean.seen[0].headers


async def test_the_app_token_goes_in_its_header() -> None:
    """The older way sends `lean-app-token` and asks for no token."""
    lean = Lean()
    async with served(lean) as url, old(url) as transport:
        await transport.send(POST)
    assert lean.seen[0].headers["lean-app-token"] == "app"
    assert "authorization" not in lean.seen[0].headers
    assert not lean.forms


async def test_fifty_callers_make_one_token_request() -> None:
    """Fifty calls at once over real sockets ask for one token."""
    lean = Lean()
    async with served(lean) as url, oauth(url) as transport:
        answers = await asyncio.gather(*(transport.send(CALL) for _ in range(50)))
    assert [answer.status for answer in answers] == [200] * 50
    assert len(lean.forms) == 1


async def test_a_token_is_renewed_early() -> None:
    """In its last five minutes a token is replaced while calls go on with the old one."""
    lean, clock = Lean(), FakeClock()
    async with served(lean) as url, oauth(url, clock=clock) as transport:
        await transport.send(CALL)
        clock.advance(timedelta(seconds=3400))
        await transport.send(CALL)
        await lean.asked_twice.wait()
        await transport.send(CALL)
        await transport.send(CALL)
    assert [request.headers["authorization"][-2:] for request in lean.seen][:2] == ["t1", "t1"]
    assert lean.seen[3].headers["authorization"] == "Bearer t2"
    assert len(lean.forms) == 2


async def test_a_customer_token_is_kept_and_renewed_before_ten_minutes_are_left() -> None:
    """`token` asks for the customer's scope once, and again when less than 10 minutes would be left."""
    lean, clock = Lean(), FakeClock()
    async with served(lean) as url, oauth(url, clock=clock) as transport:
        assert await transport.token("c-1") == "t1"
        assert await transport.token("c-1") == "t1"
        assert await transport.token("c-2") == "t2"
        clock.advance(timedelta(seconds=3000))
        assert await transport.token("c-1") == "t3"
    assert [form["scope"] for form in lean.forms] == ["customer.c-1", "customer.c-2", "customer.c-1"]


# --- refusals


async def test_a_401_is_answered_with_a_fresh_token_once() -> None:
    """A refused token is replaced and the call sent once more."""
    lean = Lean()
    lean.accepted = {"t2"}
    async with served(lean) as url, oauth(url) as transport:
        answers = await asyncio.gather(*(transport.send(CALL) for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len(lean.forms) == 2


async def test_a_second_401_is_the_answer() -> None:
    """When the fresh token is refused too, the 401 is returned."""
    lean = Lean()
    lean.accepted = set()
    async with served(lean) as url, oauth(url) as transport:
        answer = await transport.send(CALL)
    assert (answer.status, answer.body) == (401, b"no")
    assert (len(lean.forms), len(lean.seen)) == (2, 2)


async def test_a_401_under_an_app_token_is_the_answer() -> None:
    """There is nothing to renew: the 401 is returned at once."""
    lean = Lean()
    lean.accepted = set()
    async with served(lean) as url, old(url) as transport:
        assert (await transport.send(POST)).status == 401
    assert len(lean.seen) == 1


async def test_no_token_means_that_nothing_was_sent() -> None:
    """A refusing token endpoint is a call that certainly did not reach the API."""
    lean = Lean()
    lean.token_status = 401
    async with served(lean) as url, oauth(url) as transport:
        with pytest.raises(CallFailed, match="token endpoint answered 401") as caught:
            await transport.send(CALL)
    assert not caught.value.maybe_sent
    assert not lean.seen


@pytest.mark.parametrize("status", [301, 307])
async def test_a_redirect_is_an_answer(status: int) -> None:
    """Redirects are not followed: secrets would go to another host."""
    lean = Lean()

    async def away(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, headers={"location": "/elsewhere"})

    lean.answer = away
    async with served(lean) as url, old(url) as transport:
        answer = await transport.send(POST)
    assert (answer.status, answer.headers["location"]) == (status, "/elsewhere")
    assert len(lean.seen) == 1


@pytest.mark.parametrize("length", [True, False])
async def test_an_answer_over_the_cap_is_an_error(length: bool) -> None:
    """A body over the cap is not kept, whether its length is announced or not; one of just that size is fine."""
    lean = Lean()
    size = 200_000

    async def big(request: web.BaseRequest) -> web.StreamResponse:
        if length:
            return web.Response(body=b"x" * size)
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(size // 1000):
            await response.write(b"x" * 1000)
        return response

    lean.answer = big
    async with served(lean) as url, old(url, max_answer=size) as fits, old(url, max_answer=size - 1) as short:
        assert len((await fits.send(CALL)).body) == size
        with pytest.raises(CallFailed, match="more than 199999 bytes") as caught:
            await short.send(CALL)
    assert caught.value.maybe_sent


async def test_a_compressed_answer_is_capped_by_what_it_becomes() -> None:
    """A small compressed body that becomes a large one meets the same cap."""
    lean = Lean()

    async def bomb(request: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(body=b"0" * 5_000_000)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    lean.answer = bomb
    async with served(lean) as url, old(url, max_answer=1_000_000) as transport:
        with pytest.raises(CallFailed, match="more than"):
            await transport.send(CALL)


# --- lost connections


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
    release = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()

    async with spoken(silent) as url, oauth(url, timeout=0.2, connect_timeout=0.1) as transport:
        with pytest.raises(CallFailed, match=r"no token within 0\.2 s") as caught:
            await transport.send(CALL)
        release.set()
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
    release = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()

    async with spoken(silent) as url, old(url, timeout=0.2, connect_timeout=0.1) as transport:
        with pytest.raises(CallFailed, match=r"no whole answer within 0\.2 s") as caught:
            await transport.send(POST)
        release.set()
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

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.set()
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()

    async with spoken(silent) as url, old(url, max_connections=1, connect_timeout=0.1) as transport:
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


# --- TLS


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, a server's certificate for localhost, and a client's."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: the TLS tests need it to make certificates")
    directory = tmp_path_factory.mktemp("pki")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    ca = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _openssl(
        directory, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2", *ca
    )
    for name, extension in {"server": "subjectAltName=DNS:localhost", "client": "keyUsage=digitalSignature"}.items():
        (directory / f"{name}.ext").write_text(extension)
        _openssl(directory, "req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        _openssl(
            directory, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", f"{name}.pem", "-days", "2", "-extfile", f"{name}.ext",
        )  # fmt: skip
    return directory


def _server_tls(pki: Path, *, wants_client: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.pem"))
    context.load_cert_chain(pki / "server.pem", pki / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED if wants_client else ssl.CERT_NONE
    return context


async def test_a_client_certificate_is_shown_to_both_hosts(pki: Path) -> None:
    """Given a context with a client certificate, the API and the token endpoint accept us."""
    lean = Lean()
    client = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    client.load_cert_chain(pki / "client.pem", pki / "client.key")
    async with served(lean, _server_tls(pki, wants_client=True)) as url, oauth(url, ssl=client) as transport:
        assert (await transport.send(CALL)).status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_missing_client_certificate_is_named(pki: Path, version: ssl.TLSVersion) -> None:
    """Where a client certificate is wanted and there is none, the error says so, whatever TLS makes of it."""
    lean = Lean()
    server = _server_tls(pki, wants_client=True)
    server.minimum_version = server.maximum_version = version
    client = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    async with served(lean, server) as url, old(url, ssl=client) as transport:
        with pytest.raises(CallFailed, match="client certificate") as caught:
            await transport.send(POST)
    # Under TLS 1.3 the call has left before the refusal comes back: the client cannot know that it was not read.
    assert caught.value.maybe_sent is (version is ssl.TLSVersion.TLSv1_3)
    assert not lean.seen


async def test_an_untrusted_server_was_not_sent(pki: Path) -> None:
    """A server whose CA we do not know gets nothing."""
    lean = Lean()
    async with served(lean, _server_tls(pki, wants_client=False)) as url, old(url) as transport:
        with pytest.raises(CallFailed, match="is not trusted") as caught:
            await transport.send(POST)
    assert not caught.value.maybe_sent
    assert not lean.seen


async def test_a_server_without_tls_was_not_sent() -> None:
    """A failing TLS handshake: nothing was sent."""
    lean = Lean()
    async with served(lean) as url, old(url.replace("http:", "https:")) as transport:
        with pytest.raises(CallFailed, match="no TLS with") as caught:
            await transport.send(POST)
    assert not caught.value.maybe_sent
