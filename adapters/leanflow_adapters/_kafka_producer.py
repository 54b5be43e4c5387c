"""What the Kafka bus and the FastStream plug ask alike of a producer that they were handed."""

from __future__ import annotations

from typing import Any

from leanflow.errors import InvalidRequest

__all__ = ["check_producer"]


def check_producer(producer: Any) -> None:
    """Refuse a producer that may lose, double or reorder what it is given, or change it.

    There is no public way to ask it. Attributes that are not there any more count as the wrong setting.

    Raises:
        InvalidRequest: names the setting.
    """
    sender, transactions = getattr(producer, "_sender", None), getattr(producer, "_txn_manager", None)
    if getattr(sender, "_acks", None) != -1:
        raise InvalidRequest("producer", 'it does not wait for all replicas: make it with acks="all"')
    if transactions is None:
        raise InvalidRequest("producer", "it is not idempotent: make it with enable_idempotence=True")
    if transactions.transactional_id is not None:
        raise InvalidRequest("producer", "it is transactional: what leanflow sends belongs to none of its transactions")
    if any(getattr(producer, f"_{kind}_serializer", None) is not None for kind in ("key", "value")):
        raise InvalidRequest("producer", "it has serializers, and announcements are bytes: give one without")
