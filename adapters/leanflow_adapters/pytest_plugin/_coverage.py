"""`--leanflow-coverage`: after the suite, which transitions of the machine it took, and which it never did.

Counted from the steps that engines committed, in this process and in those of pytest-xdist. Without the option nothing
of this is imported and nothing is watched.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from . import _watch

if TYPE_CHECKING:
    from leanflow.testing._coverage import TransitionCoverage

__all__ = ["pytest_addoption", "pytest_configure"]

_COUNTS = "leanflow_coverage"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two options."""
    group = parser.getgroup("leanflow")
    group.addoption(
        "--leanflow-coverage",
        action="store_true",
        help="Say which transitions of leanflow's machine the suite took, and which it never did.",
    )
    group.addoption(
        "--leanflow-coverage-report",
        metavar="FILE",
        help="The same as a Markdown page: every transition counted, and the diagram with the missed ones marked.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Watch, if that was asked for."""
    if config.getoption("--leanflow-coverage") or config.getoption("--leanflow-coverage-report"):
        config.pluginmanager.register(_Counting(config), "leanflow-coverage")


class _Counting:
    """Counts, and tells in the end; in a process of xdist, hands the counts on."""

    def __init__(self, config: pytest.Config) -> None:
        from leanflow.testing._coverage import TransitionCoverage

        self._config = config
        self.coverage: TransitionCoverage = TransitionCoverage()
        _watch.begin(self.coverage.see)

    def pytest_sessionfinish(self) -> None:
        """Watch no more; hand the counts to the process that tells."""
        _watch.end(self.coverage.see)
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput[_COUNTS] = self.coverage.dump()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the counts of a process of xdist."""
        self.coverage.add([tuple(each) for each in getattr(node, "workeroutput", {}).get(_COUNTS, [])])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell."""
        file = self._config.getoption("--leanflow-coverage-report")
        if self._config.getoption("--leanflow-coverage"):
            terminalreporter.section("leanflow coverage")
            terminalreporter.write_line(self.coverage.report())
        if file:
            Path(file).write_text(self.coverage.markdown(), encoding="utf-8")
            terminalreporter.write_line(f"leanflow coverage: {self.coverage.summary()}; written to {file}")
