"""What is installed: names, types, the command, and nothing that is not ours."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

import leanflow
import leanflow_adapters

DISTRIBUTION = "leanflow-openbanking"

# The public face, as the documentation has it. A name may be added; one that goes breaks somebody's program.
FACE = {
    "Accepted", "Answer", "Call", "Change", "DataRequest", "Declined", "Event", "Failure", "Handlers", "LeanFlow",
    "Policy", "ReconnectPrompt", "Remedy", "Reply", "Resource", "Results", "State", "decide", "mermaid",
    "next_action", "parse_answer", "parse_webhook", "sign", "verify",
}  # fmt: skip


def _modules() -> list[str]:
    """Return the names of all modules that are installed."""
    names = []
    for package in (leanflow, leanflow_adapters):
        names.append(package.__name__)
        found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        names += [module.name for module in found if not module.name.endswith("__main__")]
    return names


def test_the_public_face_is_complete() -> None:
    """Every documented name is in `leanflow.__all__`."""
    assert set(leanflow.__all__) >= FACE


def test_the_public_face_holds_nothing_by_accident() -> None:
    """What `leanflow` shows without an underscore is in `__all__` or is one of its modules."""
    modules = {module.name for module in pkgutil.iter_modules(leanflow.__path__)}
    # pytest rewrites the assertions of whatever brings a plugin, and leaves names that are none behind.
    shown = {name for name in vars(leanflow) if name.isidentifier() and not name.startswith("_")}
    assert shown - modules - {"annotations"} <= set(leanflow.__all__)


@pytest.mark.parametrize("name", _modules())
def test_every_module_imports_and_shows_what_it_says(name: str) -> None:
    """Each module can be imported by itself, and each name in its `__all__` is there, once."""
    module = importlib.import_module(name)
    shown = getattr(module, "__all__", ())
    assert len(shown) == len(set(shown))
    assert not [each for each in shown if not hasattr(module, each)]


def test_the_version_is_that_of_the_distribution() -> None:
    """The distribution is installed under its own name, with a version."""
    assert metadata.version(DISTRIBUTION)[0].isdigit()


def test_the_distribution_cannot_be_uploaded() -> None:
    """The name on PyPI is somebody else's; this classifier makes PyPI refuse ours."""
    assert "Private :: Do Not Upload" in (metadata.metadata(DISTRIBUTION).get_all("Classifier") or [])


@pytest.mark.parametrize("package", ["leanflow", "leanflow_adapters"])
def test_types_are_shipped(package: str) -> None:
    """Both packages carry `py.typed`, so that type checkers read our annotations."""
    assert resources.files(package).joinpath("py.typed").is_file()


def test_the_command_is_there() -> None:
    """`leanflow` on the command line is a function of the package."""
    (script,) = metadata.entry_points(group="console_scripts", name="leanflow")
    assert script.value == "leanflow_adapters.cli:main"
    assert callable(script.load())


@pytest.mark.skipif("LEANFLOW_WHEEL_TEST" not in os.environ, reason="only for the wheel: make wheel-test")
def test_the_wheel_is_what_is_tested() -> None:
    """In the wheel's test both packages come from site-packages, and no source tree is on the path."""
    site = Path(sys.prefix).resolve()
    for package in (leanflow, leanflow_adapters):
        assert site in Path(package.__path__[0]).resolve().parents


@pytest.mark.skipif("LEANFLOW_WHEEL_TEST" not in os.environ, reason="only for the wheel: make wheel-test")
def test_the_wheel_holds_our_two_packages_and_nothing_else() -> None:
    """No `tests`, no top-level `adapters` (a name that is somebody else's on PyPI)."""
    files = metadata.files(DISTRIBUTION) or []
    tops = {file.parts[0] for file in files if file.parts[0] != ".."}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"leanflow", "leanflow_adapters"}
