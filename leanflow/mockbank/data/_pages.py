"""Items as JSON, encoded, kept as long as there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable

from leanflow.mockbank.basics._json import Written

__all__ = ["Pages"]


class Pages:
    """The pages asked for last, of all books. Their keys say all that they depend on, so they never become wrong.

    Args:
        room: bytes that are kept in all.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._taken = 0
        self._pages: OrderedDict[Hashable, Written] = OrderedDict()

    def get(self, key: Hashable, items: Callable[[], Iterable[str]]) -> Written:
        """Return the page of a key as a JSON array, made of the JSON text of its items if it is not there."""
        page = self._pages.get(key)
        if page is not None:
            self._pages.move_to_end(key)
            return page
        page = self._pages[key] = Written(f"[{','.join(items())}]".encode())
        self._taken += len(page.body)
        while self._taken > self._room:
            _, dropped = self._pages.popitem(last=False)
            self._taken -= len(dropped.body)
        return page
