"""The how-to "from one process to many", run as it is printed, on a real Postgres."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from tests.docs.documents import ROOT
from tests.docs.sessions import blocks, compare, play
from tests.end_to_end.test_mockbank_curl import free_ports
from tests.support.postgres import URL, drop, fresh_schema

PAGE = ROOT / "docs" / "how-to" / "from-one-process-to-many.md"
SHOWN = "postgresql://postgres@127.0.0.1:5432/test?schema=shop"


def test_the_move_prints_what_its_page_shows(tmp_path: Path) -> None:
    """A web process on SQLite, its data moved to Postgres, and two workers: all as printed, to the last block."""
    schema = asyncio.run(fresh_schema())
    host = urlsplit(URL).hostname or ""
    session = blocks(PAGE)
    places: dict[str, int | str] = {**free_ports(), SHOWN: f"{URL}?schema={schema}"}
    try:
        printed = play([block.source for block in session], tmp_path, places, seconds=200.0)
    finally:
        asyncio.run(drop(schema))
    for block, came in zip(session, printed, strict=True):
        compare(block, came.replace(schema, "shop").replace(host, "127.0.0.1"))
