"""Webhooks in: verify, step, commit, then say what to answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from enum import StrEnum

import attrs

from leanflow._call import Reply
from leanflow._lean.signature import find_header, verify
from leanflow._lean.webhooks import Webhook, parse_webhook
from leanflow._policy import Policy
from leanflow._settings import Settings
from leanflow._sites import site
from leanflow._steps import Heard, Steps
from leanflow.errors import BadSignature, MalformedBody, NotStarted, StoreUnavailable

__all__ = ["Receiver", "Taken", "Verdict"]

_log = logging.getLogger("leanflow.webhook")


class Verdict(StrEnum):
    """What became of a webhook."""

    applied = "applied"  # it was a step of each request that it names
    parked = "parked"  # it waits for its request
    recorded = "recorded"  # it names no request
    duplicate = "duplicate"  # it was seen before
    dropped = "dropped"  # it is about what was purged or erased
    bad_signature = "bad_signature"
    malformed = "malformed"
    too_large = "too_large"
    unavailable = "unavailable"  # the store cannot commit now; Lean is to send it again


@attrs.frozen(kw_only=True)
class Taken:
    """A webhook that was taken in, or refused.

    Attributes:
        reply: what to answer.
        verdict: what became of it.
        event: what it says; None if it was refused before it was read.
    """

    reply: Reply
    verdict: Verdict
    event: Webhook | None = None


class Receiver:
    """Takes in the webhooks of one engine."""

    def __init__(self, settings: Settings, steps: Steps, secrets: tuple[str, ...]) -> None:
        self._clock = settings.clock
        self._policy: Policy = settings.policy
        self._steps = steps
        self._secrets = secrets

    async def receive(self, headers: Mapping[str, str], raw_body: bytes) -> Reply:
        """Take in one webhook: see `LeanFlow.receive`."""
        return (await self.take(headers, raw_body)).reply

    async def take(self, headers: Mapping[str, str], raw_body: bytes) -> Taken:
        """Take in one webhook; say what to answer, and why."""
        if len(raw_body) > self._policy.max_body:
            return Taken(reply=Reply(status=413, body=b"too large"), verdict=Verdict.too_large)
        if not verify(raw_body, find_header(headers), self._secrets):
            _log.warning("refused a webhook: %s", BadSignature("missing or wrong"))
            return Taken(reply=Reply(status=401, body=b"bad signature"), verdict=Verdict.bad_signature)
        try:
            event = parse_webhook(raw_body)
        except MalformedBody as error:
            _log.warning("refused a webhook: %s", error)
            return Taken(reply=Reply(status=400, body=b"malformed"), verdict=Verdict.malformed)
        return await self._hear(event)

    async def _hear(self, event: Webhook) -> Taken:
        stamped = event.stamped(self._clock.now(), event.inbox_key)
        try:
            async with asyncio.timeout(self._policy.commit_timeout.total_seconds()):
                heard = await self._steps.hear(stamped)
        except (StoreUnavailable, TimeoutError, NotStarted) as error:  # not started: the store closes, with the engine
            why = "it took too long" if isinstance(error, TimeoutError) else error
            _log.warning("cannot store a webhook now: %s", why, extra={"event": event.type})
            reply = Reply(status=503, body=b"try again", retry=True)
            return Taken(reply=reply, verdict=Verdict.unavailable, event=event)
        _log.debug("heard", extra={"event": event.type, "declined": "duplicate" if heard.duplicate else None})
        site("before_200")
        return Taken(reply=Reply(status=200, body=b"ok"), verdict=_verdict(heard), event=event)


def _verdict(heard: Heard) -> Verdict:
    if heard.duplicate:
        return Verdict.duplicate
    if heard.dropped:
        return Verdict.dropped
    if heard.parked:
        return Verdict.parked
    return Verdict.applied if heard.steps else Verdict.recorded
