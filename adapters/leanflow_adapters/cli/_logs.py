"""What `leanflow serve` and `leanflow worker` log, as lines."""

from __future__ import annotations

import json
import logging
import re
from datetime import datetime

from leanflow_adapters.cli._when import told

__all__ = ["Lines", "log_to_stderr"]

_FACTS = ("request_id", "reference", "state", "event", "declined", "sink", "key", "error", "tries", "due_at")
"""What leanflow's records carry beside their text: see docs/how-to/operate.md, Logging."""

_PLAIN = re.compile(r"[^\s\"=]+")


class Lines(logging.Formatter):
    """Puts the facts that a record carries behind its text, as ``name=value``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """Return the line, ahead of a traceback."""
        facts = [(name, getattr(record, name, None)) for name in _FACTS]
        return " ".join(
            [super().formatMessage(record), *(f"{name}={_text(value)}" for name, value in facts if value is not None)]
        )


def log_to_stderr(level: str) -> None:
    """Have everything of this level and above logged. An application's own set-up of logging takes its place."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    logging.basicConfig(level=level.upper(), handlers=[handler])


def _text(value: object) -> str:
    """Return a value so that it is one word, or quoted: a reference may hold anything."""
    text = told(value) if isinstance(value, datetime) else str(value)
    return text if _PLAIN.fullmatch(text) and text.isprintable() else json.dumps(text)
