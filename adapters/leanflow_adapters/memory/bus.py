"""A bus that keeps what is published in a list: the same promises as others', but nothing outlives the process."""

from __future__ import annotations

from collections.abc import Sequence

from leanflow.errors import InvalidRequest, NotStarted
from leanflow.ports import OutboxRow

__all__ = ["MemoryBus"]


class MemoryBus:
    """Keeps what is published in a list. For tests and for trying things out.

    Args:
        name: the sink's.
        max_payload: bytes of a payload; a longer one is refused, as brokers do. None: any length.

    Attributes:
        name: as given.
        rows: what was published, in order.
        is_away: set it, and publishing fails until it is unset.
    """

    def __init__(self, name: str = "memory", *, max_payload: int | None = None) -> None:
        self.name = name
        self.rows: list[OutboxRow] = []
        self.is_away = False
        self._max_payload = max_payload
        self._is_open = False

    def __repr__(self) -> str:
        return f"MemoryBus({self.name!r}, rows={len(self.rows)})"

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self._is_open

    async def open(self) -> None:
        """Open.

        Raises:
            InvalidRequest: it is open already.
        """
        if self._is_open:
            raise InvalidRequest("bus", "it is open already; open it once, or ask `is_open`")
        self._is_open = True

    async def publish(self, batch: Sequence[OutboxRow]) -> Sequence[BaseException | None]:
        """Publish a batch; return for each row None, or what went wrong.

        Raises:
            NotStarted: it is not open.
        """
        if not self._is_open:
            raise NotStarted("bus")
        return [self._publish(row) for row in batch]

    async def aclose(self) -> None:
        """Close; what was published stays."""
        self._is_open = False

    def _publish(self, row: OutboxRow) -> BaseException | None:
        if self.is_away:
            return ConnectionError("the bus is away")
        if self._max_payload is not None and len(row.payload.encode("utf-8", "surrogatepass")) > self._max_payload:
            return ValueError(f"the payload has more than {self._max_payload} bytes")
        self.rows.append(row)
        return None
