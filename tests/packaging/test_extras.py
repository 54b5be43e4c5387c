"""An adapter whose driver is not installed says which extra to install."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("adapter", "driver", "extra"),
    [
        ("nats", "nats", "nats"),
        ("redis_streams", "redis", "redis"),
        ("rabbitmq", "aio_pika", "rabbitmq"),
        ("kafka", "aiokafka", "kafka"),
        ("faststream", "faststream", "faststream"),
    ],
)
def test_a_missing_driver_is_named_with_its_extra(adapter: str, driver: str, extra: str) -> None:
    """The error of the import is what somebody reads who has installed leanflow alone."""
    code = f"import sys; sys.modules[{driver!r}] = None; import leanflow_adapters.{adapter}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"leanflow-openbanking[{extra}]" in done.stderr.splitlines()[-1]
