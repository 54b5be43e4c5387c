"""CloudEvents 1.0 from announcements, and back: the envelope in which buses carry them. Pure.

The data is the announcement's own JSON text, byte for byte; everything else is said by attributes, so that whoever
routes messages need not look inside. The reference documentation lists them.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import quote, unquote

import attrs

from leanflow._effects import Change
from leanflow._json import dump, peek
from leanflow._lean.codec import json_loads
from leanflow._lean.webhooks import Webhook, parse_webhook
from leanflow.errors import MalformedBody
from leanflow.ports import OutboxRow

__all__ = ["CONTENT_TYPE", "CloudEvent", "binary", "headers", "read", "structured"]

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
"""Of a message in structured mode."""

_JSON = "application/json"
_FLOW = "flow"
_TYPE = re.compile(r"leanflow\.([^.]+)\.(.+)\.v1", re.DOTALL)
_KINDS = MappingProxyType({"change": _FLOW})  # what a kind is called in types, if otherwise than by its name
_NAMES = MappingProxyType({called: kind for kind, called in _KINDS.items()})
_PLACE = ("app", "environment", "region")
_WIDTH = 10  # digits of `sequence`, which CloudEvents orders as text; more steps than any request takes
_SURROGATE = re.compile("[\ud800-\udfff]")
_PREFIXES = ("ce-", "ce_", "cloudevents:", "cloudevents_")  # HTTP and NATS; Kafka; AMQP, in both its spellings
_QUOTED = "ce-"  # where values are percent-encoded, because headers hold ASCII alone
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


@attrs.frozen
class CloudEvent:
    """One announcement as a CloudEvent.

    Attributes:
        attributes: names to values, all text: those of CloudEvents 1.0 and its registered extensions.
        payload: the data: JSON text.
    """

    attributes: Mapping[str, str]
    payload: str = attrs.field(repr=False)

    @classmethod
    def of(cls, row: OutboxRow, source: str | None = None) -> Self:
        """Return what a row is told as.

        Args:
            row: of the outbox.
            source: the attribute; ``/leanflow/<app>/<environment>/<region>`` of the request if it is not given.
        """
        return cls(_attributes(row, source), row.payload)

    @property
    def key(self) -> str:
        """The announcement's key: the same on every copy."""
        return self.attributes["id"]

    @property
    def kind(self) -> str:
        """``change``, ``report`` or ``webhook``; `other` if it is none of leanflow's."""
        found = _TYPE.fullmatch(self.attributes["type"])
        return _NAMES.get(found[1], found[1]) if found else "other"

    @property
    def topic(self) -> str:
        """The state entered, the report's name, or the webhook's type."""
        found = _TYPE.fullmatch(self.attributes["type"])
        return found[2] if found else self.attributes["type"]

    @property
    def request_id(self) -> str | None:
        """Whose order it keeps; None for webhooks."""
        return self.attributes.get("subject")

    @property
    def partition_key(self) -> str:
        """What is kept together: the entity."""
        return self.attributes.get("partitionkey") or self.request_id or self.key

    @property
    def out_of_order(self) -> bool:
        """Whether an earlier announcement of this request was set aside for this bus."""
        return self.attributes.get("outoforder") == "true"

    @property
    def change(self) -> Change:
        """The change that it tells of.

        Raises:
            MalformedBody: it is no change.
        """
        try:
            change = Change.from_dict(json.loads(self.payload))
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
            problem = MalformedBody("$", "a change, as Change.to_dict describes it")
        else:
            return attrs.evolve(change, out_of_order=self.out_of_order)
        raise problem

    @property
    def webhook(self) -> Webhook:
        """The webhook that it tells of.

        Raises:
            MalformedBody: it is no webhook.
        """
        told = _object(self.payload)
        if not isinstance(raw := told.get("raw"), str):
            raise MalformedBody("$.raw", "a webhook's body")
        try:
            body = raw.encode("utf-8", "surrogateescape")
            at = datetime.fromisoformat(told["at"]) if told.get("at") else None
        except (TypeError, ValueError):
            problem = MalformedBody("$", "a webhook's body, and when it came")
        else:
            event = parse_webhook(body)
            return event if at is None else event.stamped(at, self.key.removeprefix("webhook:"))
        raise problem

    @property
    def data(self) -> bytes:
        """The data in UTF-8."""
        return _utf8(self.payload)

    def structured(self) -> bytes:
        """Return attributes and data as one JSON document; its content type is `CONTENT_TYPE`."""
        return _utf8(f'{dump(dict(self.attributes))[:-1]},"data":{self.payload}}}')


def structured(row: OutboxRow, *, source: str | None = None) -> bytes:
    """Return a row in structured mode: one JSON document, of the content type `CONTENT_TYPE`."""
    return CloudEvent.of(row, source).structured()


def binary(row: OutboxRow, *, source: str | None = None) -> tuple[dict[str, str], bytes]:
    """Return a row in binary mode: attributes, to be sent as `headers`, and data."""
    event = CloudEvent.of(row, source)
    return dict(event.attributes), event.data


def headers(attributes: Mapping[str, str], *, prefix: str = _QUOTED) -> dict[str, str]:
    """Return attributes as a message's headers in binary mode.

    Args:
        attributes: names to values.
        prefix: ``ce-`` (HTTP, NATS: values are percent-encoded), ``ce_`` (Kafka) or ``cloudEvents:`` (AMQP).
    """
    told = {
        f"{prefix}{name}": quote(value, safe=_SAFE) if prefix == _QUOTED else value
        for name, value in attributes.items()
        if name != "datacontenttype"
    }
    return {**told, "content-type": attributes.get("datacontenttype", _JSON)}


def read(headers: Mapping[str, str], body: bytes) -> CloudEvent:
    """Return the CloudEvent that a message carries, in either mode.

    Args:
        headers: of the message; names in any case.
        body: of the message.

    Raises:
        MalformedBody: it carries none.
    """
    named = {name.lower(): value for name, value in headers.items()}
    content_type = named.get("content-type", "")
    if content_type.lower().startswith("application/cloudevents+json"):
        return _checked(*_opened(body))
    for prefix in _PREFIXES:
        if prefix + "specversion" in named:
            found = {n.removeprefix(prefix): v for n, v in named.items() if n.startswith(prefix)}
            if prefix == _QUOTED:
                found = {name: unquote(value) for name, value in found.items()}
            if content_type:
                found["datacontenttype"] = content_type
            return _checked(found, _text(body))
    raise MalformedBody("$", "a CloudEvent: the content type application/cloudevents+json, or ce- headers")


# --- writing -----------------------------------------------------------------------------------------------------


def _attributes(row: OutboxRow, source: str | None) -> dict[str, str]:
    told = _object(row.payload)
    request = told.get("request")
    request = request if isinstance(request, dict) else {}
    topic, entity_id = row.key.rpartition(":")[2], request.get("entity_id")
    if row.kind == "webhook" and isinstance(told.get("raw"), str):
        topic, entity_id = _of_webhook(told["raw"])
    found = {
        "specversion": "1.0",
        "id": row.key,
        "source": source or _path(*[part for name in _PLACE if isinstance(part := request.get(name), str)]),
        "type": f"leanflow.{_KINDS.get(row.kind, row.kind)}.{topic}.v1",
    }
    if row.request_id:
        found["subject"] = row.request_id
    if isinstance(at := told.get("at"), str) and at:
        found["time"] = at
    found["datacontenttype"] = _JSON
    found["partitionkey"] = entity_id if isinstance(entity_id, str) and entity_id else row.request_id or row.key
    if request:
        found["sequence"] = f"{request.get('version', 0):0{_WIDTH}d}"
    if isinstance(trace := request.get("traceparent") or told.get("traceparent"), str) and trace:
        found["traceparent"] = trace
    if row.skipped:
        found["outoforder"] = "true"
    return found


@lru_cache(maxsize=64)  # a deployment has a few, and quoting costs as much as all the rest
def _path(*parts: str) -> str:
    return "/".join(["/leanflow", *(quote(part, safe="") for part in parts)])


def _of_webhook(raw: str) -> tuple[str, str | None]:
    """Return a webhook's type, and the entity that it names, if it names one."""
    try:
        event = parse_webhook(raw.encode("utf-8", "surrogateescape"))
    except MalformedBody:
        return "unknown", None
    entity_id = event.payload.get("entity_id")
    return event.type, entity_id if isinstance(entity_id, str) else None


def _object(payload: str) -> dict[str, Any]:
    try:
        told = peek(payload)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _utf8(text: str) -> bytes:
    """Return JSON text in UTF-8; half a surrogate pair, which UTF-8 has no bytes for, as JSON's own escape."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text).encode()


# --- reading -----------------------------------------------------------------------------------------------------


def _checked(attributes: dict[str, str], payload: str) -> CloudEvent:
    if not attributes.get("specversion", "").startswith("1."):
        raise MalformedBody("$.specversion", "1.0")
    for name in ("id", "source", "type"):
        if not attributes.get(name):
            raise MalformedBody(f"$.{name}", "the attribute of that name")
    return CloudEvent(attributes, payload)


def _opened(body: bytes) -> tuple[dict[str, str], str]:
    """Return attributes and data of a structured message, the data as it stands there."""
    document = json_loads(body)
    if type(document) is not dict:
        raise MalformedBody("$", "an object")
    payload = ""
    if "data" in document:
        payload = _member(_text(body), "data")
    elif isinstance(packed := document.get("data_base64"), str):
        payload = _unpacked(packed)
    told = {name: value for name, value in document.items() if name not in {"data", "data_base64"}}
    return {name: _said(value) for name, value in told.items() if isinstance(value, str | int)}, payload


def _unpacked(packed: str) -> str:
    try:
        return _text(base64.b64decode(packed, validate=True))
    except ValueError:
        problem = MalformedBody("$.data_base64", "Base64 of UTF-8")
    raise problem


def _said(value: str | int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _member(text: str, name: str) -> str:
    """Return the text of an object's member; the object was read before, and has it."""
    place = _skip(text, 0) + 1
    while True:
        found, place = _DECODER.raw_decode(text, _skip(text, place))
        begin = _skip(text, _skip(text, place) + 1)
        _, end = _DECODER.raw_decode(text, begin)
        if found == name:
            return text[begin:end]
        place = _skip(text, end) + 1


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    assert found is not None
    return found.end()


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        problem = MalformedBody("$", "UTF-8")
    raise problem
