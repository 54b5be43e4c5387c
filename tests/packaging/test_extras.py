"""An adapter whose driver is not installed says which extra to install."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "driver", "extra"),
    [
        ("leanflow_adapters.nats", "nats", "nats"),
        ("leanflow_adapters.redis_streams", "redis", "redis"),
        ("leanflow_adapters.rabbitmq", "aio_pika", "rabbitmq"),
        ("leanflow_adapters.kafka", "aiokafka", "kafka"),
        ("leanflow_adapters.faststream", "faststream", "faststream"),
        ("leanflow_adapters.postgres", "asyncpg", "postgres"),
        ("leanflow_adapters.redis", "redis", "redis"),
        ("leanflow_adapters.crypto", "cryptography", "crypto"),
        ("leanflow.blocking", "anyio", "blocking"),
        ("leanflow.testing.stateful", "hypothesis", "testing"),
        ("leanflow.testing.strategies", "hypothesis", "testing"),
    ],
)
def test_a_missing_driver_is_named_with_its_extra(module: str, driver: str, extra: str) -> None:
    """The error of the import is what somebody reads who has installed leanflow alone."""
    code = f"import sys; sys.modules[{driver!r}] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"leanflow-openbanking[{extra}]" in done.stderr.splitlines()[-1]
