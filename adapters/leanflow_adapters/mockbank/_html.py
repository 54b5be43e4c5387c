"""Pieces of pages as HTML. All that comes from outside is escaped in one place, `html`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

__all__ = [
    "Html", "answered", "button", "chip", "code", "facts", "form", "html", "joined", "moment", "status", "table",
]  # fmt: skip


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def html(value: object) -> Html:
    """Return anything as HTML; None is nothing, and what is not HTML already is escaped."""
    if isinstance(value, Html):
        return value
    return Html("" if value is None else escape(str(value)))


def joined(parts: Iterable[object], between: str = "") -> Html:
    """Return parts as HTML, one after the other."""
    return Html(between.join(map(html, parts)))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> Html:
    """Return a table that stays one, for those who listen, where a phone shows it as cards: hence the roles."""
    if not rows:
        return Html(f'<p class="empty">{html(empty)}</p>')
    head = joined(Html(f'<th role="columnheader" scope="col">{escape(name)}</th>') for name in columns)
    body = []
    for row in rows:
        cells = joined(
            Html(f'<td role="cell" data-label="{escape(name)}">{html(value)}</td>')
            for name, value in zip(columns, row, strict=True)
        )
        body.append(Html(f'<tr role="row">{cells}</tr>'))
    return Html(
        f'<table role="table"><thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{joined(body)}</tbody></table>'
    )


def button(text: str, command: str, label: str = "", **args: Any) -> Html:
    """Return a button that sends a command; `label` says more, to those who listen."""
    named = f' aria-label="{html(label)}"' if label else ""
    return Html(f'<button type="button"{named}{_sends(command, args)}>{html(text)}</button>')


def form(fields: str, submit: str, command: str, **args: Any) -> Html:
    """Return a form that sends a command; its named fields are arguments, and so is what a `data-args` field says."""
    return Html(f"<form{_sends(command, args)}>{fields}<button>{html(submit)}</button></form>")


def _sends(command: str, args: Mapping[str, Any]) -> str:
    return f' data-command="{html(command)}" data-args="{html(json.dumps(args))}"'


def facts(pairs: Mapping[str, object]) -> Html:
    """Return names and what they stand for."""
    told = joined(Html(f"<div><dt>{html(name)}</dt><dd>{html(value)}</dd></div>") for name, value in pairs.items())
    return Html(f"<dl>{told}</dl>")


def code(text: object) -> Html:
    """Return what a machine made."""
    return Html(f"<code>{html(text)}</code>")


def chip(text: str, *, good: bool) -> Html:
    """Return a word with a colour."""
    return Html(f'<span class="chip {"good" if good else "bad"}">{html(text)}</span>')


def status(word: str) -> Html:
    """Return the status of a result or refresh."""
    return chip(word, good=word in ("OK", "FINISHED"))


def answered(http: int | None) -> Html:
    """Return an HTTP status."""
    return chip("no answer" if http is None else str(http), good=http is not None and http < 400)


def moment(text: str | None, *, date: bool = False) -> object:
    """Return a time of day, UTC, or the whole of it."""
    if text is None:
        return None
    at = datetime.fromisoformat(text)
    shown = f"{at:%Y-%m-%d %H:%M:%S} UTC" if date else f"{at:%H:%M:%S}"
    return Html(f'<time datetime="{html(text)}" title="{html(text)}">{shown}</time>')
