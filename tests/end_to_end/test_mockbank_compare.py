"""The drift report: planted differences are found, and between equal Mockbanks there is none."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web
from click.testing import CliRunner

from leanflow.errors import CallFailed, InvalidRequest
from leanflow.mockbank import Mockbank, Progress
from leanflow_adapters.cli._app import app
from leanflow_adapters.mockbank import MockbankServer, serve
from leanflow_adapters.mockbank._compare import Credentials, Report, compare
from leanflow_adapters.mockbank._compare._shapes import Shapes

NOBODY = "http://127.0.0.1:1"


@asynccontextmanager
async def sandbox(
    *, seed: int = 0, user: str = "mockbank_user_1", expired: bool = False, **settings: Any
) -> AsyncIterator[MockbankServer]:
    """Run a Mockbank that stands for the real sandbox, with one entity."""
    bank = Mockbank(seed, results_progress=Progress.at_once(), **settings)
    async with serve(bank) as server:
        entity = bank.connect("somebody", username=user, now=server.clock.now())
        if expired:
            bank.expire_session(entity)
        yield server


def credentials_of(bank: Mockbank) -> Credentials:
    """Return what a dashboard would show."""
    return Credentials(app=bank.app, secret=bank.client_secret)


def told(report: Report) -> set[tuple[str, str]]:
    """Return step and place of each difference."""
    return {(one.step.partition(":")[0], one.where) for one in report.differences}


# between equals


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("user", ["mockbank_user_1", "mockbank_user_4"])
async def test_equal_mockbanks_do_not_differ(seed: int, user: str) -> None:
    """Other seeds and other users are other data, and no other shape."""
    async with sandbox(seed=seed, user=user) as server:
        report = await compare(credentials_of(server.bank), server.base_url)
    assert report.differences == ()
    assert len(report.compared) > 55
    assert report.skipped == ("v2 refresh: only Mockbank was asked",)


async def test_the_saudi_side_does_not_differ_either() -> None:
    """A region is compared with the same region; v1 is refused there on both sides alike."""
    async with sandbox(region="ksa", seed=5) as server:
        report = await compare(credentials_of(server.bank), server.base_url, region="ksa")
        assert report.differences == ()
        other = await compare(credentials_of(server.bank), server.base_url, region="uae")
        assert other.differences


async def test_an_entity_that_wants_its_user_is_reconnected() -> None:
    """RECONNECT_REQUIRED is compared, the user comes, and so are the results and all data."""
    asked = []

    async def user(reconnect_id: str) -> None:
        asked.append(reconnect_id)
        assert server.user_types(reconnect_id, "1111").status == "SUCCESS"

    async with sandbox(expired=True) as server:
        report = await compare(credentials_of(server.bank), server.base_url, reconnect=user)
        assert len(asked) == 1
    assert report.differences == ()
    assert {"v2 accounts, user wanted", "v2 results, reconnected", "v2 accounts", "v1 transactions"} <= set(
        report.compared
    )


async def test_without_its_user_data_is_not_compared_and_that_is_said() -> None:
    """What was asked is compared, and on both sides the same is left out."""
    async with sandbox(expired=True) as server:
        report = await compare(credentials_of(server.bank), server.base_url)
    assert report.differences == ()
    assert "v2 accounts, user wanted" in report.compared
    assert "v2 identity" not in report.compared
    assert any("wants its user" in line for line in report.skipped)


async def test_without_an_entity_the_rest_is_compared() -> None:
    """Everything that needs none: tokens, banks, customers, what is wrong."""
    async with serve() as server:
        report = await compare(credentials_of(server.bank), server.base_url)
    assert report.differences == ()
    assert len(report.compared) > 30
    assert any("no live entity" in line for line in report.skipped)


async def test_an_entity_can_be_named() -> None:
    """It is that one's data which is asked for."""
    async with sandbox(user="mockbank_user_5") as server:  # the first is locked: its data calls fail
        live = server.bank.connect("another", now=server.clock.now())
        who = credentials_of(server.bank)
        assert ("v2 accounts", "status") in told(await compare(who, server.base_url))
        report = await compare(who, server.base_url, entity_id=live)
        assert report.differences == ()
        assert server.bank.log.count("data", entity_id=live) > 10


async def test_only_one_thing_is_made() -> None:
    """One customer, and neither entities nor refreshes; nothing is deleted."""
    async with sandbox() as server:
        before = server.bank.state()
        await compare(credentials_of(server.bank), server.base_url)
        after = server.bank.state()
        assert len(after["customers"]) == len(before["customers"]) + 1
        assert after["customers"][-1]["app_user_id"].startswith("leanflow-compare-")
        for unchanged in ("entities", "refreshes", "banks"):
            assert after[unchanged] == before[unchanged]
        assert {one.context.method for one in server.bank.log.calls} == {"GET", "POST"}


# planted differences


@attrs.frozen
class Answered:
    """An answer on its way through the proxy."""

    status: int
    headers: dict[str, str]
    body: Any


Planted = Callable[[Answered], Answered]


@asynccontextmanager
async def drifted(server: MockbankServer, path: str, planted: Planted) -> AsyncIterator[str]:
    """Run a proxy that changes the good answers of one path."""

    async def forward(request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        url = server.base_url + str(request.rel_url)
        async with http.request(request.method, url, data=body, headers=headers) as response:
            raw = await response.read()
            kept = ("content-type", "lean-correlation-id", "lean-trace-id", "cache-control")
            said = {name.lower(): value for name, value in response.headers.items() if name.lower() in kept}
            if not re.fullmatch(path, request.path) or response.status != 200:
                return web.Response(status=response.status, headers=said, body=raw)
            changed = planted(Answered(response.status, said, json.loads(raw)))
            return web.Response(status=changed.status, headers=changed.headers, body=json.dumps(changed.body).encode())

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(application, access_log=None)
    async with aiohttp.ClientSession() as http:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def in_body(change: Callable[[Any], Any]) -> Planted:
    """Plant a difference in the body."""

    def planted(answered: Answered) -> Answered:
        return attrs.evolve(answered, body=change(answered.body))

    return planted


def in_items(*names: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Planted:
    """Plant a difference in every item of an array, found under names."""

    def planted(body: Any) -> Any:
        if not names:
            return [change(one) for one in body]
        holder = body
        for name in names[:-1]:
            holder = holder[name]
        holder[names[-1]] = [change(one) for one in holder[names[-1]]]
        return body

    return in_body(planted)


def renamed(item: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """Return the item with one member under another name."""
    return {new if name == old else name: value for name, value in item.items()}


IDENTITY = r"/data/v2/identity"
TRANSACTIONS = r"/data/v2/accounts/[^/]+/transactions"
V2_TRANSACTIONS, IN_TRANSACTIONS = "v2 transactions", "data.transactions[]"

PLANTED: dict[str, tuple[str, Planted, set[tuple[str, str]]]] = {
    "a renamed member": (
        r"/banks/v1",
        in_items(change=lambda one: renamed(one, "arabic_name", "name_ar")),
        {("banks", "[].arabic_name"), ("banks", "[].name_ar")},
    ),
    "a member that is new": (
        TRANSACTIONS,
        in_items("data", "transactions", change=lambda one: {**one, "score": 1}),
        {(V2_TRANSACTIONS, f"{IN_TRANSACTIONS}.score")},
    ),
    "a member that is gone": (
        r"/oauth2/token",
        in_body(lambda body: {name: body[name] for name in body if name != "scope"}),
        {("token", "scope")},
    ),
    "money as text": (
        TRANSACTIONS,
        in_items("data", "transactions", change=lambda one: {**one, "amount": {**one["amount"], "amount": "1.00"}}),
        {(V2_TRANSACTIONS, f"{IN_TRANSACTIONS}.amount.amount")},
    ),
    "ids that are numbers": (
        TRANSACTIONS,
        in_items("data", "transactions", change=lambda one: {**one, "transaction_id": 7}),
        {(V2_TRANSACTIONS, f"{IN_TRANSACTIONS}.transaction_id")},
    ),
    "ids that are no UUIDs": (
        TRANSACTIONS,
        in_items("data", "transactions", change=lambda one: {**one, "transaction_id": "T-1"}),
        {(V2_TRANSACTIONS, f"{IN_TRANSACTIONS}.transaction_id")},
    ),
    "times of fewer digits": (
        r"/data/v1/balance",
        in_body(lambda body: {**body, "timestamp": re.sub(r"\.\d+", ".123", body["timestamp"])}),
        {("v1 balance", "timestamp")},
    ),
    "times with an offset": (
        r"/data/v1/balance",
        in_body(lambda body: {**body, "timestamp": body["timestamp"].replace("Z", "+03:00")}),
        {("v1 balance", "timestamp")},
    ),
    "another word of Lean's": (
        TRANSACTIONS,
        in_items("data", "transactions", change=lambda one: {**one, "credit_debit_indicator": "CRDT"}),
        {(V2_TRANSACTIONS, f"{IN_TRANSACTIONS}.credit_debit_indicator")},
    ),
    "null where there was something": (
        r"/data/v1/balance",
        in_body(lambda body: {**body, "results_id": None}),
        {("v1 balance", "results_id")},
    ),
    "an object where there was an array": (
        r"/banks/v1",
        in_body(lambda body: {"data": body}),
        {("banks", "body")},
    ),
    "another HTTP status": (
        r"/data/v1/balance",
        lambda answered: attrs.evolve(answered, status=203),
        {("v1 balance", "HTTP status")},
    ),
    "another status word": (
        r"/data/v1/balance",
        in_body(lambda body: {**body, "status": "SUCCESS"}),
        {("v1 balance", "status")},
    ),
    "another content type": (
        r"/data/v1/balance",
        lambda answered: attrs.evolve(answered, headers={**answered.headers, "content-type": "text/plain"}),
        {("v1 balance", "content type")},
    ),
    "a header that is gone": (
        r"/data/v1/balance",
        lambda answered: attrs.evolve(answered, headers={"content-type": answered.headers["content-type"]}),
        {("v1 balance", "header lean-correlation-id"), ("v1 balance", "header lean-trace-id")},
    ),
    "another payload of one webhook": (
        r"/events/v1",
        in_items("data", change=lambda one: {**one, "payload": renamed(one["payload"], "id", "entity_id")}),
        {
            ("events", "data[entity.created].payload.entity_id"),
            ("events", "data[entity.created].payload.id"),
            ("events", "data[results.ready].payload.entity_id"),
            ("events", "data[results.ready].payload.id"),
        },
    ),
}


@pytest.mark.parametrize("name", PLANTED)
async def test_a_planted_difference_is_found(name: str) -> None:
    """It is told at its step and its place, and nothing else is."""
    path, planted, expected = PLANTED[name]
    async with sandbox(seed=3) as server, drifted(server, path, planted) as url:
        report = await compare(credentials_of(server.bank), url, auth_url=url)
    assert told(report) == expected


async def test_the_proxy_alone_plants_nothing() -> None:
    """What the tests above find is what they planted."""
    async with sandbox(seed=3) as server, drifted(server, ".*", lambda answered: answered) as url:
        assert (await compare(credentials_of(server.bank), url)).differences == ()


async def test_what_may_be_chance_is_a_hint() -> None:
    """A member that only some items have, where all or none have it on the other side."""
    count = 0

    def sometimes(item: dict[str, Any]) -> dict[str, Any]:
        nonlocal count
        count += 1
        return {**item, "score": 1} if count % 2 else item

    planted = in_items("data", "transactions", change=sometimes)
    async with sandbox(seed=3) as server, drifted(server, TRANSACTIONS, planted) as url:
        report = await compare(credentials_of(server.bank), url)
    assert report.differences == ()
    hint = next(one for one in report.hints if one.where.endswith("score"))
    assert (hint.real, hint.mockbank) == ("absent or number", "absent")


async def test_no_value_is_told() -> None:
    """Neither credentials, ids, names nor amounts: planted secrets in members, names and words stay where they are."""

    def leaking(item: dict[str, Any]) -> dict[str, Any]:
        return {
            **item,
            "amount": "SECRETAMOUNT",
            "credit_debit_indicator": "Secret 99",
            "AE070331234567890123456": 1,
            "note": "SECRET",
        }

    planted = in_items("data", "transactions", change=leaking)
    async with sandbox(seed=3) as server, drifted(server, TRANSACTIONS, planted) as url:
        report = await compare(credentials_of(server.bank), url)
        values = [*server.bank.state()["entities"][0].values(), server.bank.app, server.bank.client_secret]
    assert ("v2 transactions", "data.transactions[].{…}") in told(report)
    text = "\n".join(report.lines(hints=True)) + json.dumps(attrs.asdict(report))
    for value in ["SECRET", "Secret 99", "AE0703", *(one for one in values if isinstance(one, str) and "-" in one)]:
        assert value not in text


def test_items_that_were_not_seen_are_not_judged() -> None:
    """An empty array says nothing of its items; a missing object nothing of its members."""
    for real, mockbank in (({"data": []}, {"data": [{"id": 1}]}), ({"data": [{"a": []}]}, {"data": [{"a": ["x"]}]})):
        assert list(Shapes(real).against(Shapes(mockbank), "step")) == []
    found = [one for _, one in Shapes({}).against(Shapes({"data": {"id": 1}}), "step")]
    assert [(one.where, one.real, one.mockbank) for one in found] == [("data", "absent", "object")]


# what cannot run


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://sandbox.leantech.me", "http or https"),
        ("https://user:secret@sandbox.leantech.me", "neither user"),
        ("http://sandbox.leantech.me", "must be https"),
        ("https://api2.leantech.me", "is no sandbox"),
        ("https://api2.sa.leantech.me", "is no sandbox"),
    ],
)
async def test_nothing_is_sent_to_a_wrong_address(url: str, why: str) -> None:
    """Production, plain http beyond this machine, and addresses with secrets in them are refused."""
    with pytest.raises(InvalidRequest, match=why) as caught:
        await compare(Credentials(app="a", secret="s"), url)
    assert "secret" not in str(caught.value)


async def test_without_a_token_or_an_answer_it_could_not_run() -> None:
    """A refused secret and a host that is gone are errors, and no report."""
    async with sandbox() as server:
        with pytest.raises(CallFailed, match="401 and no token"):
            await compare(Credentials(app=server.bank.app, secret="wrong"), server.base_url)
        with pytest.raises(InvalidRequest, match="apis"):
            await compare(credentials_of(server.bank), server.base_url, apis=["v3"])
    with pytest.raises(CallFailed, match="no answer"):
        await compare(Credentials(app="a", secret="s"), NOBODY)


# the command


async def started(bank: Mockbank, *arguments: str) -> asyncio.subprocess.Process:
    """Start `leanflow mockbank compare` as a process."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "leanflow_adapters.cli", "mockbank", "compare", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LEAN_APP_ID": bank.app, "LEAN_CLIENT_SECRET": bank.client_secret},
    )  # fmt: skip


async def ended(process: asyncio.subprocess.Process, stdin: bytes = b"") -> tuple[int, str, str]:
    """Let it go on, with this from the keyboard; return exit status, output and complaints."""
    async with asyncio.timeout(60):
        out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_command_tells_and_exits_as_it_says() -> None:
    """0 without differences, 1 with some, 2 if it could not run; JSON for programs."""
    async with sandbox(seed=3) as server:
        code, out, err = await ended(await started(server.bank, "--base-url", server.base_url, "--json"))
        assert (code, err) == (0, "")
        assert json.loads(out)["differences"] == []
        path, planted, expected = PLANTED["a renamed member"]
        async with drifted(server, path, planted) as url:
            code, out, err = await ended(await started(server.bank, "--base-url", url, "--api", "v2"))
        assert (code, err) == (1, "")
        lines = out.splitlines()
        assert lines[0] == "banks: GET /banks/v1"
        assert {line.split()[0] for line in lines[1:3]} == {where for _, where in expected}
        assert "differences: 2;" in lines[-1]
        code, out, err = await ended(await started(server.bank, "--base-url", NOBODY))
        assert (code, out) == (2, "")
        assert "no answer" in err


@pytest.mark.parametrize(("keys", "wanted"), [(b"\n", 0), (b"", 2)], ids=["Enter", "nobody"])
async def test_the_command_waits_for_the_user(keys: bytes, wanted: int) -> None:
    """With --reconnect it tells the id and goes on after Enter; with nobody at the keyboard it could not run."""
    async with sandbox(expired=True) as server:
        process = await started(server.bank, "--base-url", server.base_url, "--reconnect")
        assert process.stderr is not None
        async with asyncio.timeout(60):
            asked = (await process.stderr.readline()).decode()
        found = re.search(r"reconnect_id=(\S+)", asked)
        assert found is not None, asked
        assert server.user_types(found[1], "1111").status == "SUCCESS"
        code, out, err = await ended(process, keys)
        assert code == wanted
        assert ("differences: 0;" in out) == (wanted == 0)
        assert ("nobody is there" in err) == (wanted == 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("compare",), "Missing option '--base-url'"),
        (("compare", "--base-url", NOBODY), "LEAN_APP_ID is not set"),
        (("compare", "--base-url", NOBODY, "--api", "v3"), "Invalid value for '--api'"),
        (("--port", "1", "compare", "--base-url", NOBODY), "--port has no meaning before compare"),
    ],
)
def test_called_wrongly_it_says_so(arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 2, and one line that says what is wrong."""
    monkeypatch.delenv("LEAN_APP_ID", raising=False)
    result = CliRunner().invoke(app, ["mockbank", *arguments], prog_name="leanflow")
    assert result.exit_code == 2
    assert said in result.stderr
