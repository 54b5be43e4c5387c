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

Abilities are declared, never guessed: `durable`, `has_clock`, `joins` (and then a fixture `connect`). The tests are
plain ``async def``: any plugin that runs those will do. Call ``pytest.register_assert_rewrite("leanflow.testing")`` in
your ``conftest.py`` before importing this, or failures are bare.
"""

from __future__ import annotations

from leanflow.testing.conformance._finding import Claiming, Finding
from leanflow.testing.conformance._keeping import Joining, Keeping, Opening
from leanflow.testing.conformance._steps import Creating, Stepping
from leanflow.testing.conformance._telling import Parked, Telling

__all__ = ["StoreConformance"]


class StoreConformance(Opening, Creating, Stepping, Finding, Claiming, Parked, Telling, Keeping, Joining):
    """Every promise of `leanflow.ports.Store`.

    Attributes:
        durable: what was committed outlives the process.
        has_clock: `now` is the store's own time, and claims go by it.
        joins: `using` joins an application's transaction; the fixture `connect` gives its connections.
    """
