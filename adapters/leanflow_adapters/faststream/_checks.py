"""Which of FastStream's subscribers lose no message; everything else is refused, by what is wrong with it.

FastStream has no one place that tells: what is looked at is what each subscriber keeps of what it was made with. One
that does not have it (another version of FastStream, another kind of subscriber) is refused, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from faststream import AckPolicy

from leanflow.errors import InvalidRequest

__all__ = ["check_subscribers", "kind_of"]

_POLICIES = (AckPolicy.MANUAL, AckPolicy.NACK_ON_ERROR)
_MEND = "make the subscriber with"


def kind_of(thing: Any) -> str:
    """Return which of FastStream's brokers a thing of FastStream's is for, as ``nats``, ``rabbit`` or ``kafka``."""
    for cls in type(thing).__mro__:
        package, _, rest = cls.__module__.partition(".")
        if package == "faststream" and (kind := rest.partition(".")[0]) in _CHECKS:
            return kind
    return type(thing).__name__


def check_subscribers(subscribers: Sequence[Any]) -> None:
    """Refuse subscribers that lose messages.

    Raises:
        InvalidRequest: says which, why, and how to make it.
    """
    if not subscribers:
        raise InvalidRequest("webhooks", "needs a subscriber: broker.subscriber(…)")
    for subscriber in subscribers:
        check = _CHECKS.get(kind_of(subscriber))
        if check is None:
            known = ", ".join(sorted(_CHECKS))
            raise InvalidRequest("webhooks", f"{kind_of(subscriber)} is no subscriber of a broker known here ({known})")
        check(subscriber)
        if subscriber.ack_policy not in _POLICIES:
            _refuse(
                f"its ack policy {subscriber.ack_policy.name} drops a message that fails, or that a crash interrupts",
                "ack_policy=AckPolicy.MANUAL",
            )
        if "Batch" in type(subscriber).__name__:
            _refuse("it takes batches, and each webhook has an answer of its own", "batch=False")
    _check_abandoned(subscribers)


def _refuse(why: str, how: str) -> None:
    raise InvalidRequest("webhooks", f"{why}: {_MEND} {how}")


def _check_nats(subscriber: Any) -> None:
    if getattr(subscriber, "stream", None) is None:
        _refuse("core NATS drops what is sent while nobody listens", 'stream="…", durable="…" (JetStream)')
    if not subscriber.config.durable_name:
        _refuse("its consumer is forgotten when it goes, with what it had not had", 'durable="…"')
    if subscriber.config.max_deliver not in (None, -1):
        _refuse("JetStream drops a message after max_deliver", "no max_deliver: the plug counts, and sets aside")
    options = subscriber.extra_options
    policy = getattr(subscriber.config.ack_policy, "value", None)
    if options.get("manual_ack") is False or options.get("ordered_consumer") or policy != "explicit":
        _refuse("it acknowledges what nothing was done with yet", "ack_policy=AckPolicy.MANUAL, ordered_consumer=False")


def _check_rabbit(subscriber: Any) -> None:
    queue = subscriber.queue
    if not queue.declare:
        return  # somebody else's: what it is, nobody here knows
    if not queue.durable:
        _refuse(f"queue {queue.name!r} is gone when RabbitMQ restarts", "RabbitQueue(…, durable=True)")
    if queue.auto_delete or queue.exclusive:
        _refuse(f"queue {queue.name!r} is gone when its consumer goes", "no auto_delete and no exclusive")


def _check_redis(subscriber: Any) -> None:
    stream = getattr(subscriber, "stream_sub", None)
    if stream is None:
        _refuse(
            "Redis Pub/Sub drops what is sent while nobody listens, and a list what a crash interrupts",
            'stream=StreamSub("…", group="…", consumer="…")',
        )
        return
    if not stream.group or not stream.consumer:
        _refuse("without a group nobody remembers what was done", 'StreamSub("…", group="…", consumer="…")')
    if stream.no_ack:
        _refuse("with no_ack a message is forgotten before anything was done with it", "no_ack=False")


def _check_kafka(subscriber: Any) -> None:
    if not subscriber.group_id:
        _refuse("without a group nobody remembers what was done", 'group_id="…"')
    if "ConcurrentDefault" in type(subscriber).__name__:
        _refuse("its workers commit offsets past messages that others still work on", "max_workers=1")
    settings = getattr(subscriber, "_connection_args", None)  # Confluent's keeps them where nobody sees them
    if settings is None:
        settings = getattr(subscriber, "_LogicSubscriber__connection_data", {})
    if settings.get("auto_offset_reset") != "earliest":
        _refuse("a group without offsets begins behind all that was sent before it", 'auto_offset_reset="earliest"')


def _check_abandoned(subscribers: Sequence[Any]) -> None:
    """Refuse Redis groups of which nobody takes what a consumer that died had taken."""
    streams = [sub.stream_sub for sub in subscribers if kind_of(sub) == "redis"]
    rescued = {(stream.name, stream.group) for stream in streams if stream.min_idle_time or stream.claim_min_idle_time}
    for stream in streams:
        if (stream.name, stream.group) not in rescued:
            _refuse(
                f"what a consumer of stream {stream.name!r} had when it died would never be looked at again",
                f'a second one beside it, StreamSub("{stream.name}", group="{stream.group}", consumer="…", '
                "min_idle_time=60_000), and pass both",
            )


_CHECKS: Mapping[str, Callable[[Any], None]] = MappingProxyType(
    {
        "nats": _check_nats,
        "rabbit": _check_rabbit,
        "redis": _check_redis,
        "kafka": _check_kafka,
        "confluent": _check_kafka,
    }
)
