"""Hearing what other processes tell: how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from leanflow_adapters import _hearing


class Deaf(_hearing.Hearing):
    """Swallows what cancels it, so many times, as drivers do at times; then goes on, or loses its connection."""

    faults = (OSError,)

    def __init__(self, swallows: int, *, breaks: bool) -> None:
        self.listening = asyncio.Event()
        self.swallows = swallows
        self.breaks = breaks
        super().__init__("me", self._nothing)

    def _nothing(self, _ids: Sequence[str]) -> None:
        """Hear nothing."""

    async def _listen_once(self) -> None:
        self.listening.set()
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not self.swallows:
                    raise
                self.swallows -= 1
                if self.breaks:
                    raise OSError from None


@pytest.mark.parametrize("breaks", [False, True])
async def test_closing_ends_though_a_driver_swallows_what_cancels_it(
    monkeypatch: pytest.MonkeyPatch, *, breaks: bool
) -> None:
    """An engine that waited for ever for its hints to end would never be left."""
    monkeypatch.setattr(_hearing, "_AT_ONCE", 0.01)
    hearing = Deaf(2, breaks=breaks)
    await hearing.listening.wait()
    async with asyncio.timeout(5):
        await hearing.aclose()
    assert hearing._task.done()
