"""One world: a directory, a store, a Lean, and the children that come and go. It keeps the rest of the oracle."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import attrs

from tests.torture.bases import Base, FileBase
from tests.torture.lean import SECRET, Lean, Sent
from tests.torture.nursery import Child, Nursery

__all__ = ["Refused", "Stillborn", "World"]

T = TypeVar("T")

_AGAIN = 0.02  # seconds before a webhook, or what the application wants, is tried again
_OP_LIMIT = 30.0  # seconds
_LONG = 600.0  # seconds
_LONG_OPS = frozenset({"reconcile"})


@attrs.frozen
class Refused(Exception):
    """The engine refused what the application wants."""

    reason: str


class Stillborn(Exception):
    """A child died before it listened."""


class World:
    """Everything around the children.

    Args:
        nursery: where children come from.
        directory: where the file, the diary and the logs are.
        seed: of its dice.
        settings: of every child.
        base: where the rows are, if not in a file of the directory.
    """

    def __init__(
        self,
        nursery: Nursery,
        directory: Path,
        seed: int,
        settings: Mapping[str, Any] | None = None,
        base: Base | None = None,
    ) -> None:
        self.directory = directory
        self.base: Base = base or FileBase(self.db)
        self.dice = random.Random(seed)
        self.lean = Lean(random.Random(seed + 1), self.deliver)
        self.settings: dict[str, Any] = dict(settings or {})
        self.children: list[Child] = []
        self.kills = 0
        self.refusals = 0
        self.erased: set[str] = set()
        self.purged: set[str] = set()
        self.acknowledged: dict[str, str] = {}
        self.drops_webhooks = False
        self.repeats = 0.0
        self.on_sent = asyncio.Event()
        self._nursery = nursery
        self._alive = asyncio.Condition()
        self._deliveries: set[asyncio.Task[object]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        await self.lean.__aenter__()
        tracing = aiohttp.TraceConfig()
        tracing.on_request_chunk_sent.append(self._note_sent)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=_OP_LIMIT * self.patience),
            trace_configs=[tracing],
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = {*self._deliveries, *self._tasks}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for child in self.children:
            await child.kill()
        await self._session.close()
        await self.lean.__aexit__(kind, error, trace)
        await asyncio.to_thread(self.base.close)

    async def _note_sent(self, *_: Any) -> None:
        self.on_sent.set()

    @property
    def patience(self) -> float:
        """By how much longer than on a quiet machine things may take."""
        return self._nursery.patience

    @property
    def db(self) -> Path:
        """The file, where there is one."""
        return self.directory / "flows.db"

    @property
    def heard(self) -> list[dict[str, Any]]:
        """What handlers and bus heard so far; a line that a kill cut off was not heard."""
        path, heard = self.directory / "heard.jsonl", []
        for line in path.read_bytes().splitlines() if path.exists() else ():
            with suppress(json.JSONDecodeError):
                heard.append(json.loads(line))
        return heard

    @property
    def log(self) -> Path:
        """What the children had to say."""
        return self.directory / "children.log"

    def go(self, flow: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a flow that ends with this world at the latest."""
        task = asyncio.create_task(flow)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # children

    def child_settings(self, **more: Any) -> dict[str, Any]:
        """Return what a child is started with."""
        fixed = {
            **self.base.settings,
            "heard": str(self.directory / "heard.jsonl"),
            "lean": self.lean.url,
            "secret": SECRET,
        }
        return {**fixed, **self.settings, **more}

    async def start(self, *, kill_site: str | None = None, may_die: bool = False, **more: Any) -> Child:
        """Start a child.

        Raises:
            Stillborn: it died before it listened, and neither `may_die` nor was to.
        """
        child = await self._nursery.start(self.child_settings(**more), self.log, kill_site)
        self.children.append(child)
        if kill_site is not None or "kill_after_200" in more:
            child.faults += 1
        elif not child.port and not may_die:
            raise Stillborn(self.log.read_text(errors="replace").splitlines()[-1:])
        async with self._alive:
            self._alive.notify_all()
        return child

    async def kill(self, child: Child) -> None:
        """Kill a child, and count it."""
        self.kills += await child.kill()

    async def _someone(self, index: int | None) -> Child:
        """Return a child that lives: the newest, or the one of this index among those that do."""
        while True:
            living = [child for child in self.children if child.port and not child.ended.done()]
            if living:
                return living[-1 if index is None else index % len(living)]
            async with self._alive:
                await self._alive.wait()

    # the application and the user

    async def do(self, op: str, *, at: int | None = None, **words: Any) -> Any:
        """Have a child do something; when it dies meanwhile, have the next one do it.

        Raises:
            Refused: it was the application's mistake.
        """
        timeout = aiohttp.ClientTimeout(total=_LONG if op in _LONG_OPS else _OP_LIMIT * self.patience)
        while True:
            child = await self._someone(at)
            try:
                async with self._session.post(f"{child.url}/do", json={"op": op, **words}, timeout=timeout) as response:
                    said = await response.json()
            except (aiohttp.ClientError, ConnectionError, TimeoutError):
                await self.pause()
                continue
            if response.status == 200:
                return said
            if response.status == 409:
                raise Refused(said["error"])
            if response.status == 408:
                return None
            self.refusals += 1
            await self.pause()

    async def once(self, op: str, *, at: int | None = None, **words: Any) -> Any:
        """Have a child do something, once; None if it died over it, or could not."""
        child = await self._someone(at)
        try:
            async with self._session.post(f"{child.url}/do", json={"op": op, **words}) as response:
                if response.status == 200:
                    return await response.json()
                self.refusals += 1
                return None
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            return None

    async def pause(self) -> None:
        """Let a moment pass before something is tried again."""
        await asyncio.sleep(_AGAIN)

    # webhooks

    def deliver(self, sent: Sent) -> None:
        """Deliver a webhook until it is answered 200, and now and then once more."""
        if self.drops_webhooks:
            return
        self.post_by(self._deliver(sent))

    def post_by(self, posting: Coroutine[Any, Any, object]) -> None:
        """Start what posts webhooks; the world does not come to rest before its end."""
        task = asyncio.create_task(posting)
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)

    async def _deliver(self, sent: Sent) -> None:
        await self.insist(sent)
        if self.dice.random() < self.repeats:
            await self.post(sent)

    async def post(self, sent: Sent, *, at: int | None = None, headers: Mapping[str, str] | None = None) -> int:
        """Deliver a webhook once, with its own headers or others; return the status, or 0 if there was no answer."""
        child = await self._someone(at)
        url, signed = child.hook, sent.headers if headers is None else headers
        try:
            async with self._session.post(url, data=sent.raw, headers=signed) as response:
                status = response.status
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            return 0
        sent.oks += status == 200
        return status

    async def insist(self, sent: Sent, *, at: int | None = None) -> None:
        """Deliver a webhook until it is answered 200."""
        while await self.post(sent, at=at) != 200:
            await self.pause()

    async def delivered(self) -> None:
        """Return once Lean has said all that it was to say, and no delivery is under way."""
        while self._deliveries or self.lean.unsaid:
            if self._deliveries:
                await asyncio.wait(set(self._deliveries))
            else:
                await self.pause()

    async def send_raw(self, raw: bytes, headers: Mapping[str, str] | Sequence[tuple[str, str]]) -> int:
        """Post anything to the webhook endpoint; return the status."""
        child = await self._someone(None)
        async with self._session.post(child.hook, data=raw, headers=headers) as response:
            await response.read()
            return response.status

    # time

    async def shift(self, delta: timedelta) -> None:
        """Move all clocks: Lean's, and those of the children, the later ones too."""
        self.lean.offset += delta.total_seconds()
        self.settings["offset"] = self.lean.offset
        living = [child for child in self.children if child.port and not child.ended.done()]
        for index in range(len(living)):
            await self.do("clock", at=index, offset=self.lean.offset)

    # the end

    async def settle(self, limit: float = 30.0) -> list[str]:
        """Wait until every webhook is delivered and every announcement heard; return what did not come to rest.

        Handlers that refused what was poison are cured, and what was set aside is sent again.

        Args:
            limit: seconds that this may take, where it must not be more patient.
        """
        (self.directory / "cured").touch()
        loop = asyncio.get_running_loop()
        limit *= self.patience
        last = loop.time() + limit
        try:
            await asyncio.wait_for(self.delivered(), limit)
            while await self.do("undelivered"):
                for key, sink in await self.do("undelivered", set_aside=True):
                    with suppress(Refused):
                        await self.do("redeliver", key=key, sink=sink)
                if loop.time() > last:
                    return [
                        f"I7: announcements are still undelivered after {limit} s: {(await self.do('undelivered'))[:5]}"
                    ]
                await self.pause()
        except TimeoutError:
            return [f"I7: webhooks are still undelivered after {limit} s"]
        return []

    async def close(self) -> list[str]:
        """Stop every child in order, leave Lean's memory of calls beside the logs; return what was wrong."""
        calls = [
            f"{one.at.isoformat()} {one.child} {one.kind} {one.entity_id}/{one.resource} {one.page}\n"
            for one in self.lean.asked
        ]
        (self.directory / "calls.log").write_text("".join(calls))
        problems = []
        for child in self.children:
            if child.ended.done():
                continue
            try:
                await child.stop(20.0 * self.patience, cuts=False)
            except TimeoutError:
                problems.append(f"{child.tag} did not stop")
                continue
            if child.ended.result() != 0:
                problems.append(f"{child.tag} ended with wait status {child.ended.result()}")
        return problems
