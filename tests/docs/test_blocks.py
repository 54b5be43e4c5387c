"""Every code block of the documentation runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, ROOT, Runner, fences, page_id

LANGUAGES = {"python", "text", "sh", "mermaid", "toml", "html", "js", "json", "ini", "plain", "sql"}
"""What a block may be: `python`, `text` and `sh` are executed or checked, the others are shown."""

MUST_RUN = {"README.md", "docs/tutorial.md"} | {
    page_id(path) for path in (ROOT / "docs" / "how-to").glob("*.md")
}


@pytest.mark.parametrize("path", DOCUMENTS, ids=page_id)
def test_every_block_of_a_page_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's Python runs from top to bottom, prints what the page says, and its commands exist."""
    monkeypatch.chdir(tmp_path)
    runner = Runner()
    runner.run(path)
    assert runner.count == sum(language in {"python", "text", "sh"} for language, _ in fences(path))
    assert runner.count or page_id(path) not in MUST_RUN


@pytest.mark.parametrize("path", DOCUMENTS, ids=page_id)
def test_every_block_says_what_it_is(path: Path) -> None:
    """No block escapes by having no language, or one that nobody looks at."""
    assert {language for language, _ in fences(path)} <= LANGUAGES


def test_a_wrong_block_is_found(tmp_path: Path) -> None:
    """The harness can fail: a block that raises, a wrong output and an unknown command are each an error."""
    page = tmp_path / "page.md"
    for block in (
        "```python\nraise ValueError\n```\n",
        "```python\nimport asyncio\nawait asyncio.sleep(0)\nassert False\n```\n",
        "```python\nprint(1)\n```\n\n```text\n2\n```\n",
        "```python\n# test_it.py\ndef test_it() -> None:\n    assert False\n```\n",
        "```sh\nmake coffee\n```\n",
        "```sh\nleanflow brew\n```\n",
        "```sh\npip install leanflow\n```\n",
    ):
        page.write_text(block, encoding="utf-8")
        with pytest.raises((ValueError, AssertionError)):
            Runner().run(page)
