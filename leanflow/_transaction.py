"""The same operations inside the application's own transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from leanflow._effects import Change
from leanflow._notify import Notifier
from leanflow._operations import Operations
from leanflow._settings import Settings
from leanflow._steps import Steps
from leanflow.ports import Store

__all__ = ["Transaction"]


class Transaction(Operations):
    """Operations inside the application's transaction. Nothing is announced or called before it commits."""

    def __init__(self, settings: Settings, store: Store, check: Callable[[], None]) -> None:
        steps = Steps(store, settings.scope, settings.policy, Notifier(), _nothing)
        super().__init__(settings, store, steps)
        self._check_engine = check

    def _check(self) -> None:
        self._check_engine()

    async def confirm(self, change: Change, sink: str) -> bool:
        """Mark a delivery in this transaction; False if it was marked before.

        With it a handler's effect in the same transaction happens exactly once, however often the handler is called.
        """
        self._check()
        return await self._store.confirm(self._scope, change.key, sink)


def _nothing(*, announced: bool, due_at: datetime | None) -> None:
    """Workers find what a transaction left by polling: it is not committed yet."""
    del announced, due_at
