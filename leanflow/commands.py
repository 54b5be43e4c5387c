"""Commands: the application's own messages that ask for something, and the replies to them.

A command is a JSON document, as it is or as the data of a structured CloudEvent::

    {"command": "request", "key": "case-9", "resource": "accounts", "entity_id": "..."}
    {"command": "prompt", "key": "case-9/prompt-1", "request_id": "..."}
    {"command": "cancel", "key": "case-9/cancel", "request_id": "..."}
    {"command": "renew", "key": "case-9/renew", "request_id": "..."}

`Commands.receive` has the signature of `LeanFlow.receive`: whatever takes webhooks from a bus takes commands, too.
Every command may come twice, late or at the same time as its copy:

* ``request`` hands its key on as the request's idempotency key: one record for ever.
* ``prompt`` is remembered under its key: a copy gets the same prompt, and the user's callback to it stays good.
* ``cancel`` and ``renew`` need no memory. Who is cancelled stays cancelled, and a request has one successor: a copy
  finds what the first one did. Their keys only tell replies apart.

There is no authority in a command. Whoever may write to the subject, queue or stream may ask for everybody's data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

from leanflow._call import Reply
from leanflow._command_documents import (
    BY_NAME,
    MAX_SECONDS,
    Cancel,
    Command,
    CommandFailure,
    CommandReply,
    Prompt,
    PromptReply,
    Renew,
    Request,
    document_of,
    dump,
    parse_command,
)
from leanflow._lean.codec import check_text, json_loads
from leanflow._new_request import check_text as check_word
from leanflow._request import DataRequest
from leanflow.errors import (
    CallerError,
    InvalidRequest,
    LeanflowError,
    MalformedBody,
    RequestNotFound,
    StoreUnavailable,
    TemporaryError,
)
from leanflow.observing import Commanded, seeing

if TYPE_CHECKING:
    from leanflow._flows import LeanFlow

__all__ = [
    "BY_NAME",
    "MAX_SECONDS",
    "Cancel",
    "Command",
    "CommandFailure",
    "CommandReply",
    "Commands",
    "Prompt",
    "PromptReply",
    "Renew",
    "Request",
    "parse_command",
]

TOKEN_WAIT = timedelta(seconds=10)
"""For a prompt's access token, beside the policy's waits; then the bus is to bring the command again."""

_LONGEST = 255  # of what is repeated out of a message that is no command
_ANSWER_HEADERS = MappingProxyType({"content-type": "application/json"})


class Commands:
    """Does what the application's messages ask of an engine.

    `receive` never raises for a command that is wrong or cannot be done: that is said in the reply.
    """

    def __init__(self, flows: LeanFlow) -> None:
        self._flows = flows
        policy = flows.policy
        self._patience = (policy.commit_timeout + policy.place_wait + TOKEN_WAIT).total_seconds()

    async def receive(self, headers: Mapping[str, str], raw_body: bytes) -> Reply:
        """Do one command; its effect is durable when this returns.

        Args:
            headers: of the message; none is needed, and only an observer looks at them.
            raw_body: the bytes as they came.

        Returns:
            200 if it is done, or was before; 400, 404, 409 or 413 if it cannot be done, and will not be if it comes
            again; 503 with `retry` if it may be later, or takes longer than the policy's waits and 10 s. The body is
            a `CommandReply` as JSON.
        """
        observer = self._flows.observer
        if observer is None:
            return (await self._receive(raw_body))[1]
        with seeing(observer.commanding, Commanded(), headers) as seen:
            command, reply = await self._receive(raw_body)
            seen.command, seen.reply = command, reply
        return reply

    async def _receive(self, raw_body: bytes) -> tuple[str | None, Reply]:
        if len(raw_body) > self._flows.policy.max_body:
            problem = InvalidRequest("body", f"has {len(raw_body)} bytes; at most {self._flows.policy.max_body}")
            return None, _refused(None, None, problem, status=413)
        try:
            command = parse_command(raw_body)
        except MalformedBody as error:
            return None, _refused(*_names(raw_body), error, status=400)
        try:
            async with asyncio.timeout(self._patience):
                done = await self._do(command)
        except TimeoutError:
            slow = StoreUnavailable("it took too long")
            return command.command, _refused(command.command, command.key, slow, status=503)
        except TemporaryError as error:
            return command.command, _refused(command.command, command.key, error, status=503)
        except CallerError as error:
            return command.command, _refused(command.command, command.key, error, status=_status(error))
        return command.command, _reply(done, status=200)

    async def _do(self, command: Command) -> CommandReply:
        check_word("key", command.key)
        match command:
            case Request():
                return _done(command, await self._request(command))
            case Cancel():
                return _done(command, await self._flows.cancel(command.request_id))
            case Renew():
                return _done(command, await self._flows.renew(command.request_id))
            case Prompt():
                prompt = await self._flows.prompt(command.request_id, key=command.key)
                made = PromptReply(
                    request_id=prompt.request_id,
                    number=prompt.number,
                    expires_at=prompt.expires_at,
                    reconnect=prompt.to_dict(),
                )
                return CommandReply(command=command.command, key=command.key, ok=True, prompt=made)

    async def _request(self, command: Request) -> DataRequest:
        asked = {name: value for name, value in command.to_dict().items() if name != "command"}
        if command.give_up_after is not None:
            asked["give_up_after"] = timedelta(seconds=command.give_up_after)
        return await self._flows.request(**asked)


def _done(command: Command, request: DataRequest) -> CommandReply:
    return CommandReply(command=command.command, key=command.key, ok=True, request=request)


def _names(raw: bytes) -> tuple[str | None, str | None]:
    """Return command and key of what is no command, as far as they can be read: its sender waits for an answer."""
    try:
        document = document_of(json_loads(raw))[0]
        named = [document.get("command"), document.get("key")]
        check_text(raw, named)
    except (MalformedBody, TypeError, AttributeError):
        return None, None
    command, key = (each if type(each) is str and len(each) <= _LONGEST else None for each in named)
    return command, key


def _refused(command: str | None, key: str | None, error: LeanflowError, *, status: int) -> Reply:
    path = error.path if isinstance(error, MalformedBody) else None
    if isinstance(error, InvalidRequest):
        is_member = command == Request.command and error.parameter not in attrs.fields_dict(Request)
        path = f"$.params.{error.parameter}" if is_member else f"$.{error.parameter}"
    told = CommandFailure(name=type(error).__name__, message=str(error), path=path, retryable=error.retryable)
    return _reply(CommandReply(command=command, key=key, ok=False, error=told), status=status)


def _status(error: CallerError) -> int:
    if isinstance(error, InvalidRequest):
        return 400
    return 404 if isinstance(error, RequestNotFound) else 409


def _reply(told: CommandReply, *, status: int) -> Reply:
    retry = told.error is not None and told.error.retryable
    return Reply(status=status, body=dump(told.to_dict()), headers=_ANSWER_HEADERS, retry=retry)
