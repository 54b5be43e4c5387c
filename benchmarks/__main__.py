"""Run all benchmarks, or those named: ``python -m benchmarks [imports decide flow …]``.

On an otherwise idle machine: they measure CPU as much as disk.
"""

from __future__ import annotations

import sys
from importlib import import_module

ALL = (
    "imports",
    "decide",
    "flow",
    "webhooks",
    "bindings",
    "relay",
    "drain",
    "ingestion",
    "latency",
    "growth",
    "waiting",
    "upkeep",
    "postgres",
    "redis",
    "mockbank",
    "mockbank_memory",
    "mockbank_served",
    "testing",
    "telemetry",
)


def main() -> None:
    """Run them one after another: they share two cores with nobody but themselves."""
    wanted = sys.argv[1:] or ALL
    unknown = [name for name in wanted if name not in ALL]
    if unknown:
        raise SystemExit(f"no benchmark {', '.join(unknown)}; there are {', '.join(ALL)}")
    for name in wanted:
        import_module(f"benchmarks.{name}").main()
        print()


if __name__ == "__main__":
    main()
