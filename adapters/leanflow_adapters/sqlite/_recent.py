"""Records that were just committed, so that loading them again need not read them from text."""

from __future__ import annotations

from collections import OrderedDict

from leanflow._request import DataRequest

__all__ = ["Recent"]

_KEPT = 1024
"""Some three megabytes at most: what is in motion, not what waits."""


class Recent:
    """The newest records by id.

    Only what was committed durably is put in, and a version that was committed never changes: whoever finds the stored
    version here has the stored record.
    """

    def __init__(self) -> None:
        self._records: OrderedDict[str, DataRequest] = OrderedDict()

    def put(self, request: DataRequest) -> None:
        """Keep a committed record."""
        self._records[request.id] = request
        self._records.move_to_end(request.id)
        if len(self._records) > _KEPT:
            self._records.popitem(last=False)

    def get(self, request_id: str, version: int, call_no: int) -> DataRequest | None:
        """Return the record of exactly this version and call number, or None."""
        request = self._records.get(request_id)
        if request is None or request.version != version or request.call_no != call_no:
            return None
        return request
