"""Sphinx: `make docs` builds these pages as HTML. They are written to be read as they are, in the repository."""
# ruff: noqa: INP001 - Sphinx reads this file, nobody imports it

from __future__ import annotations

from importlib.metadata import version as version_of

project = "leanflow"
author = "The leanflow developers"
version = release = version_of("leanflow-openbanking")

extensions = ["myst_parser", "sphinxcontrib.mermaid"]
exclude_patterns = ["_build", "README.md"]  # README.md is the front page: index.rst includes it
html_theme = "furo"
html_title = f"leanflow {release}"

myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]
suppress_warnings = [
    "myst.xref_missing",  # links that lead out of docs/ lead somewhere in the repository: a test follows them
    "misc.highlighting_failure",  # blocks of plain text
]
