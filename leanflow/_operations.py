"""What can be done with requests, in the engine's own steps or inside the application's transaction alike."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

from leanflow._effects import Accepted, Declined, Reason
from leanflow._ids import new_id
from leanflow._lean.results import Results
from leanflow._machine import decide
from leanflow._new_request import check_text, new_request, resource_of, successor_of
from leanflow._prompts import ReconnectPrompt
from leanflow._request import DataRequest, Resource, State
from leanflow._settings import DEFAULT_APP, Settings, kind_of
from leanflow._step_rows import announcement_of, creation_history, exported, history_of
from leanflow._steps import Stepped, Steps
from leanflow.errors import InvalidRequest, KeyReused, NotInState, RequestNotFound, ResultsPurged
from leanflow.events import Cancelled, Event, Hinted, Page, Prompted, Renewed, WebhookEvent
from leanflow.observing import Asked, seeing
from leanflow.ports import Created, Creation, HistoryEntry, Query, Store

__all__ = ["Operations", "check_id", "states_of"]

PAGE_BATCH = 20

_log = logging.getLogger("leanflow.engine")


class Operations:
    """Reads and steps on the requests of one scope."""

    def __init__(self, settings: Settings, store: Store, steps: Steps) -> None:
        self._settings = settings
        self._scope = settings.scope
        self._clock = settings.clock
        self._store = store
        self._steps = steps

    def _check(self) -> None:
        """Refuse to work where it cannot."""

    # making requests

    async def request(
        self,
        resource: Resource | str,
        *,
        entity_id: str,
        account_id: str | None = None,
        start_date: date | str | None = None,
        end_date: date | str | None = None,
        params: Mapping[str, str] | None = None,
        customer_id: str | None = None,
        customer_ip: str | None = None,
        reference: str | None = None,
        metadata: Mapping[str, str] | None = None,
        give_up_after: timedelta | None = None,
        key: str | None = None,
    ) -> DataRequest:
        """Ask for data. A live request for the same is returned instead of a second one.

        Args:
            resource: what to ask for.
            entity_id: Lean's entity.
            account_id: for the resources that have accounts.
            start_date: first day, for transactions.
            end_date: last day, for transactions.
            params: further query parameters.
            customer_id: Lean's customer; needed for the prompt's access token.
            customer_ip: of the customer who is present; without it Lean counts the call as a background refresh.
            reference: the application's own id, at most 255 characters.
            metadata: strings to strings, at most 4096 bytes as JSON.
            give_up_after: shorter than the policy's waits: then the request expires.
            key: idempotency key: the same key and parameters return the same record for ever.

        Raises:
            InvalidRequest: a parameter is wrong; nothing is stored.
            KeyReused: the key came with other parameters before.
            StoreUnavailable: nothing is known to be stored; with a key it is safe to repeat.
        """
        self._check()
        now = self._clock.now()
        made = new_request(
            resource,
            request_id=new_id(now, self._settings.dice),
            now=now,
            scope=self._scope,
            api=self._settings.api,
            entity_id=entity_id,
            account_id=account_id,
            start_date=start_date,
            end_date=end_date,
            params=params,
            customer_id=customer_id,
            customer_ip=customer_ip,
            reference=reference,
            metadata=metadata,
            give_up_after=give_up_after,
            key=key,
        )
        created = await self._make(made)
        if key is not None and created.by_key and created.request.fingerprint != made.fingerprint:
            raise KeyReused(key, created.request.id)
        return await self._created(created)

    async def renew(self, request_id: str) -> DataRequest:
        """Make, or return, the successor of an expired or failed request. A live twin is that successor.

        Raises:
            NotInState: it is live, fetched or cancelled.
        """
        self._check()
        old = await self.get(request_id)
        if old.state not in (State.expired, State.failed):
            raise NotInState(request_id, old.state, "renew", "only expired and failed requests are renewed")
        if old.successor_id is not None:
            return await self.get(old.successor_id)
        now = self._clock.now()
        made = successor_of(old, request_id=new_id(now, self._settings.dice), now=now)
        renewed = Renewed(successor_id=made.id).stamped(now, self._own_key("renewed"))
        decision = decide(old, renewed, self._settings.policy)
        assert isinstance(decision, Accepted)
        created = await self._make(made, renews=old.id, renewal=history_of(old, decision.request, renewed, decision))
        self._steps.forget(old.id)
        if created.request.id == made.id:
            self._steps.saw(old, renewed, decision)
        else:
            await self._link(old, created.request)
        return await self._created(created)

    async def _link(self, old: DataRequest, successor: DataRequest) -> None:
        """Name a live twin as the successor, unless another call has named one."""
        fresh = await self.get(old.id)
        if fresh.successor_id is None:
            event = Renewed(successor_id=successor.id).stamped(self._clock.now(), self._own_key("renewed"))
            await self._steps.apply(old.id, event)

    async def _make(self, made: DataRequest, **renewing: Any) -> Created:
        """Insert it, with the trace context that the observer gives it."""
        observer = self._settings.observer
        if observer is None:
            return await self._create(made, **renewing)
        with seeing(observer.asking, Asked(), made) as asked:
            created = await self._create(made.moved({"traceparent": asked.traceparent}), **renewing)
            asked.request, asked.is_new = created.request, created.is_new
        return created

    async def _create(
        self, made: DataRequest, renews: str | None = None, renewal: HistoryEntry | None = None
    ) -> Created:
        """Insert it; nobody has claimed it, so workers find it by its due time."""
        return await self._store.create(self._creation(made, renews=renews, renewal=renewal))

    def _creation(self, made: DataRequest, **more: Any) -> Creation:
        return Creation(
            request=made,
            history=creation_history(made, f"created:{made.id}"),
            announcements=(announcement_of(made, None, None),),
            **more,
        )

    async def _created(self, created: Created) -> DataRequest:
        """Return what the caller gets of a created, or found, request."""
        return created.request

    # reading

    async def get(self, request_id: str) -> DataRequest:
        """Return a request as last committed.

        Raises:
            RequestNotFound: there is none in this application, environment and region.
        """
        self._check()
        check_id(request_id)
        request = await self._store.load(self._scope, request_id)
        if request is None:
            raise RequestNotFound(request_id)
        return request

    async def find(
        self,
        *,
        state: State | Collection[State] | None = None,
        resource: Resource | str | None = None,
        entity_id: str | None = None,
        customer_id: str | None = None,
        reference: str | None = None,
        failure: str | None = None,
        older_than: datetime | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> AsyncIterator[DataRequest]:
        """Yield requests in order of creation, paged by key: `after` is the id to go on behind.

        Raises:
            InvalidRequest: `state` names no state, or `resource` no resource.
        """
        self._check()
        states = states_of(state)
        kind = None if resource is None else resource_of(resource)
        left = limit
        while left is None or left > 0:
            size = 100 if left is None else min(100, left)
            query = Query(
                states=states,
                resource=kind,
                entity_id=entity_id,
                customer_id=customer_id,
                reference=reference,
                failure=failure,
                older_than=older_than,
                after=after,
                limit=size,
            )
            found = await self._store.find(self._scope, query)
            for request in found:
                yield request
            if len(found) < size:
                return
            after = found[-1].id
            left = None if left is None else left - len(found)

    async def history(self, request_id: str) -> tuple[HistoryEntry, ...]:
        """Return what happened to a request, oldest first, declined events included.

        Raises:
            RequestNotFound: there is none.
        """
        await self.get(request_id)
        return tuple(await self._store.history(self._scope, request_id))

    async def export(self, request_id: str, *, personal: bool = False) -> dict[str, Any]:
        """Return record and history as JSON values. For support, and for `leanflow.testing.replay`.

        Never holds bank data, secrets or the customer's address. Lean's ids are in it: without them nothing could be
        looked up, or replayed.

        Args:
            request_id: which.
            personal: with what may point to a person: `customer_id`, `reference`, `metadata` and `key`, and Lean's
                words about a failure.

        Raises:
            RequestNotFound: there is none.
        """
        request = await self.get(request_id)
        history = await self._store.history(self._scope, request_id)
        told = (entry for entry in history if entry.version <= request.version)  # it may have moved on meanwhile
        return exported(request, told, personal=personal)

    async def pages(self, request_id: str) -> AsyncIterator[Page]:
        """Yield the fetched pages one at a time.

        Raises:
            RequestNotFound: there is none.
            NotInState: it is not fetched.
            ResultsPurged: they are not kept any more.
        """
        request = await self.get(request_id)
        if request.state is not State.fetched:
            raise NotInState(request_id, request.state, "read the results of", "they are there once it is fetched")
        first = 0
        while batch := await self._store.pages(self._scope, request_id, first=first, limit=PAGE_BATCH):
            for page in batch:
                yield page
            first = batch[-1].number + 1
        if first == 0:
            raise ResultsPurged(request_id)

    async def results(self, request_id: str) -> Results:
        """Return what was fetched, all pages together.

        Raises:
            RequestNotFound: there is none.
            NotInState: it is not fetched.
            ResultsPurged: they are not kept any more.
            MalformedBody: Lean's body is not what its documents say; the raw bytes are in `pages`.
        """
        pages = [page async for page in self.pages(request_id)]
        return Results.from_pages((await self.get(request_id)).resource, pages)

    # events

    async def prompt(self, request_id: str, *, key: str | None = None) -> ReconnectPrompt:
        """Hand out the prompt: the request awaits its user. Asked again: the same ids, a fresh token, the next number.

        Args:
            request_id: which.
            key: idempotency key: asked again with the same one, the same prompt with its number, and no further one.

        Raises:
            RequestNotFound: there is none.
            NotInState: it does not need its user, its reconnect id has died, or the Link SDK failed too often with it;
                or the prompt that was made with this key is over.
            CallFailed: no access token could be got; nothing has changed.
        """
        self._check()
        check_id(request_id)
        check_text("key", key)
        request = await self._known(request_id)
        if not request.state.needs_user:  # as far as this process knows; another may have moved it
            request = await self.get(request_id)
        token = None
        if request.state.needs_user and request.customer_id is not None:
            token = await self._settings.transport.token(request.customer_id)
        if key is None:
            prompted = (await self._apply_own(request_id, Prompted(), "prompt")).request
        else:
            prompted = await self._prompt_once(request_id, f"prompt:{request_id}:{key}")
        assert prompted.reconnect_id is not None
        return ReconnectPrompt(
            request_id=request_id,
            number=prompted.prompt_number,
            app_token=self._app_token,
            reconnect_id=prompted.reconnect_id,
            sandbox=prompted.environment == "sandbox",
            access_token=token,
            expires_at=prompted.expires_at,
        )

    @cached_property
    def _app_token(self) -> str:
        """The application's id for prompts; says so, once, where Lean's Link SDK will refuse it."""
        ours, its = self._scope.app, self._settings.caller_app
        if ours == DEFAULT_APP and its is not None:
            return its
        if ours == DEFAULT_APP or its not in (None, ours):
            _log.warning(
                "a prompt carries app_token %r, %s: Lean's Link SDK will refuse it; give the engine Lean's application "
                "id, LeanFlow(app=…)",
                ours,
                "which is not the application that the transport calls as" if its else "as the engine was given no app",
            )
        return ours

    async def _prompt_once(self, request_id: str, inbox_key: str) -> DataRequest:
        """Prompt unless it was done under this inbox key; then that prompt must be the one the user still has."""
        stepped = await self._steps.apply(request_id, Prompted().stamped(self._clock.now(), inbox_key))
        if isinstance(stepped.decision, Accepted):
            return stepped.request
        if stepped.decision.reason is not Reason.duplicate:
            raise NotInState(request_id, stepped.request.state, "prompt", _why(stepped))
        request, number = stepped.request, 0
        for entry in await self._store.history(self._scope, request_id):
            if entry.tag != Prompted.tag:
                continue
            number += entry.trigger is not None
            if entry.key != inbox_key:
                continue
            if entry.trigger and request.state is State.awaiting_user and request.prompt_number == number:
                return request
            break
        over = "this key's prompt is over, or was refused; prompt again with a new key"
        raise NotInState(request_id, request.state, "prompt", over)

    async def callback(self, request_id: str, payload: Mapping[str, Any], *, prompt: int) -> DataRequest:
        """Take the Link SDK's word, a hint: it may bring the prompt back, and has the results looked at sooner.

        Args:
            request_id: the request whose prompt it was.
            payload: as the SDK's callback got it.
            prompt: the prompt's number; a callback for another is recorded as stale.

        Raises:
            InvalidRequest: the payload has no status, or the prompt is no number.
            RequestNotFound: there is none.
        """
        self._check()
        check_id(request_id)
        if isinstance(prompt, bool) or not isinstance(prompt, int):
            raise InvalidRequest("prompt", f"must be the prompt's number, not {kind_of(prompt)}")
        status = payload.get("status") if isinstance(payload, Mapping) else None
        if not isinstance(status, str) or not status:
            raise InvalidRequest("payload", "must be the object that the Link SDK's callback got, with its status")
        secondary = payload.get("secondary_status")
        event = Hinted(
            prompt_number=prompt,
            status=status[:100],
            secondary_status=secondary[:100] if isinstance(secondary, str) and secondary else None,
        )
        stepped = await self._steps.apply(request_id, event.stamped(self._clock.now(), self._own_key("callback")))
        return stepped.request

    async def cancel(self, request_id: str) -> DataRequest:
        """Withdraw a request. Cancelling a cancelled one does nothing.

        Raises:
            RequestNotFound: there is none.
            NotInState: it has ended otherwise.
        """
        self._check()
        check_id(request_id)
        stepped = await self._steps.apply(request_id, Cancelled().stamped(self._clock.now(), self._own_key("cancel")))
        if isinstance(stepped.decision, Declined) and stepped.request.state is not State.cancelled:
            raise NotInState(request_id, stepped.request.state, "cancel", _why(stepped))
        return stepped.request

    async def apply(self, event: Event, *, request_id: str | None = None) -> tuple[DataRequest, ...]:
        """Apply one event that the caller vouches for, as if Lean had said it.

        Args:
            event: a webhook's finds its requests by its id; for any other `request_id` says which.
            request_id: the request it is for.

        Raises:
            InvalidRequest: it names no request, or is no event.
            RequestNotFound: there is none.
        """
        self._check()
        if not hasattr(type(event), "stamped"):
            raise InvalidRequest("event", f"must be an event, as parse_webhook returns, not {kind_of(event)}")
        if request_id is not None:
            check_id(request_id)
        now = self._clock.now()
        if isinstance(event, WebhookEvent):
            named = event.event_id or event.raw
            stamped = event.stamped(now, event.key or (event.inbox_key if named else self._own_key("applied")))
            if request_id is None:
                heard = await self._steps.hear(stamped)
                return tuple(step.request for step in heard.steps)
            return ((await self._steps.apply(request_id, stamped)).request,)
        if request_id is None:
            raise InvalidRequest("request_id", f"{event.tag} does not say which request it is for")
        stamped_event = event.stamped(now, event.key or self._own_key("applied"))
        return ((await self._steps.apply(request_id, stamped_event)).request,)

    async def _known(self, request_id: str) -> DataRequest:
        """Return the record as this process last knew it: good enough where a step finds out if it is old."""
        request = await self._steps.load(request_id)
        if request is None:
            raise RequestNotFound(request_id)
        return request

    async def _apply_own(self, request_id: str, event: Event, what: str) -> Stepped:
        stepped = await self._steps.apply(request_id, event.stamped(self._clock.now(), self._own_key(what)))
        if isinstance(stepped.decision, Declined):
            raise NotInState(request_id, stepped.request.state, what, _why(stepped))
        return stepped

    def _own_key(self, what: str) -> str:
        return f"{what}:{new_id(self._clock.now(), self._settings.dice)}"


def check_id(request_id: object) -> None:
    """Refuse what is no id, as a whole record.

    Raises:
        InvalidRequest: names the parameter.
    """
    if not isinstance(request_id, str):
        raise InvalidRequest("request_id", f"must be the id of a request, as request.id, not {kind_of(request_id)}")


def states_of(state: State | str | Collection[State | str] | None, parameter: str = "state") -> frozenset[State] | None:
    """Return one state, or several, as a set; None stays None.

    Raises:
        InvalidRequest: one is no state.
    """
    if state is None:
        return None
    try:
        return frozenset(map(State, [state] if isinstance(state, str) else state))
    except ValueError:
        raise InvalidRequest(parameter, f"must be of {', '.join(State)}") from None


def _why(stepped: Stepped) -> str:
    request = stepped.request
    assert isinstance(stepped.decision, Declined)
    if stepped.decision.guard == "may_be_prompted":
        if request.reconnect_id is None:
            return "it has no reconnect id"
        if request.expires_at is not None and stepped.request.hint_errors == 0:
            return "its reconnect id has died of age; renew it once it has expired"
        return "the Link SDK failed too often with this reconnect id"
    if request.state.is_end:
        return "it has ended"
    return "" if request.state.needs_user else "it does not need its user"
