"""The AsyncAPI document in the documentation is the one that the code makes."""

from __future__ import annotations

from tests.docs.messages import DOCUMENT, document


def test_the_asyncapi_document_is_current() -> None:
    """After the messages have changed ``python -m tests.docs.generated`` writes it anew."""
    assert DOCUMENT.read_text(encoding="utf-8") == document()
