"""The tables of Mockbank's reference, read off its code."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import attrs

from leanflow.mockbank import COMMANDS, EFFECTS, GUSTS, Disturbance, Fault, Progress, Settings

__all__ = ["MOCKBANK"]


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [" | ".join(row) for row in (header, *rows)]
    lines.insert(1, "|".join("---" for _ in header))
    return "\n".join(f"| {line} |" if number != 1 else f"|{line}|" for number, line in enumerate(lines))


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|").replace("\n", " ")


def _attributes(cls: type) -> Mapping[str, str]:
    """Return what a class's docstring says of its attributes."""
    _, _, tail = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    return {
        name: " ".join(text.split())
        for name, text in re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", tail, re.MULTILINE)
    }


def _default(value: Any) -> str:
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        days, rest = divmod(seconds, 86_400)
        return f'`"{days:.0f}d"`' if days and not rest else f"`{seconds:g}`"
    if isinstance(value, Progress):
        return f"`{value}`"
    if isinstance(value, tuple):
        return f"{len(value)} users" if value else "none"
    return "" if value is None or value == "" else f"`{json.dumps(value)}`"


def _settings() -> str:
    told = _attributes(Settings)
    rows = [(f"`{one.name}`", _default(one.default), _cell(told[one.name])) for one in attrs.fields(Settings)]
    return _table(("setting", "default", "what it is"), rows)


def _effects() -> str:
    rows = []
    for name, effect in EFFECTS.items():
        says = (inspect.getdoc(getattr(Fault, name)) or "").split("\n\n")[0]
        details = ", ".join(
            f"`{detail}` ({_default(default) or 'none'})" for detail, (default, _) in effect.details.items()
        )
        on = f"`{effect.on}`" if effect.on else "any"
        others = sorted(effect.among - {effect.on or ""}) if effect.on else []
        also = (
            "; also any" if len(others) > 3 else f"; also {', '.join(f'`{one}`' for one in others)}" if others else ""
        )
        rows.append((f"`{name}`", details, on + also, _cell(says)))
    return _table(("effect", "parameters (default)", "strikes", "what happens"), rows)


def _disturbances() -> str:
    told = _attributes(Disturbance)
    rows = [(f"`{one.name}`", _cell(told[one.name])) for one in attrs.fields(Disturbance)]
    return _table(("name", "what it is"), rows)


def _gusts() -> str:
    rows = []
    for name, gust in GUSTS.items():
        on = ", ".join(f"`{one}`" for one in sorted(gust.on)) or ("any webhook" if gust.of_webhooks else "any call")
        rows.append((f"`{name}`", f"{gust.percent:g} %", on))
    return _table(("gust", "probability", "of"), rows)


def _commands() -> str:
    rows = []
    for name, command in COMMANDS.items():
        takes = [f"`{one}`" for one in command.needs] + [f"[`{one}`]" for one in command.takes]
        if command.told_by is not None:
            takes = [f"as `{command.told_by.__name__}`"]
        rows.append((f"`{name}`", ", ".join(takes), _cell(command.says), "yes" if command.timed else ""))
    return _table(("command", "arguments", "what it does", "can be timed"), rows)


MOCKBANK = {
    "mockbank:settings": _settings,
    "mockbank:effects": _effects,
    "mockbank:disturbances": _disturbances,
    "mockbank:gusts": _gusts,
    "mockbank:commands": _commands,
}
