"""Mockbank on a port: a strange client walks the whole loop over real sockets, in v1 and in v2."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from leanflow._lean.signature import verify
from leanflow.errors import InvalidRequest, NotStarted
from leanflow.mockbank import Disturbance, Fault, Mockbank
from leanflow_adapters.mockbank import HandClock, MockbankServer, ScaledClock, serve


class Receiver:
    """A webhook endpoint of a backend: keeps what comes, answers with a status."""

    def __init__(self, secret: str) -> None:
        self.status = 200
        self.url = ""
        self.seen: list[dict[str, Any]] = []
        self.genuine: list[bool] = []
        self.came = asyncio.Event()
        self._secret = secret

    async def take(self, request: web.Request) -> web.Response:
        """Take one webhook."""
        raw = await request.read()
        self.genuine.append(verify(raw, request.headers.get("lean-signature"), self._secret))
        self.seen.append(json.loads(raw))
        self.came.set()
        return web.Response(status=self.status, headers={"location": self.url} if self.status in (302, 307) else None)

    @property
    def types(self) -> list[str]:
        """The types that came, in order."""
        return [one["type"] for one in self.seen]

    async def until(self, count: int) -> None:
        """Wait until so many have come."""
        async with asyncio.timeout(10):
            while len(self.seen) < count:
                self.came.clear()
                await self.came.wait()


@asynccontextmanager
async def receiving(secret: str) -> AsyncIterator[Receiver]:
    """Run a receiver on a free port."""
    receiver = Receiver(secret)
    app = web.Application()
    app.router.add_post("/webhooks", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks"
    try:
        yield receiver
    finally:
        await runner.cleanup()


class Client:
    """What a stranger would write with nothing but Lean's documentation."""

    def __init__(self, server: MockbankServer, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.http = http
        self.headers: dict[str, str] = {}

    async def log_in(self) -> None:
        """Fetch an api token."""
        bank = self.server.bank
        form = {
            "client_id": bank.app,
            "client_secret": bank.client_secret,
            "grant_type": "client_credentials",
            "scope": "api",
        }
        async with self.http.post(f"{self.server.auth_url}/oauth2/token", data=form) as response:
            assert response.status == 200
            self.headers = {"Authorization": f"Bearer {(await response.json())['access_token']}"}

    async def ask(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """Send one call; return the parsed body."""
        url = self.server.base_url + path
        async with self.http.request(method, url, json=body, params=query, headers=self.headers) as response:
            return json.loads(await response.read())

    async def control(self, command: str, **args: Any) -> Any:
        """Use the control route."""
        async with self.http.post(f"{self.server.base_url}/_mockbank/{command}", json=args) as response:
            return {**await response.json(), "http": response.status}


@asynccontextmanager
async def standing(bank: Mockbank | None = None, **how: Any) -> AsyncIterator[tuple[MockbankServer, Receiver, Client]]:
    """Run Mockbank, a receiver and a client."""
    bank = bank or Mockbank()
    async with (
        receiving(bank.webhook_secret) as receiver,
        serve(bank, webhook_url=receiver.url, **how) as server,
        aiohttp.ClientSession() as http,
    ):
        client = Client(server, http)
        await client.log_in()
        yield server, receiver, client


@pytest.mark.parametrize("api", ["v1", "v2"])
async def test_a_stranger_walks_the_whole_loop(api: str) -> None:
    """Customer, connect, data, expired session, RECONNECT_REQUIRED, OTP, two signed webhooks, results."""
    async with standing() as (server, receiver, client):
        customer = await client.ask("POST", "/customers/v1/", {"app_user_id": "user-17"})
        connected = await client.control("connect", app_user_id="user-17", username="mockbank_user_3")
        assert connected["customer_id"] == customer["customer_id"]
        entity = connected["entity_id"]

        async def accounts() -> Any:
            if api == "v1":
                return await client.ask("POST", "/data/v1/accounts", {"entity_id": entity})
            return await client.ask("GET", "/data/v2/accounts", entity_id=entity)

        assert (await accounts())["status"] == "OK"
        await client.control("expire_session", entity_id=entity)
        wanted = await accounts()
        assert wanted["status"] == "RECONNECT_REQUIRED"
        reconnect_id = wanted["payload"]["reconnect_id"] if api == "v1" else wanted["results_id"]
        assert (await client.control("otp", reconnect_id=reconnect_id, otp="0000"))["attempts_left"] == 2
        outcome = server.user_types(reconnect_id, "1111")
        assert outcome.status == "SUCCESS"
        await receiver.until(3)
        assert receiver.types == ["entity.created", "entity.reconnected", "results.ready"]
        assert receiver.genuine == [True] * 3
        assert receiver.seen[1]["payload"] == {"id": entity, "reconnect_id": reconnect_id}
        path = "/v1/results" if api == "v1" else "/data/v2/results"
        data = await client.ask("GET", f"{path}/{receiver.seen[2]['payload']['id']}")
        assert data["status"] == "OK"
        assert (data["payload"] if api == "v1" else data["data"])["accounts"]
        assert (await accounts())["status"] == "OK"
        told = await client.ask("GET", "/events/v1", page="0", size="10")
        assert {one["event_id"] for one in told["data"]} == {one["event_id"] for one in receiver.seen}


async def test_webhooks_follow_the_schedule_of_a_clock_moved_by_hand() -> None:
    """A receiver that refuses is asked again at 1, 2, 5, 10, 60 and 180 minutes, and then left alone."""
    clock = HandClock()
    async with standing(clock=clock) as (server, receiver, _):
        receiver.status = 500
        server.bank.connect(now=clock.now())
        await server.settle()
        assert len(receiver.seen) == 1
        counts = []
        for minutes in (1, 1, 3, 5, 50, 120, 10_000):
            await server.advance(timedelta(minutes=minutes))
            counts.append(len(receiver.seen))
        assert counts == [2, 3, 4, 5, 6, 7, 7]
        assert len({one["event_id"] for one in receiver.seen}) == 1


async def test_advancing_stops_at_each_due_moment() -> None:
    """One long advance makes every attempt at its own time."""
    clock = HandClock()
    async with standing(clock=clock) as (server, receiver, _):
        receiver.status = 500
        began = clock.now()
        server.bank.connect(now=began)
        await server.advance(timedelta(hours=4))
        minutes = [(one.at - began) / timedelta(minutes=1) for one in server.bank.log.webhooks]
        assert minutes == [0, 1, 2, 5, 10, 60, 180]
        assert clock.now() == began + timedelta(hours=4)


async def test_a_scaled_clock_delivers_by_itself() -> None:
    """On a fast clock, PENDING becomes ready and is announced without anybody asking."""
    async with standing(clock=ScaledClock(600.0)) as (server, receiver, client):
        entity = (await client.control("connect"))["entity_id"]
        said = await client.ask("GET", "/data/v2/accounts", entity_id=entity, **{"async": "true"})
        assert said["status"] == "PENDING"
        await receiver.until(2)
        assert receiver.seen[1]["payload"] == {"id": said["results_id"]}
        receiver.status = 503
        server.bank.emit("payment.created", {"id": "p"}, now=server.clock.now())
        server.wake()
        await receiver.until(4)  # again after a minute, which is 0.1 s here
        assert receiver.types[2:4] == ["payment.created"] * 2


async def test_what_is_due_sooner_is_not_kept_waiting_by_a_retry() -> None:
    """While a refused webhook waits for its minute, one that is due in two seconds is sent after two seconds."""
    clock = HandClock()
    async with standing(clock=clock) as (server, receiver, client):
        receiver.status = 503
        entity = server.bank.connect(now=clock.now())
        await server.settle()
        receiver.status = 200
        await client.ask("GET", "/data/v2/accounts", entity_id=entity, **{"async": "true"})
        clock.advance(timedelta(seconds=2))
        await receiver.until(2)
        assert receiver.types == ["entity.created", "results.ready"]


async def test_what_a_moved_clock_made_due_is_sent_when_the_server_is_woken() -> None:
    """A clock that was moved behind the server's back lets sleepers sleep on; `wake` makes it look again."""
    clock = ScaledClock()
    async with standing(clock=clock) as (server, receiver, _):
        receiver.status = 503
        server.bank.connect(now=clock.now())
        await server.settle()
        receiver.status = 200
        clock.advance(timedelta(minutes=1))
        server.wake()
        await receiver.until(2)
        assert receiver.types == ["entity.created"] * 2


async def test_a_receiver_that_is_gone_has_not_answered() -> None:
    """A refused connection is a failed attempt; once the receiver is back, the next attempt reaches it."""
    clock = HandClock()
    async with standing(clock=clock) as (server, receiver, _):
        server.webhook_url = "http://127.0.0.1:1/nobody"
        server.bank.connect(now=clock.now())
        await server.settle()
        assert [one.status for one in server.bank.log.webhooks] == [None]
        server.webhook_url = receiver.url
        await server.advance(timedelta(minutes=1))
        assert [one.status for one in server.bank.log.webhooks] == [None, 200]


async def test_webhooks_wait_for_an_address() -> None:
    """Without a URL nothing is sent; when it is set, what waits is sent in order."""
    bank = Mockbank()
    async with receiving(bank.webhook_secret) as receiver, serve(bank, clock=HandClock()) as server:
        bank.connect("a")
        bank.connect("b")
        await server.settle()
        assert receiver.seen == []
        server.webhook_url = receiver.url
        await receiver.until(2)
        assert [one["payload"]["app_user_id"] for one in receiver.seen] == ["a", "b"]


async def test_disturbances_reach_the_wire() -> None:
    """Duplicated, reversed, forged and dropped webhooks arrive, or do not, as told over the control route."""
    async with standing(clock=HandClock()) as (server, receiver, client):
        entity = (await client.control("connect"))["entity_id"]
        await server.settle()
        receiver.seen.clear()
        receiver.genuine.clear()
        await client.control("expire_session", entity_id=entity)
        asked = (await client.ask("GET", "/data/v2/accounts", entity_id=entity))["results_id"]
        await client.control("disturb", reverse=True, copies=1, forgeries=1, times=2)
        assert (await client.control("otp", reconnect_id=asked, otp="1111"))["status"] == "SUCCESS"
        await client.control("settle")
        assert receiver.types == ["results.ready"] * 3 + ["entity.reconnected"] * 3
        assert sorted(receiver.genuine) == [False] * 2 + [True] * 4
        await client.control("drop", types=["entity.updated"])
        await client.control("revoke_consent", entity_id=entity)
        await client.control("settle")
        assert "entity.updated" not in receiver.types
        told = await client.ask("GET", "/events/v1", page="0", size="10", type="entity.updated")
        assert len(told["data"]) == 1


async def test_an_early_webhook_arrives_before_the_answer() -> None:
    """The receiver has `results.ready` when the client reads PENDING."""
    async with standing(Mockbank(results_progress="at_once"), clock=HandClock()) as (server, receiver, client):
        entity = server.bank.connect()
        await server.settle()
        server.bank.disturb(Disturbance(types="results.ready", early=True))
        said = await client.ask("GET", "/data/v2/accounts", entity_id=entity, **{"async": "true"})
        assert receiver.seen[-1]["payload"] == {"id": said["results_id"]}


async def test_cut_connections_are_cut() -> None:
    """Before a status line the client is disconnected; within the body it lacks the rest. The server goes on."""
    async with standing() as (server, _, client):
        entity = server.bank.connect()
        for fault in (Fault.cut(), Fault.refuse()):
            server.bank.fault(fault)
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await client.ask("POST", "/data/v1/accounts", {"entity_id": entity})
        server.bank.fault(Fault.cut(after=20))
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.ask("GET", "/data/v2/accounts", entity_id=entity)
        server.bank.fault(Fault.html(502))
        async with client.http.get(f"{server.base_url}/banks/v1") as response:
            assert (response.status, response.content_type) == (502, "text/html")
        assert (await client.ask("GET", "/data/v2/accounts", entity_id=entity))["status"] == "OK"


async def test_a_slow_answer_takes_its_time_on_the_servers_clock() -> None:
    """Fifty seconds of a bank pass in a twentieth of a second, and end in PENDING."""
    async with standing(clock=ScaledClock(1000.0)) as (server, _, client):
        entity = server.bank.connect()
        server.bank.fault(Fault.slow(60))
        began = server.clock.now()
        said = await client.ask("GET", "/data/v2/accounts", entity_id=entity)
        assert said["status"] == "PENDING"
        assert server.clock.now() - began >= timedelta(seconds=50)


async def test_wrong_control_commands_get_400_and_the_list() -> None:
    """A wrong command or argument is told, with what there is."""
    async with standing(clock=HandClock()) as (server, _, client):
        for command, args in (
            ("explode", {}),
            ("otp", {}),
            ("advance", {"seconds": -1}),
            ("advance", {"seconds": "x"}),
        ):
            said = await client.control(command, **args)
            assert said["http"] == 400
            assert "advance" in said["commands"]
        async with client.http.post(f"{server.base_url}/_mockbank/state", data=b"[]") as response:
            assert response.status == 400
        async with client.http.post(f"{server.base_url}/_mockbank/state", data=b"{") as response:
            assert response.status == 400
        before = server.clock.now()
        assert (await client.control("advance", seconds=90))["http"] == 200
        assert server.clock.now() - before == timedelta(seconds=90)
        assert (await client.control("state"))["app"] == server.bank.app


async def test_a_server_that_is_not_open_says_so() -> None:
    """Addresses exist only while it listens; a clock that cannot be moved is named."""

    class Still:
        def now(self) -> Any:
            return HandClock().now()

        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    server = serve(clock=Still())
    with pytest.raises(NotStarted):
        _ = server.base_url
    async with server:
        with pytest.raises(InvalidRequest):
            await server.advance(timedelta(seconds=1))
        with pytest.raises(OSError, match="address"):
            async with serve(port=int(server.base_url.rpartition(":")[2])):
                pass


async def test_everything_that_mockbank_can_do_is_reachable_on_the_server() -> None:
    """`async with serve() as bank`: what becomes due by it is sent at once, on its clock, with no other call."""
    async with receiving("mockbank-webhook-secret") as receiver, serve(webhook_url=receiver.url) as bank:
        assert bank.base_url.startswith("http://127.0.0.1:")
        entity = bank.connect("user-1")
        await receiver.until(1)
        bank.disturb(Disturbance(types="entity.updated", copies=1))
        bank.revoke_consent(entity)
        await receiver.until(3)
        armed = bank.fault(Fault.failed())
        assert bank.disarm(armed)
        bank.expire_session(entity)
        assert not bank.session_live(entity)
        bank.bank.emit("moon.risen", {})
        await receiver.until(4)
        assert receiver.types == ["entity.created", "entity.updated", "entity.updated", "moon.risen"]
        assert abs(bank.clock.now() - bank.now) < timedelta(seconds=10)


async def test_a_scenarios_timed_things_happen_on_the_servers_clock() -> None:
    """A consent that is revoked after an hour is revoked while the clock passes it, and its webhook is sent."""
    clock = HandClock()
    timed = [{"at": "01:00:00", "do": "revoke_consent", "entity_id": "user-1"}]
    bank = Mockbank.from_scenario({"connect": [{"app_user_id": "user-1"}], "timed": timed}, clock.now())
    async with standing(bank, clock=clock) as (server, receiver, _):
        await server.advance(timedelta(minutes=59))
        assert receiver.types == ["entity.created"]
        await server.advance(timedelta(minutes=1))
        assert receiver.types == ["entity.created", "entity.updated"]


async def test_mockbank_serves_its_description() -> None:
    """It is what the bank says of itself."""
    bank = Mockbank(region="ksa")
    async with (
        serve(bank) as server,
        aiohttp.ClientSession() as http,
        http.get(f"{server.base_url}/_mockbank/openapi.json") as response,
    ):
        assert (response.status, response.content_type) == (200, "application/json")
        assert await response.json() == bank.openapi()


@pytest.mark.parametrize(
    ("headers", "body"), [({}, b"x" * 3_000_000), ({"content-encoding": "gzip"}, b"no gzip at all")]
)
async def test_a_body_that_cannot_be_read_is_refused(headers: dict[str, str], body: bytes) -> None:
    """One that is too long, or not encoded as it says, gets Lean's envelope like any other wrong body."""
    async with serve(Mockbank(auth="none")) as server, aiohttp.ClientSession() as http:
        sent = {"content-type": "application/json", **headers}
        async with http.post(f"{server.base_url}/customers/v1", data=io.BytesIO(body), headers=sent) as response:
            assert (response.status, (await response.json())["status"]) == (400, "INVALID_PARAMETERS")


@pytest.mark.parametrize("status", [302, 307])
async def test_a_redirect_is_a_failure(status: int) -> None:
    """It is not followed; the webhook comes again a minute after the first attempt."""
    async with standing(clock=HandClock()) as (server, receiver, _):
        receiver.status = status
        server.connect("user-1")
        await server.settle()
        assert len(receiver.seen) == 1
        await server.advance(timedelta(seconds=59))
        assert len(receiver.seen) == 1
        receiver.status = 200
        await server.advance(timedelta(seconds=1))
        assert [one.status for one in server.log.webhooks] == [status, 200]


@pytest.mark.parametrize("path", ["/%0A", "/customers/v1/x%0Ay/entities/%0d", "/%00", "//", "/%2F"])
async def test_every_path_gets_leans_envelope(path: str) -> None:
    """Quoted control characters and slashes are characters like any other."""
    async with serve(Mockbank(auth="none")) as server, aiohttp.ClientSession() as http:
        url = URL(f"{server.base_url}{path}", encoded=True)
        async with http.get(url) as response:
            assert response.status in (400, 404)
            assert (await response.json())["status"] in ("INVALID_URL", "INVALID_PARAMETERS")
