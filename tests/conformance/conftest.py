"""Failures inside the shipped suites are explained like any other test's."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("leanflow.testing")
