"""What all buses have alike. Out: `BrokerBus` and its `Message`. In: `Subscription`, `settle` and what they need."""

from __future__ import annotations

from leanflow_adapters._bus._delivery import BACKOFF, DELIVERIES, Delivery, Patience, Receive, SetAside, Verdict, settle
from leanflow_adapters._bus._publishing import ANSWERING, BrokerBus, Envelope, Message, Options, Topic, topic_of
from leanflow_adapters._bus._subscription import Source, Subscription

__all__ = [
    "ANSWERING",
    "BACKOFF",
    "DELIVERIES",
    "BrokerBus",
    "Delivery",
    "Envelope",
    "Message",
    "Options",
    "Patience",
    "Receive",
    "SetAside",
    "Source",
    "Subscription",
    "Topic",
    "Verdict",
    "settle",
    "topic_of",
]
