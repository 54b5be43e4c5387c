"""``manage.py leanflow_worker``: how it says that there is no engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

import tests.support.django as _configured  # noqa: F401 - settings are made once for each process
from leanflow_adapters.django.management.commands.leanflow_worker import Command


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nowhere:flows", "there is no module 'nowhere'"),
        ("leanflow.nowhere:flows", "there is no module 'leanflow.nowhere'"),
        ("leanflow.nowhere.at_all:flows", "there is no module 'leanflow.nowhere'"),
        ("leanflow:flows", "leanflow has no 'flows'"),
        ("leanflow:State", "leanflow:State is a EnumType, no engine"),
        ("leanflow", "'leanflow' names no engine: write MODULE:ATTR"),
    ],
)
def test_what_is_no_engine_is_told_in_one_line(target: str, words: str) -> None:
    """As Django tells errors of a command: no traceback."""
    with pytest.raises(CommandError, match=words):
        call_command(Command(), target)


def test_what_the_module_lacks_is_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shown with its traceback: that says where."""
    (tmp_path / "lacking_shop.py").write_text("import a_module_that_is_nowhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_nowhere"):
        call_command(Command(), "lacking_shop:flows")
