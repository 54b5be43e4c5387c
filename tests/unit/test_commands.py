"""Commands as documents: what is read, what is refused and where, and what a reply says."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from leanflow import commands
from leanflow.commands import Cancel, Command, CommandFailure, CommandReply, Prompt, PromptReply, Renew, Request
from leanflow.errors import MalformedBody

REQUEST = {"command": "request", "key": "k", "resource": "accounts", "entity_id": "e"}


def _raw(body: Any) -> bytes:
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    "command",
    [
        Request(key="k", resource="accounts", entity_id="e"),
        Request(
            key="k", resource="transactions", entity_id="e", account_id="a", start_date="2026-01-01",
            end_date="2026-01-31", params={"size": "50"}, customer_id="c", customer_ip="10.0.0.1", reference="r",
            metadata={"case": "9"}, give_up_after=3600.5,
        ),
        Cancel(key="k", request_id="r"),
        Renew(key="k", request_id="r"),
        Prompt(key="k", request_id="r"),
    ],
    ids=lambda command: command.command,
)  # fmt: skip
def test_a_command_is_read_as_it_was_written(command: Command) -> None:
    """What an application writes with the classes is what an engine reads."""
    assert commands.parse_command(command.to_bytes()) == command
    assert command.to_dict()["command"] == command.command


def test_a_command_in_a_cloudevent_is_the_same_command() -> None:
    """The envelope of a structured CloudEvent is taken off."""
    envelope = {"specversion": "1.0", "id": "1", "source": "/app", "type": "app.command", "data": REQUEST}
    assert commands.parse_command(_raw(envelope)) == Request(key="k", resource="accounts", entity_id="e")
    with pytest.raises(MalformedBody) as refused:
        commands.parse_command(_raw({**envelope, "data": {**REQUEST, "resource": 7}}))
    assert refused.value.path == "$.data.resource"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ([], "$"),
        ({}, "$.command"),
        ({"command": "delete", "key": "k"}, "$.command"),
        ({"command": ["request"]}, "$.command"),
        ({"command": "cancel", "key": "k"}, "$.request_id"),
        ({"command": "cancel", "request_id": "r"}, "$.key"),
        ({"command": "cancel", "key": "", "request_id": "r"}, "$.key"),
        ({"command": "cancel", "key": "k", "request_id": None}, "$.request_id"),
        ({"command": "cancel", "key": "k", "request_id": "r", "entity_id": "e"}, "$.entity_id"),
        ({**REQUEST, "a field": 1}, "$.?"),
        ({**REQUEST, "account_id": 7}, "$.account_id"),
        ({**REQUEST, "params": {"size": 50}}, "$.params"),
        ({**REQUEST, "metadata": []}, "$.metadata"),
        ({**REQUEST, "give_up_after": 0}, "$.give_up_after"),
        ({**REQUEST, "give_up_after": True}, "$.give_up_after"),
        ({**REQUEST, "give_up_after": 10**12}, "$.give_up_after"),
        ({**REQUEST, "reference": "\ud800"}, "$.reference"),
        ({"specversion": "1.0", "data_base64": "e30="}, "$.data"),
    ],
)
def test_what_is_no_command_is_refused_by_its_path(body: Any, path: str) -> None:
    """The error names the first place that is wrong, and says what belongs there."""
    with pytest.raises(MalformedBody) as refused:
        commands.parse_command(_raw(body))
    assert refused.value.path == path


@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(_raw)
)
def test_whatever_comes_it_is_read_or_malformed(raw: bytes) -> None:
    """No body gets anything but a command or `MalformedBody` out of the parser."""
    with suppress(MalformedBody):
        commands.parse_command(raw)


def test_null_is_as_good_as_absent_where_a_field_may_be() -> None:
    """Many languages write every field of a class."""
    read = commands.parse_command(_raw({**REQUEST, "account_id": None, "give_up_after": None}))
    assert read == Request(key="k", resource="accounts", entity_id="e")


def test_a_reply_is_read_as_it_was_written() -> None:
    """A reply's document comes back as the same values; names of a later version are passed over."""
    prompt = PromptReply(
        request_id="r", number=2, expires_at=datetime(2026, 1, 5, tzinfo=UTC), reconnect={"reconnect_id": "x"}
    )
    error = CommandFailure(name="NotInState", message="no", path=None, retryable=False)
    for reply in (
        CommandReply(command="prompt", key="k", ok=True, prompt=prompt),
        CommandReply(command=None, key=None, ok=False, error=error),
    ):
        told = {**reply.to_dict(), "later": 1}
        if "error" in told:
            told["error"] = {**told["error"], "later": 1}
        assert CommandReply.from_bytes(_raw(told)) == reply


def test_neither_token_nor_address_is_shown() -> None:
    """What a prompt's token opens, and where a customer is, stays out of logs."""
    prompt = PromptReply(request_id="r", number=1, expires_at=None, reconnect={"access_token": "secret"})
    assert "secret" not in repr(CommandReply(command="prompt", key="k", ok=True, prompt=prompt))
    assert "10.0.0.1" not in repr(Request(key="k", resource="accounts", entity_id="e", customer_ip="10.0.0.1"))
