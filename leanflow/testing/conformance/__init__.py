"""The suites that hold adapters to their ports, sentence by sentence.

A store's test is a class header and two fixtures::

    class TestMyStore(StoreConformance):
        durable = True

        @pytest.fixture
        async def store(self):              # opened, empty; closed afterwards
            ...

        @pytest.fixture
        async def reopen(self, store):      # an async callable: one more opened handle on the same data
            ...

A transport's gives `build`, a bus's `bus` and `messages`, a webhook binding's `url`; some abilities ask for one fixture
more. Abilities are declared, never guessed: each suite lists its own. The tests are plain ``async def``: pytest-asyncio
and anyio's plugin run them. leanflow's own plugin has their failures show values.
"""

from __future__ import annotations

from leanflow.testing.conformance._far_end import FarEnd
from leanflow.testing.conformance._finding import Claiming, Finding
from leanflow.testing.conformance._inbox import Inbox
from leanflow.testing.conformance._joining import BlockingJoining, Joining
from leanflow.testing.conformance._keeping import Keeping, Opening
from leanflow.testing.conformance._publishing import Connecting, Misfortune, Published, Publishing
from leanflow.testing.conformance._receiving import Answering, Guarding, Handing
from leanflow.testing.conformance._sending import Closing, Failing, Sending
from leanflow.testing.conformance._steps import Creating, Stepping
from leanflow.testing.conformance._telling import Parked, Telling
from leanflow.testing.conformance._tokens import Authenticating, KeepingTokens

__all__ = [
    "BlockingJoining",
    "BusConformance",
    "FarEnd",
    "Inbox",
    "Joining",
    "Published",
    "StoreConformance",
    "TransportConformance",
    "WebhookConformance",
]


class StoreConformance(Opening, Creating, Stepping, Finding, Claiming, Parked, Telling, Keeping, Joining):
    """Every promise of `leanflow.ports.Store`.

    Attributes:
        durable: what was committed outlives the process.
        has_clock: `now` is the store's own time, and claims go by it.
        joins: `using` joins an application's transaction; the fixture `connect` gives its connections.
    """


class TransportConformance(Sending, Failing, Authenticating, KeepingTokens, Closing):
    """Every promise of `leanflow.ports.Transport`.

    Attributes:
        bearer: it authenticates with OAuth2 tokens; False: with ``lean-app-token``.
        networked: it can find nobody at the other end; the fixture `nowhere` gives such a one.
        shares: it can work with a client of the application's; the fixture `handed` gives such a one.
    """


class BusConformance(Connecting, Publishing, Misfortune):
    """Every promise of `leanflow.ports.Bus`.

    Attributes:
        refuses: the broker can refuse a single row; the fixture `unwanted` makes such a one.
        loses_broker: the broker can be away; the fixture `away` sees to it.
        hangs: the broker can accept and never answer; the fixture `silent` sees to it.
    """


class WebhookConformance(Handing, Answering, Guarding):
    """Every promise of a binding: what serves `LeanFlow.receive` over HTTP at a URL.

    Attributes:
        max_body: bytes; the cap that the fixture `url` is to set.
        body_timeout: seconds for a body to come; what the fixture `url` is to set.
        chunked: its server takes bodies without an announced length.
        gives_up: it, or its server, gives up a body that does not come.
    """
