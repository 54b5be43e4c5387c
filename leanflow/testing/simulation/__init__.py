"""Seeded runs of many processes, a store, Lean, a bus and users, with everything that goes wrong, on one fake clock."""

from __future__ import annotations

from leanflow.testing.simulation._acts import WEIGHTS
from leanflow.testing.simulation._run import Run, SimulationFailed, simulate
from leanflow.testing.simulation._shorten import shortest
from leanflow.testing.simulation._world import Moment, StoreMaker, TransportMaker

__all__ = ["WEIGHTS", "Moment", "Run", "SimulationFailed", "StoreMaker", "TransportMaker", "shortest", "simulate"]
