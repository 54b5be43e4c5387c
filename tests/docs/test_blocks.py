"""Every code block of the documentation runs."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from tests.docs.documents import DOCUMENTS, ROOT, Runner, fences, page_id

LANGUAGES = {"python", "text", "sh", "mermaid", "toml", "html", "js", "json", "plain", "py"}
"""What a block may be. `python`, `text` and `sh` are executed or checked; `py` are signatures, read off the code, or
excerpts, which begin with the name of the file that they are from."""

MUST_RUN = {"README.md", "docs/tutorial.md"} | {page_id(path) for path in (ROOT / "docs" / "how-to").glob("*.md")}


@pytest.mark.parametrize("path", DOCUMENTS, ids=page_id)
def test_every_block_of_a_page_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's Python runs from top to bottom, prints what the page says, and its commands exist."""
    monkeypatch.chdir(tmp_path)
    runner = Runner()
    runner.run(path)
    hidden = path.read_text(encoding="utf-8").count("invisible-code-block: python")
    assert runner.count == hidden + sum(language in {"python", "text", "sh"} for language, _ in fences(path))
    assert runner.count or page_id(path) not in MUST_RUN


@pytest.mark.parametrize("path", DOCUMENTS, ids=page_id)
def test_every_block_says_what_it_is(path: Path) -> None:
    """No block escapes by having no language, or one that nobody looks at."""
    assert {language for language, _ in fences(path)} <= LANGUAGES


EXCERPTS = [
    (page_id(path), *source.split("\n", 1))
    for path in DOCUMENTS
    for language, source in fences(path)
    if language == "py" and source.startswith("# examples/")
]


@pytest.mark.parametrize(("page", "name", "excerpt"), EXCERPTS)
def test_an_excerpt_is_what_the_file_has(page: str, name: str, excerpt: str) -> None:
    """What a page shows of a file stands there, word for word."""
    assert excerpt in (ROOT / name.removeprefix("# ")).read_text(encoding="utf-8"), page


WRONG = {
    "```python\nraise ValueError('so it is')\n```\n": "so it is",
    "```python\nimport asyncio\nawait asyncio.sleep(0)\nassert False, 'after waiting'\n```\n": "after waiting",
    "```python\nprint(1)\n```\n\n```text\n2\n```\n": "shows\n2\n",
    "```python\n# test_it.py\ndef test_it() -> None:\n    assert 1 == 2\n```\n": "assert 1 == 2",
    "```sh\nmake coffee\n```\n": "no target coffee",
    "```sh\nleanflow brew\n```\n": "no command brew",
    "```sh\nleanflow list --tea\n```\n": "No such option",
    "```sh\npip install leanflow\n```\n": "would ask PyPI",
    "```sh\nbrew coffee\n```\n": "can be checked",
}


@pytest.mark.parametrize("block", WRONG)
def test_a_wrong_block_is_found(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness can fail: code that raises, a wrong output, a failing test, an unknown command are errors."""
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(block, encoding="utf-8")
    with pytest.raises((ValueError, AssertionError, click.ClickException), match=re.escape(WRONG[block])):
        Runner().run(page)
