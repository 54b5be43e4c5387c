"""What `import leanflow` costs beyond a bare interpreter."""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

ROUNDS = 15
BUDGET = 60


def run(code: str) -> float:
    """Return the seconds a fresh interpreter takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own words
    return time.perf_counter() - start


def main() -> None:
    """Print the figure."""
    bare, own = [], []
    for _ in range(ROUNDS):
        bare.append(run("pass"))
        own.append(run("import leanflow"))
    print(
        f"import leanflow: {(median(own) - median(bare)) * 1e3:.0f} ms beyond a bare interpreter (budget {BUDGET} ms)"
    )


if __name__ == "__main__":
    main()
