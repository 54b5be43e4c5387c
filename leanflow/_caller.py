"""Making the call that a claimed request is due for, and feeding its answer back as one event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import attrs

from leanflow import calls
from leanflow._call import Answer, Call
from leanflow._due import Action, is_collectable, next_action
from leanflow._lean.answers import parse_answer, source_of
from leanflow._lean.documents import parse_refreshes
from leanflow._request import DataRequest, Resource
from leanflow._settings import Settings
from leanflow._sites import site
from leanflow._steps import Steps
from leanflow.errors import CallFailed, MalformedBody, NotStarted, RequestNotFound, StoreUnavailable
from leanflow.events import (
    ActionDue,
    AnsweredOk,
    AnsweredPending,
    AnsweredRefused,
    AnswerEvent,
    CallBroke,
    Source,
)
from leanflow.ports import Claimed, Store

__all__ = ["Caller"]

_log = logging.getLogger("leanflow.worker")

PAGE_TRIES = 3
"""Tries for a further page before its answer becomes the event: at once, since all of it must fit in one lease."""

MAX_PAGES = 1000
"""A guard against an answer that promises pages without end; 100,000 items at Lean's largest page size."""

RENEWED_AT_ONCE = 16
"""Leases renewed at a time: one by one, 200 calls over a slow network would take longer than a lease; all at once they
would take every connection from the steps."""


class Caller:
    """Does for a claimed request what it is due for. Its lease is renewed meanwhile."""

    def __init__(self, settings: Settings, store: Store, steps: Steps, owner: str) -> None:
        self._store = store
        self._transport = settings.transport
        self._clock = settings.clock
        self._policy = settings.policy
        self.steps = steps
        self.owner = owner
        # By call, not by request: the next call may begin while an answer, and what was parked for it, is fed back.
        self._at_work: dict[tuple[str, int], DataRequest] = {}

    async def run(self, claimed: Claimed) -> None:
        """Do what is due. What cannot be stored now is found again when the lease ends."""
        request = claimed.request
        self.steps.know(request)
        action = next_action(request, claimed.now)
        try:
            match action:
                case None:
                    await self._store.release(request.scope, request.id, owner=self.owner)
                case Action.expire | Action.give_up:
                    event = ActionDue(action=action.value).stamped(claimed.now, f"due:{request.id}:{request.version}")
                    await self.steps.apply(request.id, event, release=self.owner)
                case Action.place:
                    await self._call(request, self._place(request, claimed))
                case Action.fetch | Action.probe:
                    await self._call(request, self._collect(request))
        except StoreUnavailable as error:
            _log.warning("the store is unavailable: %s", error.reason, extra=_extra(request))
        except NotStarted:
            _log.warning("the store was closed while at work on it", extra=_extra(request))
        except RequestNotFound:
            _log.info("erased while at work on it", extra=_extra(request))

    async def _call(self, request: DataRequest, asking: Awaitable[AnswerEvent]) -> None:
        self._at_work[_number(request)] = request
        try:
            site("before_call")
            answered = await asking
            site("after_call")
            await self._feed(request, answered)
            site("after_answer")
        finally:
            self._at_work.pop(_number(request), None)

    async def _feed(self, request: DataRequest, answered: AnswerEvent) -> None:
        """Commit the answer, tried again until the store takes it: an answer is dear, and its number makes that safe.

        Meanwhile the lease is renewed. Where it was lost, the answer is an older one: the step says what it is worth.
        """
        if isinstance(answered, CallBroke):
            _log.warning("no answer from Lean: %s", answered.reason, extra=_extra(request))
        key = f"answer:{request.id}:{request.call_no}"
        event = answered.numbered(request.call_no).stamped(self._clock.now(), key)
        wait = 0.1
        while True:
            try:
                await self.steps.apply(request.id, event, release=self.owner)  # type: ignore[arg-type]  # all are `Event`s
            except StoreUnavailable as error:
                _log.warning("an answer waits for the store: %s", error.reason, extra=_extra(request))
                await self._clock.sleep(wait)
                wait = min(wait * 2, 1.0)
            else:
                return

    async def keep_leases(self) -> None:
        """Prolong the leases of all calls under way, three times in each lease, until cancelled."""
        turns = asyncio.Semaphore(RENEWED_AT_ONCE)
        renewals: set[asyncio.Task[None]] = set()
        try:
            while True:
                await self._clock.sleep(self._policy.lease.total_seconds() / 3)
                for request in self._at_work.values():
                    renewal = asyncio.create_task(self._keep(request, turns), name="leanflow renewal")
                    renewals.add(renewal)
                    renewal.add_done_callback(renewals.discard)
        finally:  # and nothing is awaited here: the loop may have been given up with all that ran on it
            for renewal in renewals:
                renewal.cancel()

    async def _keep(self, request: DataRequest, turns: asyncio.Semaphore) -> None:
        """Prolong one lease: none waits for one that is slow, or whose request an application's transaction holds."""
        lease = self._policy.lease.total_seconds()
        async with turns:
            if _number(request) not in self._at_work:  # it has ended while it waited for its turn
                return
            try:
                kept = await self._store.renew(
                    request.scope, request.id, owner=self.owner, now=self._clock.now(), lease=lease
                )
            except StoreUnavailable:
                return  # the lease has a third left for the next try
            except Exception:  # noqa: BLE001 - whatever it is, the other leases are to be kept
                _log.exception("a lease was not renewed", extra=_extra(request))
                return
        if not kept and _number(request) in self._at_work:
            _log.warning("lost the lease; the call goes on and its number decides", extra=_extra(request))

    # placements

    async def _place(self, request: DataRequest, claimed: Claimed) -> AnswerEvent:
        if request.resource is Resource.refresh and (request.unsure or claimed.taken_over):
            adopted = await self._adopt(request)
            if adopted is not None:
                return adopted
        ip = request.customer_ip if self._is_present(request) else None
        first = await self._ask(calls.place(request, customer_ip=ip))
        return await self._all_pages(first, lambda n: calls.place(request, page=n, customer_ip=ip))

    def _is_present(self, request: DataRequest) -> bool:
        return self._clock.now() - request.created_at < self._policy.customer_present

    async def _adopt(self, request: DataRequest) -> AnswerEvent | None:
        """Return the refresh that Lean is already at work on for this entity, as the answer; None: place one."""
        call = calls.list_refreshes(request.entity_id)
        try:
            answer = await self._send(call)
        except CallFailed as error:
            return CallBroke(maybe_sent=True, reason=error.reason)  # still unsure
        try:
            if not 200 <= answer.status < 300:
                return parse_answer(call, answer)
            found = parse_refreshes(answer)
        except MalformedBody as error:
            return _malformed(error, answer, Source.placement)
        for refresh in found:
            if refresh.status == "PENDING" and refresh.entity_id in (None, request.entity_id):
                return AnsweredPending(refresh_id=refresh.refresh_id, http_status=answer.status)
        return None

    # collections

    async def _collect(self, request: DataRequest) -> AnswerEvent:
        if not is_collectable(request):
            return CallBroke(source=Source.results, maybe_sent=False, reason="there is no id to ask for")
        first = await self._ask(calls.collect(request))
        if isinstance(first, CallBroke):
            first = await self._ask(calls.collect(request))  # a GET is safe to repeat at once
        return await self._all_pages(first, lambda n: calls.collect(request, page=n))

    async def _all_pages(self, first: AnswerEvent, page_call: Callable[[int], Call]) -> AnswerEvent:
        """Return one event with all pages; a page that is not OK is the event, and the pages are dropped."""
        if not isinstance(first, AnsweredOk) or first.total_pages <= 1:
            return first
        if first.total_pages > MAX_PAGES:
            return AnsweredRefused(
                source=first.source,
                code="TOO_MANY_PAGES",
                message=f"{first.total_pages} pages; leanflow collects at most {MAX_PAGES}: narrow the dates",
                http_status=first.http_status,
            )
        pages = list(first.pages)
        for number in range(1, first.total_pages):
            event = await self._ask(page_call(number))
            for _ in range(PAGE_TRIES - 1):
                if isinstance(event, AnsweredOk):
                    break
                event = await self._ask(page_call(number))
            if not isinstance(event, AnsweredOk):
                return event
            pages.extend(attrs.evolve(page, number=number) for page in event.pages)
        return attrs.evolve(first, pages=tuple(pages))

    # calls

    async def _ask(self, call: Call) -> AnswerEvent:
        try:
            answer = await self._send(call)
        except CallFailed as error:
            return CallBroke(source=source_of(call), maybe_sent=error.maybe_sent, reason=error.reason)
        try:
            return parse_answer(call, answer)
        except MalformedBody as error:
            return _malformed(error, answer, source_of(call))

    async def _send(self, call: Call) -> Answer:
        try:
            return await self._transport.send(call)
        except CallFailed:
            raise
        except Exception as error:
            # A transport's own fault must not lose the request: it is an unanswered call, and said aloud.
            _log.exception("the transport failed in a way of its own")
            raise CallFailed(f"the transport failed: {type(error).__name__}", maybe_sent=True) from error


def _number(request: DataRequest) -> tuple[str, int]:
    """Return what no other call has."""
    return request.id, request.call_no


def _malformed(error: MalformedBody, answer: Answer, source: Source) -> AnswerEvent:
    return AnsweredRefused(
        source=source, code="MALFORMED_BODY", message=str(error), http_status=answer.status, raw=answer.body
    )


def _extra(request: DataRequest) -> dict[str, object]:
    return {"request_id": request.id, "reference": request.reference, "state": request.state.value}
