"""`leanflow schema` and `leanflow asyncapi`."""

from __future__ import annotations

import json

from click.testing import CliRunner

from leanflow._asyncapi import asyncapi
from leanflow._schemas import DEFINITIONS, schema
from leanflow_adapters.cli._app import app


def test_a_schema_is_printed_as_json() -> None:
    """With a name the schema, without one the names, with a wrong one what there is."""
    assert json.loads(CliRunner().invoke(app, ["schema", "Change"]).output) == schema("Change")
    assert CliRunner().invoke(app, ["schema"]).output.split() == list(DEFINITIONS)
    wrong = CliRunner().invoke(app, ["schema", "Nothing"])
    assert wrong.exit_code == 2
    assert "CommandReply" in wrong.output


def test_the_asyncapi_document_has_the_addresses_given() -> None:
    """Title, version and addresses are the application's."""
    asked = ["asyncapi", "--title", "bank", "--version", "7", "--address", "commands=bank.commands"]
    told = json.loads(CliRunner().invoke(app, asked).output)
    assert told == asyncapi(title="bank", version="7", addresses={"commands": "bank.commands"})
    wrong = CliRunner().invoke(app, ["asyncapi", "--address", "orders=x"])
    assert wrong.exit_code == 2
    assert "announcements" in wrong.output
