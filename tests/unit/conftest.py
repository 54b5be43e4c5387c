"""What holds for every unit test."""

from __future__ import annotations

from datetime import datetime

import pytest

from leanflow import Call
from leanflow.mockbank import Exchange, Mockbank
from tests.support.described import hold_to_description


@pytest.fixture(autouse=True)
def described(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold each answer of each Mockbank to its own description, whatever the test is about."""
    handle = Mockbank.handle

    def watched(bank: Mockbank, call: Call, now: datetime) -> Exchange:
        exchange = handle(bank, call, now)
        hold_to_description(bank, call, exchange.answer)
        return exchange

    monkeypatch.setattr(Mockbank, "handle", watched)
