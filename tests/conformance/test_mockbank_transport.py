"""Mockbank within the process keeps a transport's promises."""

from __future__ import annotations

import pytest

from leanflow.testing import FakeClock
from leanflow.testing.conformance import FarEnd, TransportConformance
from leanflow_adapters.mockbank import MockbankTransport


class TestMockbankTransport(TransportConformance):
    """With tokens; nothing is between it and the bank that could be away."""

    networked = False

    @pytest.fixture
    def build(self, bank: FarEnd, clock: FakeClock) -> object:
        """Give transports to the bank."""

        def build(*, timeout: float = 60.0) -> MockbankTransport:
            auth = "bearer" if self.bearer else "app_token"
            return MockbankTransport(bank, clock, auth=auth, timeout=timeout)

        return build


class TestMockbankTransportWithAppToken(TestMockbankTransport):
    """The older way."""

    bearer = False
