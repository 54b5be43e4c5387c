"""The pytest plugin `leanflow`: fixtures for whoever tests what is built on leanflow.

This module and those that it names are imported in every pytest run on a machine that has leanflow, used or not.
They import nothing of leanflow when they are imported: each hook and each fixture imports what it needs when it runs.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from . import _running

pytest.register_assert_rewrite("leanflow.testing")

pytest_plugins = (
    "leanflow_adapters.pytest_plugin._fixtures",
    "leanflow_adapters.pytest_plugin._paths",
    "leanflow_adapters.pytest_plugin._report",
    "leanflow_adapters.pytest_plugin._coverage",
)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Close what the fixtures of a test handed out, and let nothing fail unseen."""
    with _running.run(item):
        return (yield)
