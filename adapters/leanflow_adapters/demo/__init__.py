"""The demo: Lean, its bank and its user in one process, a backend in another, real sockets, and a SIGKILL.

`play` runs it. Its modules: `backend` (what runs in the child process), `_child` (that process, seen from here),
`_stage` (the hands of the player: ask, type, forge, kill), `_scenes` (the story), `_verdict` (what must have come of
it) and `_screen` (how it is told).
"""

from __future__ import annotations

from leanflow_adapters.demo._play import SABOTAGES, play

__all__ = ["SABOTAGES", "play"]
