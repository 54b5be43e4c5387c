"""Scenario files."""

from __future__ import annotations

from pathlib import Path

from leanflow.errors import InvalidRequest
from leanflow.mockbank import Scenario

__all__ = ["load_scenario"]


def load_scenario(path: str | Path) -> Scenario:
    """Return the scenario of a file of TOML or JSON, for `Mockbank.from_scenario`.

    Raises:
        InvalidRequest: the file cannot be read, or something in it is wrong. Names file and key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(str(path), "is no text in UTF-8") from error
    return Scenario.parse(text, Path(path).name)
