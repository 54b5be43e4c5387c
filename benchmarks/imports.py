"""What importing leanflow costs beyond a bare interpreter, byte code written: package, pure core, engine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

ROUNDS = 15
BUDGET = 60
WORKS = {
    "bare": "pass",
    "import leanflow": "import leanflow",
    "from leanflow import decide, parse_answer, parse_webhook": (
        "from leanflow import decide, parse_answer, parse_webhook"
    ),
    "from leanflow import LeanFlow": "from leanflow import LeanFlow",
    "import attrs, transitions, asyncio": "import attrs, transitions, asyncio",
}


def run(code: str, bytecode: Path) -> float:
    """Return the seconds a fresh interpreter takes."""
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=env)  # noqa: S603 - our own words
    return time.perf_counter() - start


def main() -> None:
    """Print the figures."""
    seen: dict[str, list[float]] = {name: [] for name in WORKS}
    with TemporaryDirectory() as folder:
        for number in range(ROUNDS + 1):
            for name, code in WORKS.items():
                seconds = run(code, Path(folder))
                if number:  # the first round writes the byte code
                    seen[name].append(seconds)
    bare = median(seen.pop("bare"))
    print(f"imports (ms beyond a bare interpreter, median of {ROUNDS}; budget of import leanflow {BUDGET})")
    for name, times in seen.items():
        print(f"  {name:58} {(median(times) - bare) * 1e3:4.0f}")


if __name__ == "__main__":
    main()
