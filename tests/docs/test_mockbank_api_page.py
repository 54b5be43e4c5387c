"""The page of Mockbank's paths shows those that are served, in the regions where they are."""

from __future__ import annotations

import re
from pathlib import Path

from leanflow.mockbank import Mockbank

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "mockbank-api.md"


def shown() -> dict[tuple[str, str], str]:
    """Return the last column of the table of paths, by method and path."""
    text = PAGE.read_text(encoding="utf-8").split("## Paths")[1].split("## ")[0]
    rows = re.findall(r"^\| ([A-Z]+) \| (.+?) \| .+? \| (.+?) \|$", text, re.MULTILINE)
    return {(method, path): where for method, paths, where in rows for path in re.findall(r"`([^`]+)`", paths)}


def test_the_page_lists_every_path_and_no_other() -> None:
    """Method and path of each row are served, and each that is served has a row."""
    served = {
        (method.upper(), path) for path, methods in Mockbank(region="ksa").openapi()["paths"].items()
        for method in methods
    }  # fmt: skip
    assert shown().keys() == served


def test_the_page_says_what_is_served_in_ksa_only() -> None:
    """What the UAE does not have is marked so, and nothing else is."""
    uae = {(method.upper(), path) for path, ops in Mockbank().openapi()["paths"].items() for method in ops}
    assert {key for key, where in shown().items() if where == "KSA"} == shown().keys() - uae
