"""`@pytest.mark.leanflow_paths`: a test for each path through the machine.

    @pytest.mark.leanflow_paths(to=State.fetched)
    async def test_the_user_gets_their_accounts(flows, leanflow_path):
        request = await leanflow_path.play(flows, ask=ask_for_accounts)
        assert accounts_of(request.reference)

The mark takes the arguments of `leanflow.testing.paths`. Without it, a test that has `leanflow_path` gets those paths
that together take every transition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from leanflow.testing import Path

__all__ = ["leanflow_path", "pytest_configure", "pytest_generate_tests"]

_MARK = "leanflow_paths"
_NAME = "leanflow_path"


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers",
        f"{_MARK}(to=None, covering='transitions', resource=None, api='v2', deadlines=True, policy=...): "
        f"run the test once for each path of leanflow.testing.paths, handed to it as {_NAME}.",
    )


@pytest.fixture
def leanflow_path() -> Path:
    """A path through the machine: the test runs once for each. ``await leanflow_path.play(flows)`` plays it."""
    msg = "the paths are handed out when tests are collected"
    raise AssertionError(msg)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test its paths."""
    marks = list(metafunc.definition.iter_markers(_MARK))
    if _NAME not in metafunc.fixturenames:
        if marks:
            msg = f"{metafunc.definition.nodeid}: a test with the mark {_MARK} takes {_NAME}"
            raise pytest.UsageError(msg)
        return
    from leanflow.errors import InvalidRequest
    from leanflow.testing import paths

    args, named = (marks[0].args, marks[0].kwargs) if marks else ((), {})
    try:
        found = paths(*args, **named)
    except (InvalidRequest, TypeError) as error:
        msg = f"{metafunc.definition.nodeid}: {_MARK}: {error}"
        raise pytest.UsageError(msg) from error
    metafunc.parametrize(_NAME, found, ids=[path.name for path in found])
