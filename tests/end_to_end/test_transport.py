"""`LeanTransport` against real servers on loopback: tokens, refusals, TLS."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from leanflow._call import Call
from leanflow.errors import CallFailed
from leanflow.testing import FakeClock
from tests.support.transports import CALL, POST, Lean, oauth, old, served

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
