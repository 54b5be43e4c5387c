"""What the reference says is what the code has."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

import attrs
import pytest

import leanflow
from leanflow import errors, events
from leanflow_adapters.cli._app import COMMANDS
from tests.docs.documents import DOCUMENTS, ROOT, fences, page_id
from tests.docs.generated import SECTIONS, current

REFERENCE = ROOT / "docs" / "reference"


def text_of(name: str) -> str:
    """Return a page of the reference."""
    return (REFERENCE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=page_id)
def test_what_is_read_off_the_code_is_as_the_code_has_it(path: Path) -> None:
    """Signatures, fields, defaults, errors, commands, diagram: `python -m tests.docs.generated` writes them anew."""
    text = path.read_text(encoding="utf-8")
    assert text == current(text)


def test_every_generated_part_is_shown() -> None:
    """Nothing that can be generated is missing from the pages."""
    shown = {
        name
        for path in DOCUMENTS
        for name in re.findall(r"<!-- generated: (\S+) -->", path.read_text(encoding="utf-8"))
    }
    assert shown == set(SECTIONS)


def test_a_stale_part_is_found() -> None:
    """The comparison can fail: a wrong default does not pass."""
    text = text_of("policy.md")
    assert text.replace("30 days", "31 days") != current(text.replace("30 days", "31 days"))


def test_the_api_page_lists_every_public_name_and_no_other() -> None:
    """The table of names is `leanflow.__all__`."""
    table = text_of("api.md").split("Importing `leanflow`")[0]
    names = {
        name for row in re.findall(r"^\| (\[?`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert names == set(leanflow.__all__)


def test_the_api_page_lists_every_event() -> None:
    """The table of events is the closed union."""
    section = text_of("api.md").split("## Events")[1].split("\n## ")[0]
    named = set(re.findall(r"`([A-Z]\w+)`", section))
    assert named == {cls.__name__ for cls in events.Event.__args__}


@pytest.mark.parametrize("enum", [leanflow.State, leanflow.Resource, leanflow.Action], ids=lambda enum: enum.__name__)
def test_the_api_page_lists_every_member(enum: type[Enum]) -> None:
    """States, resources and actions are all there."""
    for member in enum.__members__:
        assert f"`{member}`" in text_of("api.md")


def test_the_policy_page_has_every_field() -> None:
    """One row for each field, and what is said of fields is said of those that exist."""
    fields = [field.name for field in attrs.fields(leanflow.Policy)]
    assert re.findall(r"^\| `(\w+)` \|", text_of("policy.md"), re.MULTILINE) == fields


def test_the_errors_page_has_every_error() -> None:
    """In the tree and in the table."""
    tree = next(source for language, source in fences(REFERENCE / "errors.md") if language == "plain")
    assert set(re.findall(r"^(?:│   |    )*(?:[├└]── )?(\w+)", tree, re.MULTILINE)) == set(errors.__all__)
    assert re.findall(r"^\| `(\w+)` \|", text_of("errors.md"), re.MULTILINE) == list(errors.__all__)


def test_the_command_page_has_every_command() -> None:
    """One section for each."""
    assert set(re.findall(r"^## leanflow ([\w-]+)", text_of("cli.md"), re.MULTILINE)) == set(COMMANDS)
