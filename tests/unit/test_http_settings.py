"""What `LeanTransport` takes, refuses, and never shows."""

from __future__ import annotations

import copy
import gc
import logging
import pickle
import traceback
from datetime import timedelta
from typing import Any

import aiohttp
import attrs
import pytest

from leanflow._call import Call
from leanflow.errors import CallFailed, InvalidRequest, LeanflowError
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.http._exchange import Exchange
from leanflow_adapters.http._hosts import HOSTS
from leanflow_adapters.http._transport import _headers, _target

# Kept out of the lines that use them: a traceback shows those lines.
SECRETS = ("id-7f3a", "secret-91bc", "token-44de")
BODY = b"private"
URL_WITH_PASSWORD = "https://user:hunter2@host"


def test_it_is_built_without_an_event_loop() -> None:
    """A transport can be made at module level, where no loop runs."""
    assert "sandbox.leantech.me" in repr(LeanTransport(app_token="t"))


@pytest.mark.parametrize(
    ("region", "environment", "oauth", "old"),
    [
        ("uae", "sandbox", "https://sandbox.leantech.me", "https://sandbox.leantech.me"),
        ("uae", "production", "https://api2.leantech.me", "https://api.leantech.me"),
        ("ksa", "sandbox", "https://sandbox.sa.leantech.me", "https://sandbox.sa.leantech.me"),
        ("ksa", "production", "https://api2.sa.leantech.me", "https://api2.sa.leantech.me"),
    ],
)
def test_each_region_and_environment_has_its_hosts(region: str, environment: str, oauth: str, old: str) -> None:
    """Region, environment and the way of authentication choose the API's host."""
    by_oauth = LeanTransport(client_id="i", client_secret="s", region=region, environment=environment)
    by_token = LeanTransport(app_token="t", region=region, environment=environment)
    assert f"base_url={oauth!r}" in repr(by_oauth)
    assert f"base_url={old!r}" in repr(by_token)


def test_the_table_of_hosts_is_complete() -> None:
    """Four combinations, each with three https hosts."""
    assert set(HOSTS) == {(r, e) for r in ("uae", "ksa") for e in ("sandbox", "production")}
    assert all(url.startswith("https://") for hosts in HOSTS.values() for url in attrs.astuple(hosts))


@pytest.mark.parametrize(
    ("settings", "parameter"),
    [
        ({}, "client_id"),
        ({"client_id": "i"}, "client_secret"),
        ({"client_secret": "s"}, "client_id"),
        ({"client_id": "", "client_secret": "s"}, "client_id"),
        ({"client_id": "i", "client_secret": ""}, "client_secret"),
        ({"client_id": "i", "client_secret": "s\n"}, "client_secret"),
        ({"app_token": ""}, "app_token"),
        ({"app_token": "t", "client_id": "i"}, "app_token"),
        ({"app_token": "t", "region": "eu"}, "region"),
        ({"app_token": "t", "environment": "live"}, "environment"),
        ({"app_token": "t", "base_url": "ftp://x"}, "base_url"),
        ({"app_token": "t", "base_url": "localhost:80"}, "base_url"),
        ({"app_token": "t", "base_url": "http://x/?a=1"}, "base_url"),
        ({"app_token": "t", "auth_url": "http://x:99999"}, "auth_url"),
        ({"app_token": "t", "timeout": 0}, "timeout"),
        ({"app_token": "t", "timeout": float("nan")}, "timeout"),
        ({"app_token": "t", "timeout": 5, "connect_timeout": 5}, "connect_timeout"),
        ({"app_token": "t", "max_answer": -1}, "max_answer"),
        ({"app_token": "t", "scope": "api admin"}, "scope"),
        ({"app_token": "t", "ssl": False}, "ssl"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], parameter: str) -> None:
    """A wrong argument raises `InvalidRequest` with its name."""
    with pytest.raises(InvalidRequest) as caught:
        LeanTransport(**settings)
    assert caught.value.parameter == parameter


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    """A base URL with credentials is refused without repeating them."""
    with pytest.raises(InvalidRequest) as caught:
        LeanTransport(app_token="t", base_url=URL_WITH_PASSWORD)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "transport",
    [
        LeanTransport(client_id=SECRETS[0], client_secret=SECRETS[1]),
        LeanTransport(app_token=SECRETS[2]),
    ],
)
def test_no_secret_shows_in_a_repr_or_a_dump_of_attributes(transport: LeanTransport) -> None:
    """repr, str, and every attribute of the transport and of what they hold are free of secrets."""
    shown = [repr(transport), str(transport), f"{transport}"]
    shown += [repr(getattr(transport, name, None)) for name in LeanTransport.__slots__]
    assert not hasattr(transport, "__dict__")
    assert not [text for text in shown for secret in SECRETS if secret in text]


def test_a_secret_is_neither_pickled_nor_copied() -> None:
    """Pickling or deep-copying a transport fails instead of carrying the secrets off."""
    transport = LeanTransport(app_token=SECRETS[2])
    with pytest.raises(TypeError):
        pickle.dumps(transport)
    with pytest.raises(TypeError):
        copy.deepcopy(transport)


def test_what_is_sent_does_not_show_its_headers_or_body() -> None:
    """The value that holds one exchange hides what carries secrets and people's data."""
    sent = Exchange(
        method="POST", url="http://h/?q=1", headers={"authorization": SECRETS[2]}, body=SECRETS[1].encode(),
        timeout=1, connect_timeout=1, max_body=1,
    )  # fmt: skip
    assert not [secret for secret in SECRETS if secret in repr(sent)]


async def test_errors_and_logs_hold_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """A failing call leaves no secret in the error, its causes, or the logs."""
    caplog.set_level(logging.DEBUG)
    urls: dict[str, Any] = {"base_url": "http://127.0.0.1:1", "auth_url": "http://127.0.0.1:1"}
    seen: list[str] = []
    for transport in (
        LeanTransport(client_id=SECRETS[0], client_secret=SECRETS[1], **urls),
        LeanTransport(app_token=SECRETS[2], **urls),
    ):
        async with transport:
            with pytest.raises(CallFailed) as caught:
                await transport.send(Call(method="GET", path="/x", body=BODY))
        exc: BaseException | None = caught.value
        while exc is not None:
            seen += [repr(exc), str(exc), repr(exc.args), repr(vars(exc))]
            exc = exc.__cause__ or exc.__context__
        seen += traceback.format_exception(caught.value)
    seen.append(caplog.text)
    assert not [secret for secret in (*SECRETS, BODY.decode()) if secret in "\n".join(seen)]


def test_paths_go_as_they_are_and_queries_are_quoted_once() -> None:
    """Quoted paths are not quoted again; names and values of the query are."""
    call = Call(method="GET", path="/a%2Fb%20c/", query={"meta": '{"a":"b c&d+é%20"}', "page": "0"})
    assert _target("http://h/base", call) == (
        "http://h/base/a%2Fb%20c/?meta=%7B%22a%22%3A%22b%20c%26d%2B%C3%A9%2520%22%7D&page=0"
    )


@pytest.mark.parametrize("path", ["", "x", "/a b", "/a?b", "/a#b", "/é", "/a\r\nb", "/a/../b", "/a/%2E%2e/b", "/a\\b"])
def test_a_path_that_would_change_on_the_way_is_refused(path: str) -> None:
    """A path that is not quoted, or that goes up, never leaves."""
    with pytest.raises(InvalidRequest):
        _target("http://h", Call(method="GET", path=path))


def test_an_unknown_method_is_refused() -> None:
    """Only HTTP's methods are sent."""
    with pytest.raises(InvalidRequest):
        _target("http://h", Call(method="get", path="/"))


def test_a_call_cannot_choose_who_it_is() -> None:
    """Authentication and framing headers of a call are dropped, the others kept in lower case."""
    headers = _headers(
        Call(method="GET", path="/", headers={"Authorization": "x", "HOST": "y", "Customer-IP": "1.2.3.4"})
    )
    assert headers == {"accept": "application/json", "user-agent": "leanflow", "customer-ip": "1.2.3.4"}


@pytest.mark.parametrize("headers", [{"x": "a\r\nb: c"}, {"x\r\ny": "a"}, {"": "a"}, {"x y": "a"}])
def test_a_header_that_would_become_two_is_refused(headers: dict[str, str]) -> None:
    """A line end in a header is an error, not a second header."""
    with pytest.raises(InvalidRequest):
        _headers(Call(method="GET", path="/", headers=headers))


@pytest.mark.parametrize("customer_id", ["", "a b", "c api", "é", "a\n"])
async def test_a_customer_id_cannot_widen_the_scope(customer_id: str) -> None:
    """An id with a space would ask for two scopes, so it is refused before anything is sent."""
    async with LeanTransport(client_id="i", client_secret="s", auth_url="http://127.0.0.1:1") as transport:
        with pytest.raises(InvalidRequest):
            await transport.token(customer_id)


async def test_the_app_token_way_has_no_customer_tokens() -> None:
    """Under `app_token` there is no token for the SDK, and nothing is sent to find that out."""
    assert await LeanTransport(app_token="t", auth_url="http://127.0.0.1:1").token("c") is None


async def test_a_handed_session_is_not_closed() -> None:
    """Closing closes only what the transport opened."""
    async with aiohttp.ClientSession() as session:
        async with LeanTransport(app_token="t", base_url="http://127.0.0.1:1", session=session) as transport:
            with pytest.raises(LeanflowError):
                await transport.send(Call(method="GET", path="/"))
        assert not session.closed


async def test_a_closed_handed_session_is_named() -> None:
    """A session closed by its owner is a set-up error that names it."""
    session = aiohttp.ClientSession()
    await session.close()
    with pytest.raises(LeanflowError, match="session"):
        await LeanTransport(app_token="t", session=session).send(Call(method="GET", path="/"))


async def test_an_unused_transport_leaves_nothing_open() -> None:
    """A transport that is never used has nothing to close."""
    LeanTransport(app_token="t")
    gc.collect()


async def test_the_system_clock_is_aware_and_passes_nothing_backwards() -> None:
    """Time is UTC with its zone; a sleep of less than nothing returns."""
    clock = SystemClock()
    before = clock.now()
    await clock.sleep(-1)
    assert before.utcoffset() == timedelta(0)
    assert clock.now() >= before
