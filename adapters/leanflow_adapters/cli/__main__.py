"""``python -m leanflow_adapters.cli``: the command where no scripts are installed."""

from __future__ import annotations

from leanflow_adapters.cli import main

if __name__ == "__main__":
    main()
