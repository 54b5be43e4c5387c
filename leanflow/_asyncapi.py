"""The AsyncAPI 3.0 document of what leanflow says on a bus and takes from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leanflow._schemas import definitions
from leanflow.errors import InvalidRequest

__all__ = ["CHANNELS", "asyncapi"]

Document = dict[str, Any]

CHANNELS: Mapping[str, str] = {
    "announcements": "What happens to requests, as CloudEvents. Where they go is the bus's `topic=`.",
    "webhooks": "Lean's webhooks, put there by a gateway as they came, `lean-signature` among the headers.",
    "commands": "What the application asks for. Whoever may write here may ask for everybody's data.",
    "replies": "The answers to commands, at the address that the command's message names.",
}

_TEXT = {"type": "string"}
_ENVELOPE: Mapping[str, tuple[str, bool]] = {
    "specversion": ("``1.0``.", True),
    "id": ("The announcement's key: the same on every copy. Drop what you have.", True),
    "source": ("``/leanflow/<app>/<environment>/<region>`` unless the bus says otherwise.", True),
    "type": ("What happened, and its version.", True),
    "time": ("When.", False),
    "datacontenttype": ("``application/json``.", False),
    "subject": ("The request's id.", False),
    "partitionkey": ("The entity: what must keep its order.", False),
    "sequence": ("The request's version, in ten digits.", False),
    "traceparent": ("The trace context of whoever asked, if there was one.", False),
    "outoforder": ("``true`` if an earlier announcement of this request was set aside.", False),
}
_ANNOUNCED = {
    "change": ("Change", r"^leanflow\.flow\.[a-z_]+\.v1$", "A request entered a state."),
    "late": ("Change", r"^leanflow\.report\.late\.v1$", "A webhook came for a request that had ended."),
    "orphan": ("OrphanReport", r"^leanflow\.report\.orphan\.v1$", "No request ever owned a webhook."),
    "webhook": ("AnnouncedWebhook", r"^leanflow\.webhook\..+\.v1$", "A webhook, to a bus that asked for its type."),
}


def asyncapi(*, version: str, title: str = "leanflow", addresses: Mapping[str, str] | None = None) -> Document:
    """Return the document.

    Args:
        version: of the application's messages.
        title: of the application.
        addresses: of channels, by their names; a channel without one has the address null: it depends.

    Raises:
        InvalidRequest: there is no such channel.
    """
    given = dict(addresses or {})
    unknown = given.keys() - CHANNELS.keys()
    if unknown:
        raise InvalidRequest("addresses", f"{min(unknown)!r} is none of {', '.join(CHANNELS)}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": title,
            "version": version,
            "description": "Data requests to Lean as messages. No announcement of a change holds bank data.",
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name, given.get(name)) for name in CHANNELS},
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": definitions("#/components/schemas/")},
    }


_IN = {
    "announcements": tuple(_ANNOUNCED),
    "webhooks": ("leanWebhook",),
    "commands": ("command",),
    "replies": ("reply",),
}


def _channel(name: str, address: str | None) -> Document:
    messages = {message: {"$ref": f"#/components/messages/{message}"} for message in _IN[name]}
    return {"address": address, "description": CHANNELS[name], "messages": messages}


def _operations() -> Document:
    return {
        "announce": {
            "action": "send",
            "channel": {"$ref": "#/channels/announcements"},
            "summary": "At least once each, in order for each request.",
        },
        "takeWebhooks": {
            "action": "receive",
            "channel": {"$ref": "#/channels/webhooks"},
            "summary": "Acknowledged once it is committed; set aside if its signature is wrong.",
        },
        "doCommands": {
            "action": "receive",
            "channel": {"$ref": "#/channels/commands"},
            "summary": "The same key again gets the same answer.",
            "reply": {
                "address": {"location": "$message.header#/reply-to", "description": "Where the sender listens."},
                "channel": {"$ref": "#/channels/replies"},
            },
        },
    }


def _messages() -> Document:
    made: Document = {
        name: {
            "name": name,
            "contentType": "application/cloudevents+json",
            "summary": summary,
            "description": "In structured mode. In binary mode the data is the body, and the attributes are headers.",
            "payload": _enveloped(data, pattern),
        }
        for name, (data, pattern, summary) in _ANNOUNCED.items()
    }
    made["leanWebhook"] = {
        "name": "leanWebhook",
        "contentType": "application/json",
        "headers": {"type": "object", "properties": {"lean-signature": _TEXT}, "required": ["lean-signature"]},
        "payload": {"$ref": "#/components/schemas/Webhook"},
    }
    made["command"] = {
        "name": "command",
        "contentType": "application/json",
        "headers": {"type": "object", "properties": {"reply-to": _TEXT, "traceparent": _TEXT}},
        "correlationId": {"location": "$message.payload#/key"},
        "payload": {"$ref": "#/components/schemas/Command"},
    }
    made["reply"] = {
        "name": "reply",
        "contentType": "application/json",
        "correlationId": {"location": "$message.payload#/key"},
        "payload": {"$ref": "#/components/schemas/CommandReply"},
    }
    return made


def _enveloped(data: str, pattern: str) -> Document:
    properties: Document = {name: {**_TEXT, "description": text} for name, (text, _) in _ENVELOPE.items()}
    properties["type"]["pattern"] = pattern
    properties["specversion"]["const"] = "1.0"
    properties["time"]["format"] = "date-time"
    properties["data"] = {"$ref": f"#/components/schemas/{data}"}
    required = [name for name, (_, must) in _ENVELOPE.items() if must]
    return {"type": "object", "properties": properties, "required": [*required, "data"]}
