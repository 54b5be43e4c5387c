"""Schemas and the AsyncAPI document: valid themselves, and true of what is said and taken."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import jsonschema_rs
import pytest
from hypothesis import given, settings, strategies as st

from leanflow import DataRequest, Failure, Remedy, parse_webhook
from leanflow._asyncapi import CHANNELS, asyncapi
from leanflow._schemas import DEFINITIONS, WEBHOOKS, definitions, schema
from leanflow._step_rows import announcement_of, orphan_report, step_of
from leanflow.cloudevents import CloudEvent
from leanflow.commands import BY_NAME, CommandFailure, CommandReply, PromptReply, parse_command
from leanflow.errors import InvalidRequest, MalformedBody
from leanflow.events import OtherWebhook
from leanflow.ports import Announcement, OutboxRow
from leanflow.testing import paths
from leanflow.testing.examples import example_request
from leanflow.testing.strategies import History, histories, webhooks
from tests.support.asyncapi import asyncapi_schema

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def _closed(made: Any) -> Any:
    """Return a schema in which objects have no field that it does not describe: so that none is forgotten."""
    if isinstance(made, list):
        return [_closed(each) for each in made]
    if not isinstance(made, dict):
        return made
    inner = {name: _closed(each) for name, each in made.items()}
    return {**inner, "additionalProperties": False} if "properties" in made and "type" in made else inner


def _validator(name: str, *, closed: bool = False) -> jsonschema_rs.Validator:
    found = schema(name)
    return jsonschema_rs.validator_for(_closed(found) if closed else found, validate_formats=True)


CLOSED = {name: _validator(name, closed=True) for name in DEFINITIONS}
DOCUMENT = asyncapi(version="1.2.3")
ENVELOPES = {
    name: jsonschema_rs.validator_for(
        {**DOCUMENT["components"]["messages"][name]["payload"], "components": DOCUMENT["components"]},
        validate_formats=True,
    )
    for name in ("change", "late", "orphan", "webhook")
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_schema_is_a_schema_and_describes_every_field(name: str) -> None:
    """It is draft 7, refers to nothing that it lacks, and says of each field what it is."""
    made = schema(name)
    jsonschema_rs.meta.validate(made)
    jsonschema_rs.validator_for(made)
    for each in (made, *made["definitions"].values()):
        if name != "Webhook" and "properties" in each:
            silent = {field for field, what in each["properties"].items() if not {"description", "const"} & what.keys()}
            assert not silent


def test_an_unknown_schema_is_refused_by_name() -> None:
    """The error lists those there are."""
    with pytest.raises(InvalidRequest, match="Change"):
        schema("Nothing")


# --- what is said ------------------------------------------------------------------------------------------------


def _judge(announcement: Announcement, *, sink: str = "bus") -> str:
    """Hold an announcement to its schema, bare and as a CloudEvent; return what it is."""
    name = {"webhook": "AnnouncedWebhook", "report": "OrphanReport"}.get(announcement.kind, "Change")
    message = announcement.kind
    if announcement.kind == "report":
        name, message = ("Change", "late") if announcement.topic == "late" else (name, "orphan")
    CLOSED[name].validate(json.loads(announcement.payload))
    row = OutboxRow(
        key=announcement.key, sink=sink, kind=announcement.kind, request_id=announcement.request_id,
        payload=announcement.payload,
    )  # fmt: skip
    ENVELOPES[message].validate(json.loads(CloudEvent.of(row).structured()))
    return message


def _announced(history: History) -> Iterator[Announcement]:
    yield announcement_of(history.request, None, None)
    for request, event, decision in history.steps():
        yield from step_of(request, event, decision, history.policy, release=None, announce=True).announcements


@settings(max_examples=25)
@given(histories())
def test_every_announcement_of_any_history_is_as_described(history: History) -> None:
    """Changes, reports and webhooks, in no field more or less, and their CloudEvents."""
    for announcement in _announced(history):
        _judge(announcement)


def test_every_row_s_announcement_is_as_described() -> None:
    """The same along paths that take every row of the table."""
    told = set()
    for path in paths(covering="rows"):
        history = History(request=path.start, events=tuple(step.event for step in path.steps))
        told |= {_judge(each) for each in _announced(history)}
    assert {"change", "webhook"} <= told


def test_reports_are_as_described() -> None:
    """An orphan has a document of its own; a late webhook is told as a change."""
    assert _judge(orphan_report("event:1", "results_ready", NOW.isoformat())) == "orphan"


def test_every_field_of_a_record_is_described() -> None:
    """A record of which every field is set has none that the schema lacks."""
    values: dict[str, Any] = {}
    for field in attrs.fields(DataRequest):
        if field.name.endswith(("_at", "_until")):
            values[field.name] = NOW
        elif field.default is None:
            values[field.name] = 1 if field.name.endswith("round") else "text"
    values |= {"failure": Failure(code="c", message="m", remedy=Remedy.user, info="i", http_status=200)}
    values |= {"past_ids": ("a",), "unsure": True, "ids_repeat": True}
    record = json.loads(json.dumps(attrs.evolve(example_request(), **values).to_dict()))
    CLOSED["DataRequest"].validate(record)
    with pytest.raises(jsonschema_rs.ValidationError):
        CLOSED["DataRequest"].validate({**record, "another": 1})


@pytest.mark.parametrize(
    "reply",
    [
        CommandReply(command="request", key="k", ok=True, request=example_request()),
        CommandReply(
            command="prompt", key="k", ok=True,
            prompt=PromptReply(request_id="r", number=1, expires_at=NOW, reconnect={"sandbox": True}),
        ),
        CommandReply(command=None, key=None, ok=False, error=CommandFailure(name="NotInState", message="m")),
    ],
    ids=["request", "prompt", "error"],
)  # fmt: skip
def test_every_reply_is_as_described(reply: CommandReply) -> None:
    """What there is not is left out, and nothing is null that may not be."""
    CLOSED["CommandReply"].validate(json.loads(json.dumps(reply.to_dict())))


# --- what is taken -----------------------------------------------------------------------------------------------

_VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(0.1, 9) | st.text("ab", max_size=3)
)
_VALUES |= st.dictionaries(st.text("ab", max_size=2), st.text("ab", max_size=2) | st.integers(0, 1), max_size=2)
_FIELDS = sorted({field.name for cls in BY_NAME.values() for field in attrs.fields(cls)})


@st.composite
def _documents(draw: st.DrawFn) -> dict[str, Any]:
    """Return what is nearly a command: the right fields more often than not, and now and then a wrong value."""
    name = draw(st.sampled_from([*BY_NAME, "other"]))
    cls = BY_NAME.get(name, BY_NAME["cancel"])
    made: dict[str, Any] = {"command": name}
    for field in attrs.fields(cls):
        wanted = field.default is attrs.NOTHING or draw(st.booleans())
        if wanted and draw(st.integers(0, 15)):
            made[field.name] = "text"
            if field.name in {"params", "metadata"}:
                made[field.name] = {"a": "b"}
            if field.name == "give_up_after":
                made[field.name] = 60.5
    if not draw(st.integers(0, 3)):
        made[draw(st.sampled_from([*_FIELDS, "more"]))] = draw(_VALUES)
    return made


@settings(max_examples=120)
@given(_documents())
def test_a_command_is_read_exactly_if_its_schema_says_so(document: Mapping[str, Any]) -> None:
    """The schema is what `parse_command` goes by; that a resource takes what it is given is looked at later."""
    document = {**document, "resource": "accounts"} if document.get("resource") == "text" else document
    is_valid = _COMMAND.is_valid(document)
    try:
        parse_command(json.dumps(document).encode())
    except MalformedBody:
        assert not is_valid
    else:
        assert is_valid


_COMMAND = _validator("Command")
_WEBHOOK = _validator("Webhook")


@settings(max_examples=40)
@given(webhooks())
def test_every_webhook_that_is_read_is_as_described(raw: bytes) -> None:
    """Whatever Lean may send and leanflow takes, in API v1 and v2."""
    parse_webhook(raw)
    _WEBHOOK.validate(json.loads(raw))


@pytest.mark.parametrize("kind", WEBHOOKS)
def test_a_webhook_without_what_it_must_have_is_neither_read_nor_described(kind: str) -> None:
    """Each id that its payload must have: left out, it is malformed, and the schema says so."""
    must, _ = WEBHOOKS[kind]
    whole = {"type": kind, "payload": dict.fromkeys(must, "x")}
    assert not isinstance(parse_webhook(json.dumps(whole).encode()), OtherWebhook)
    _WEBHOOK.validate(whole)
    for name in must:
        broken = {"type": kind, "payload": {each: "x" for each in must if each != name}}
        assert not _WEBHOOK.is_valid(broken)
        with pytest.raises(MalformedBody):
            parse_webhook(json.dumps(broken).encode())


# --- AsyncAPI ----------------------------------------------------------------------------------------------------


def test_the_document_is_what_asyncapi_says_one_is() -> None:
    """Judged by AsyncAPI's own schema of 3.0.0, which refuses what is none."""
    judge = jsonschema_rs.validator_for(asyncapi_schema())
    judge.validate(DOCUMENT)
    judge.validate(asyncapi(version="1", title="t", addresses={"commands": "bank.commands"}))
    assert not judge.is_valid({**DOCUMENT, "channels": {"commands": {"adress": "x"}}})


def test_every_reference_in_the_document_leads_somewhere() -> None:
    """AsyncAPI's schema does not follow references."""
    text = json.dumps(DOCUMENT)
    found = {part.split('"')[0] for part in text.split('"$ref": "#/')[1:]}
    assert len(found) > 20
    for path in found:
        place: Any = DOCUMENT
        for part in path.split("/"):
            place = place[part]


def test_addresses_are_those_given() -> None:
    """A channel whose address nobody gave has none: it depends; one that there is not is refused."""
    made = asyncapi(version="1", addresses={"commands": "bank.commands"})["channels"]
    assert {name: channel["address"] for name, channel in made.items()} == {
        **dict.fromkeys(CHANNELS), "commands": "bank.commands",
    }  # fmt: skip
    with pytest.raises(InvalidRequest, match="orders"):
        asyncapi(version="1", addresses={"orders": "x"})


def test_all_schemas_are_in_the_document() -> None:
    """The same ones as `schema` gives, with references of the document's own."""
    assert DOCUMENT["components"]["schemas"] == definitions("#/components/schemas/")
