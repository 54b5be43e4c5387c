"""The pages hang together, and name only what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, ROOT, headings, page_id

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CORE = ROOT / "leanflow"
ADAPTERS = ROOT / "adapters" / "leanflow_adapters"


def links(path: Path) -> list[str]:
    """Return where a page points, outside its code blocks."""
    return LINK.findall(re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("path", DOCUMENTS, ids=page_id)
def test_every_link_leads_somewhere(path: Path) -> None:
    """Files exist, and so do the headings that are pointed at."""
    for link in links(path):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in headings(target), link


def test_every_page_is_listed() -> None:
    """docs/README.md leads to every page under docs."""
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert {path for path in DOCUMENTS if path.is_relative_to(index.parent)} - {index} <= listed


def test_decisions_are_numbered_and_whole() -> None:
    """Numbers run from 1 without a gap; each has context, decision, consequences, and what was not chosen."""
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(page.name[:4])}. ")
        for part in ("Status", "Context", "Decision", "Consequences", "Not chosen"):
            assert f"**{part}" in text, f"{page.name} lacks {part}"


@pytest.mark.parametrize("framework", ["django", "fastapi", "flask"])
def test_a_page_says_how_many_lines_it_adds(framework: str) -> None:
    """To an application that exists: those with the mark of a new line, and those with that of a changed one."""
    text = (ROOT / "docs" / "how-to" / f"embed-in-{framework}.md").read_text(encoding="utf-8")
    said = re.search(r"has changed: (\d+) and (\d+)", " ".join(text.split()))
    assert said is not None
    marked = [len(re.findall(rf"^[^`\n]*# {mark}(?: |$)", text, re.MULTILINE)) for mark in (r"\+", "~")]
    assert [int(number) for number in said.groups()] == marked
    assert marked[0] <= 25  # what an existing application is to be asked for at most


# --- ARCHITECTURE.md ---------------------------------------------------------------------------------------------


def architecture() -> str:
    """Return the page."""
    return (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_the_architecture_names_modules_that_exist() -> None:
    """Whatever looks like a module or a directory is one, in the core, in the adapters, or from the root."""
    for name in re.findall(r"`([\w./-]+(?:\.py|\.md|\.toml|/))`", architecture()):
        places = (ROOT / name, CORE / name, ADAPTERS / name)
        assert any(place.exists() for place in places), name


def test_the_architecture_names_every_module_of_the_core() -> None:
    """Each module and package of `leanflow/`, and each package of adapters, has its place on the page."""
    named = set(re.findall(r"`((?:leanflow|adapters)/[\w./-]+)`", architecture()))
    core = {f"leanflow/{path.name}" for path in CORE.glob("*.py")}
    core |= {f"leanflow/{path.parent.name}/" for path in CORE.glob("*/__init__.py")}
    adapters = {f"adapters/leanflow_adapters/{path.parent.name}/" for path in ADAPTERS.glob("*/__init__.py")}
    adapters |= {f"adapters/leanflow_adapters/{path.name}" for path in ADAPTERS.glob("*.py")}
    assert core | adapters - {"adapters/leanflow_adapters/__init__.py"} <= named


def test_the_architecture_names_every_part_of_mockbank() -> None:
    """Each module at the top of `leanflow/mockbank/` and each folder in it has its place, too."""
    mockbank, page = CORE / "mockbank", architecture()
    parts = {f"mockbank/{path.name}" for path in mockbank.glob("_[a-z]*.py")}
    parts |= {f"mockbank/{path.parent.name}/" for path in mockbank.glob("*/__init__.py")}
    assert {part for part in parts if f"`{part}`" not in page and f"`leanflow/{part}`" not in page} == set()


def test_the_architecture_fits_the_contract() -> None:
    """Modules stand on the page in the order of the import contract's floors, lowest last."""
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("layers = [")[1].split("]\n")[0]
    floors = [re.findall(r"\w+", line) for line in re.findall(r'^    "(.+)",$', contract, re.MULTILINE)]
    floor = {name: number for number, names in enumerate(floors) for name in names}
    table = architecture().split("## Floors")[1].split("`leanflow/__init__.py`")[0]
    order = [floor[name] for name in re.findall(r"`leanflow/(\w+)(?:\.py|/)`", table)]
    assert len(order) == len(floor)
    assert order == sorted(order)


# --- what must not be said ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=page_id)
def test_nobody_is_told_to_install_somebody_elses_package(path: Path) -> None:
    """PyPI's `leanflow` is another project: no page prints a command that would fetch it."""
    assert not re.search(r"(pip|uv) (install|add|pip install) (leanflow|adapters)\b", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=page_id)
def test_lines_are_whole(path: Path) -> None:
    """No page ends in the middle, holds tabs, or trails blanks."""
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    assert "\t" not in text
    assert not re.search(r"[ ]+$", text, re.MULTILINE)
