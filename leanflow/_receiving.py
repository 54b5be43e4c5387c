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
from leanflow.errors import BadSignature, InvalidRequest, MalformedBody, NotStarted, StoreUnavailable

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
        """Take in one webhook; say what to answer, and why.

        Raises:
            InvalidRequest: these are no headers, or no bytes.
        """
        if not isinstance(raw_body, (bytes, bytearray)):
            raise InvalidRequest("raw_body", f"must be the bytes as they came, not {type(raw_body).__name__}")
        if len(raw_body) > self._policy.max_body:
            reason = f"it has {len(raw_body)} bytes, more than the policy's max_body"
            reply = Reply(status=413, body=b"too large", reason=reason)
            return Taken(reply=reply, verdict=Verdict.too_large)
        signature = _signature_in(headers)
        if not verify(raw_body, signature, self._secrets):
            error = BadSignature(self._why_refused(signature))
            return _refused(Reply(status=401, body=b"bad signature", reason=str(error)), Verdict.bad_signature)
        try:
            event = parse_webhook(raw_body)
        except MalformedBody as error:
            return _refused(Reply(status=400, body=b"malformed", reason=str(error)), Verdict.malformed)
        return await self._hear(event)

    def _why_refused(self, signature: str | None) -> str:
        if signature is None:
            return "no lean-signature header"
        return f"matches none of the {len(self._secrets)} secrets"

    async def _hear(self, event: Webhook) -> Taken:
        stamped = event.stamped(self._clock.now(), event.inbox_key)
        try:
            async with asyncio.timeout(self._policy.commit_timeout.total_seconds()):
                heard = await self._steps.hear(stamped)
        except (StoreUnavailable, TimeoutError, NotStarted) as error:  # not started: the store closes, with the engine
            why = "it took too long" if isinstance(error, TimeoutError) else error
            _log.warning("cannot store a webhook now: %s", why, extra={"event": event.type})
            reply = Reply(status=503, body=b"try again", retry=True, reason=str(why))
            return Taken(reply=reply, verdict=Verdict.unavailable, event=event)
        _log.debug("heard", extra={"event": event.type, "declined": "duplicate" if heard.duplicate else None})
        site("before_200")
        return Taken(reply=Reply(status=200, body=b"ok"), verdict=_verdict(heard), event=event)


def _signature_in(headers: Mapping[str, str]) -> str | None:
    try:
        return find_header(headers)
    except AttributeError:
        problem = f"must be a mapping of names to values, not {type(headers).__name__}"
        raise InvalidRequest("headers", problem) from None


def _refused(reply: Reply, verdict: Verdict) -> Taken:
    _log.warning("refused a webhook: %s", reply.reason)
    return Taken(reply=reply, verdict=verdict)


def _verdict(heard: Heard) -> Verdict:
    if heard.duplicate:
        return Verdict.duplicate
    if heard.dropped:
        return Verdict.dropped
    if heard.parked:
        return Verdict.parked
    return Verdict.applied if heard.steps else Verdict.recorded
