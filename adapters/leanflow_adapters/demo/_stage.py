"""The hands of the player: it is the front end, the user at the bank, the network's ill will, and the power cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import groupby
from typing import Any

import aiohttp

from leanflow import State, sign
from leanflow.errors import LeanflowError
from leanflow.mockbank import CallRecord, LinkOutcome, WebhookRecord
from leanflow_adapters.demo._child import Backend
from leanflow_adapters.demo._screen import Screen
from leanflow_adapters.demo._verdict import Case, Fact
from leanflow_adapters.mockbank import MockbankServer

__all__ = ["BREATH", "Stage", "Trouble"]

PATIENCE = 9.0
"""Seconds that any one thing may take before the story is broken off: three times the slowest (a lease to run out)."""

BREATH = 0.5
"""Seconds in which the audience can read, and a user find the code. There is time: one request waits for its end."""

_LOOK = 0.03  # seconds between looks into Mockbank's log, whose entries nobody announces
_TOLD = frozenset({"data", "results", "events"})


class Trouble(LeanflowError):
    """Something did not come as the story has it: it is broken off, and what came so far is weighed."""


class Stage:
    """Everything that the scenes play with.

    Args:
        server: the simulated Lean, open.
        backend: the backend's process.
        session: for calls to the backend.
        screen: where it is told.
        sabotage: what is to be left out, to see that the verdict notices.
    """

    def __init__(
        self,
        server: MockbankServer,
        session: aiohttp.ClientSession,
        screen: Screen,
        sabotage: str | None,
    ) -> None:
        self.server = server
        self.bank = server.bank
        self.screen = screen
        self.sabotage = sabotage
        self.cases: list[Case] = []
        self.facts: list[Fact] = []
        self.backend: Backend
        self._session = session
        self._names: dict[str, str] = {}
        self._states: dict[str, State] = {}
        self._heard: set[str] = set()
        self._news = asyncio.Event()
        self._calls_told = 0
        self._hooks_told = 0

    # telling

    async def scene(self, title: str) -> None:
        """Begin a scene, and let the audience breathe."""
        self._catch_up()
        self.screen.scene(title)
        await asyncio.sleep(BREATH)

    def tell(self, actor: str, words: str, *, style: str = "") -> None:
        """Tell one thing, after all that Lean was asked before it."""
        self._catch_up()
        self.screen.tell(actor, words, style=style)

    # the backend

    async def start_backend(self) -> None:
        """Start it, or start it again, and tell Lean where webhooks go."""
        await self.backend.start()
        self.server.webhook_url = f"{self.backend.url}/lean/webhooks"
        self.tell("demo", f"the backend listens on {self.backend.url}, process {self.backend.pid}")

    def hear(self, said: Mapping[str, Any]) -> None:
        """Take one line of the backend. Announcements come at least once: a second one is not told again."""
        if said["key"] in self._heard:
            return
        self._heard.add(said["key"])
        was, to = said["was"], State(said["to"])
        self._states[said["reference"]] = to
        self._catch_up()
        self.screen.state(said["reference"], None if was is None else State(was), to, said["cause"])
        self._news.set()

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """Call the backend as its front end does; return status and JSON body."""
        async with self._session.request(method, self.backend.url + path, json=body) as answer:
            return answer.status, await answer.json()

    async def ask(self, entity_id: str, resource: str, label: str, *, days: int = 14, **expected: Any) -> Case:
        """Let the application ask for data; of transactions so many days; `expected` are the case's expectations."""
        body = {
            "resource": resource,
            "entity_id": entity_id,
            "customer_id": self.bank.customer_of(entity_id),
            "reference": label,
        }
        if resource not in ("accounts", "identity"):
            body["account_id"] = self.bank.accounts_of(entity_id)[0]
        if resource == "transactions":
            body["start_date"] = (self.server.clock.now() - timedelta(days=days)).date().isoformat()
        status, told = await self.call("POST", "/requests", body)
        if status != 200:
            raise Trouble(f"the backend answered {status} to a request")
        case = Case(label=label, entity_id=entity_id, resource=resource, request_id=told["id"], **expected)
        self.cases.append(case)
        return case

    async def prompt(self, case: Case) -> tuple[str, int]:
        """Let the application hand out the prompt; return the reconnect id and the prompt's number."""
        await self.until(case, State.reconnect_required)
        status, told = await self.call("POST", f"/requests/{case.request_id}/prompt")
        if status != 200:
            raise Trouble(f"{case.label}: no prompt ({status})")
        await self.until(case, State.awaiting_user)
        return told["reconnect"]["reconnect_id"], told["number"]

    async def export(self, case: Case) -> Mapping[str, Any]:
        """Return the backend's record and history of a request."""
        _, told = await self.call("GET", f"/requests/{case.request_id}")
        return dict(told)

    async def until(self, case: Case, *states: State, within: float = PATIENCE) -> State:
        """Wait until the backend has announced that a request is in one of these states.

        Raises:
            Trouble: it ended otherwise, or it took too long.
        """
        try:
            async with asyncio.timeout(within):
                while True:
                    self._news.clear()
                    state = self._states.get(case.label)
                    if state in states:
                        return state
                    if state is not None and state.is_end:
                        break
                    await self._news.wait()
        except TimeoutError:
            pass
        raise Trouble(f"{case.label}: still {self._states.get(case.label)}, waited for {' or '.join(states)}")

    # the user

    def types(self, reconnect_id: str, otp: str = "1111") -> LinkOutcome | None:
        """Let the user type the code at the bank; None if sabotage keeps the user away."""
        if self.sabotage == "user":
            self.tell("user", "is kept away by sabotage")
            return None
        outcome = self.server.user_types(reconnect_id, otp)
        self.tell("user", f"types {otp} at the bank: {outcome.status or outcome.secondary_status}")
        return outcome

    async def reconnects(self, case: Case) -> None:
        """Let the user get the prompt and type the code; the browser hands the Link SDK's word to the backend."""
        reconnect_id, number = await self.prompt(case)
        await asyncio.sleep(BREATH)
        outcome = self.types(reconnect_id)
        if outcome is not None:
            body = {"number": number, "payload": outcome.payload()}
            await self.call("POST", f"/requests/{case.request_id}/callback", body)

    # the adversary

    async def forge(self, kind: str, payload: Mapping[str, Any]) -> int:
        """Send a webhook with true ids and a false signature; return what the backend answers."""
        raw = json.dumps({"type": kind, "payload": payload, "event_id": f"forged {kind}"}).encode()
        secret = self.bank.webhook_secret if self.sabotage == "forgery" else "a guess"
        headers = {"lean-signature": sign(secret, raw), "content-type": "application/json"}
        async with self._session.post(self.server.webhook_url, data=raw, headers=headers) as answer:
            self.tell("attacker", f"forges {kind} with the true ids: answered {answer.status}")
            return answer.status

    # what is seen

    def customer(self, name: str) -> str:
        """Let a customer connect a bank account; return the entity id."""
        entity_id = self.bank.connect(name, now=self.server.clock.now())
        self._names[entity_id] = name
        self.server.wake()
        return entity_id

    def loses_session(self, entity_id: str) -> None:
        """Let the bank forget the user: Lean will want the user again."""
        self.bank.expire_session(entity_id, self.server.clock.now())

    def fact(self, words: str, holds: bool) -> None:  # noqa: FBT001 - it is what the sentence before it says
        """Note something that must hold."""
        self.facts.append(Fact(words=words, holds=holds))

    def mark(self) -> int:
        """Return how many webhooks have been attempted so far."""
        return len(self.bank.log.webhooks)

    def webhooks(self, since: int) -> list[WebhookRecord]:
        """Return what was attempted since a mark."""
        return list(self.bank.log.webhooks)[since:]

    async def seen(self, what: Callable[[], bool], words: str, within: float = PATIENCE) -> None:
        """Wait until something can be seen at Lean.

        Raises:
            Trouble: it took too long.
        """
        try:
            async with asyncio.timeout(within):
                while True:
                    self._news.clear()
                    if what():
                        return
                    await self._news.wait()
        except TimeoutError:
            raise Trouble(f"waited for {words}") from None

    async def follow(self) -> None:
        """Tell what Mockbank is asked and what it sends, for ever: its log announces nothing, so it is looked at."""
        while True:
            self._catch_up()
            await asyncio.sleep(_LOOK)

    def _catch_up(self) -> None:
        """Tell what is new in Mockbank's log, before anything that came of it is told."""
        log = self.bank.log
        calls, hooks = list(log.calls)[self._calls_told :], list(log.webhooks)[self._hooks_told :]
        self._calls_told += len(calls)
        self._hooks_told += len(hooks)
        for words, same in groupby(self._words(call) for call in calls if call.context.kind in _TOLD):
            times = len(list(same))
            self.screen.tell("lean", words if times == 1 else f"{words} (x {times}: page by page)")
        for hook in hooks:
            self._tell_webhook(hook)
        if calls or hooks:
            self._news.set()

    def _words(self, call: CallRecord) -> str:
        context = call.context
        what = "the list of sent events" if context.kind == "events" else f"{context.resource}"
        if context.kind == "results":
            what = f"results of {what}"
        whose = f" of {self._names[context.entity_id]}" if context.entity_id in self._names else ""
        return f"is asked for {what}{whose}: {call.http_status} {call.status or ''}".rstrip()

    def _tell_webhook(self, hook: WebhookRecord) -> None:
        if hook.dropped:
            self.screen.tell("webhook", f"{hook.type} is lost on its way", style="red")
        elif hook.status is None:
            self.screen.tell("webhook", f"{hook.type}: nobody answers", style="red")
        elif hook.type != "entity.created":
            self.screen.tell("webhook", f"{hook.type}: answered {hook.status}")
