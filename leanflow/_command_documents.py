"""Commands and replies as documents: what they hold, and how they are read and written. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar, Self

import attrs

from leanflow._lean.codec import check_text, json_loads, member_path
from leanflow._request import DataRequest
from leanflow.errors import MalformedBody

__all__ = [
    "BY_NAME",
    "MAX_SECONDS",
    "Cancel",
    "Command",
    "CommandFailure",
    "CommandReply",
    "Prompt",
    "PromptReply",
    "Renew",
    "Request",
    "document_of",
    "dump",
    "parse_command",
]

MAX_SECONDS = 10 * 366 * 86_400
"""Ten years: more than any wait of a policy, and less than what a timedelta or a database's time can hold."""

_EMPTY: Mapping[str, str] = MappingProxyType({})


# --- the commands ------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Command:
    command: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the document, without what has its default."""
        told: dict[str, Any] = {"command": self.command}
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            if value != field.default:
                told[field.name] = dict(value) if isinstance(value, Mapping) else value
        return told

    def to_bytes(self) -> bytes:
        """Return the body of the message."""
        return dump(self.to_dict())


@attrs.frozen(kw_only=True)
class Request(_Command):
    """Ask for data, as `LeanFlow.request` does.

    Attributes:
        key: idempotency key: the same key and parameters get the same record for ever.
        resource: what to ask for.
        entity_id: Lean's entity.
        account_id: for the resources that have accounts.
        start_date: first day, for transactions, as ``2026-01-31``.
        end_date: last day, for transactions.
        params: further query parameters, strings to strings.
        customer_id: Lean's customer; needed for the prompt's access token.
        customer_ip: of the customer who is present.
        reference: the application's own id, at most 255 characters.
        metadata: strings to strings, at most 4096 bytes as JSON.
        give_up_after: seconds; shorter than the policy's waits: then the request expires.
    """

    command = "request"

    key: str
    resource: str
    entity_id: str
    account_id: str | None = None
    start_date: str | None = None
    end_date: str | None = None
    params: Mapping[str, str] = _EMPTY
    customer_id: str | None = None
    customer_ip: str | None = attrs.field(default=None, repr=False)
    reference: str | None = None
    metadata: Mapping[str, str] = _EMPTY
    give_up_after: float | None = None


@attrs.frozen(kw_only=True)
class Cancel(_Command):
    """Withdraw a request.

    Attributes:
        key: comes back in the reply.
        request_id: which request.
    """

    command = "cancel"

    key: str
    request_id: str


@attrs.frozen(kw_only=True)
class Renew(_Command):
    """Make, or return, the successor of an expired or failed request.

    Attributes:
        key: comes back in the reply.
        request_id: which request.
    """

    command = "renew"

    key: str
    request_id: str


@attrs.frozen(kw_only=True)
class Prompt(_Command):
    """Hand out the prompt: the request awaits its user.

    Attributes:
        key: idempotency key: a further prompt is asked for with a further key.
        request_id: which request.
    """

    command = "prompt"

    key: str
    request_id: str


Command = Request | Cancel | Renew | Prompt
BY_NAME: Mapping[str, type[Command]] = MappingProxyType({c.command: c for c in (Request, Cancel, Renew, Prompt)})
"""Each command by the name in its document."""

_KNOWN = ", ".join(BY_NAME)


def parse_command(raw: bytes) -> Command:
    """Return what a message asks for.

    Args:
        raw: the body: the document, or a structured CloudEvent with the document as its data.

    Raises:
        MalformedBody: it is no JSON object, no command, has a field too many or lacks one; names the path.
    """
    body = json_loads(raw)
    if type(body) is not dict:
        raise MalformedBody("$", "an object")
    check_text(raw, body)
    return _command(*document_of(body))


def document_of(body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the command's document, and its path: the envelope of a CloudEvent is taken off."""
    if "specversion" not in body:
        return body, "$"
    data = body.get("data")
    if type(data) is not dict:
        raise MalformedBody("$.data", "the command, an object")
    return data, "$.data"


def _command(document: dict[str, Any], path: str) -> Command:
    kind = BY_NAME.get(name) if type(name := document.get("command")) is str else None
    if kind is None:
        raise MalformedBody(f"{path}.command", f"one of {_KNOWN}")
    fields = attrs.fields_dict(kind)
    given: dict[str, Any] = {}
    for name, value in document.items():
        if name == "command":
            continue
        if name not in fields:
            raise MalformedBody(member_path(path, name), f"no such field; {kind.command} has {', '.join(fields)}")
        if value is None and fields[name].default is None:
            continue
        given[name] = _value(fields[name], value, member_path(path, name))
    for name, field in fields.items():
        if field.default is attrs.NOTHING and name not in given:
            raise MalformedBody(f"{path}.{name}", "a string that is not empty")
    return kind(**given)


def _value(field: Any, value: Any, path: str) -> Any:
    if field.default is _EMPTY:
        if type(value) is not dict or not all(type(each) is str for each in value.values()):
            raise MalformedBody(path, "an object of strings")
        return MappingProxyType(value)
    if field.name == "give_up_after":
        if type(value) not in (int, Decimal) or not 0 < value <= MAX_SECONDS:
            raise MalformedBody(path, f"seconds, more than 0 and at most {MAX_SECONDS}")
        return float(value)
    if type(value) is not str or not value:
        raise MalformedBody(path, "a string that is not empty")
    return value


# --- the replies -------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PromptReply:
    """One prompt for the user.

    Attributes:
        request_id: whose prompt it is.
        number: which of the request's prompts: hand it back with the Link SDK's callback.
        expires_at: when the reconnect id dies, UTC.
        reconnect: exactly the argument of `Lean.reconnect`, the customer's access token included.
    """

    request_id: str
    number: int
    expires_at: datetime | None
    reconnect: Mapping[str, Any] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class CommandFailure:
    """Why a command was not done.

    Attributes:
        name: of the error, one of `leanflow.errors`.
        message: what is wrong, and what to do.
        path: which part of the command it is about, as ``$.entity_id``, if it is one.
        retryable: True if the same command may do later; leanflow has asked the bus to bring it again.
    """

    name: str
    message: str
    path: str | None = None
    retryable: bool = False


@attrs.frozen(kw_only=True)
class CommandReply:
    """What came of a command. Exactly one of `request`, `prompt` and `error` is there.

    Attributes:
        command: which; None if that could not be read.
        key: the command's; None if that could not be read.
        ok: whether it was done, now or by a copy before.
        request: the record as it is now: what was made, found, cancelled, or the successor.
        prompt: what was handed out.
        error: why it was not done.
    """

    command: str | None
    key: str | None
    ok: bool
    request: DataRequest | None = None
    prompt: PromptReply | None = None
    error: CommandFailure | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a dict of JSON values; what there is not is left out."""
        told: dict[str, Any] = {"command": self.command, "key": self.key, "ok": self.ok}
        if self.request is not None:
            told["request"] = self.request.to_dict()
        if self.prompt is not None:
            expires_at = self.prompt.expires_at
            told["prompt"] = {
                "request_id": self.prompt.request_id,
                "number": self.prompt.number,
                "expires_at": expires_at.isoformat() if expires_at else None,
                "reconnect": dict(self.prompt.reconnect),
            }
        if self.error is not None:
            told["error"] = attrs.asdict(self.error)
        return told

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Return what a reply's body says. Unknown names, of a later version, are passed over."""
        told = json.loads(raw)
        prompt, error = told.get("prompt"), told.get("error")
        if prompt is not None:
            at = prompt.get("expires_at")
            prompt = PromptReply(
                **{**_of(PromptReply, prompt), "expires_at": datetime.fromisoformat(at) if at else None}
            )
        return cls(
            command=told.get("command"),
            key=told.get("key"),
            ok=told["ok"],
            request=DataRequest.from_dict(told["request"]) if told.get("request") else None,
            prompt=prompt,
            error=CommandFailure(**_of(CommandFailure, error)) if error else None,
        )


def _of(cls: type[attrs.AttrsInstance], told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: told[name] for name in attrs.fields_dict(cls) if name in told}


def dump(value: Any) -> bytes:
    """Return compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
