"""How a piece of SQL work is written once and run twice: in the writer's thread, and on an application's connection.

A *plan* is a generator that yields (statement, parameters) and is sent what the statement brought: rows, or for a
`Write` without rows the number of rows changed. It never touches a connection, so whoever runs it decides how.
Every `Write` names the kill site that is passed after it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import attrs

from leanflow._request import Scope
from leanflow._sites import site
from leanflow.ports import Sink

__all__ = ["Plan", "Read", "Statement", "Tx", "Write", "run"]

T = TypeVar("T")


@attrs.frozen
class Read:
    """A statement that changes nothing and brings rows."""

    sql: str


@attrs.frozen
class Write:
    """A statement that changes rows; `site` is passed after it. `rows`: it has a RETURNING clause."""

    site: str
    sql: str
    rows: bool = False


Statement = Read | Write
Plan = Generator[tuple[Statement, Sequence[Any]], Any, T]


@attrs.define
class Tx:
    """What is known for the length of one transaction: the sinks of each scope, read once."""

    sinks: dict[Scope, tuple[Sink, ...]] = attrs.field(factory=dict)


Work = Callable[[Tx], "Plan[Any]"]


def run(cursor: sqlite3.Cursor, plan: Plan[T]) -> T:
    """Run a plan on a cursor and return what it returns. Raises what the driver raises."""
    execute, fetchall, send = cursor.execute, cursor.fetchall, plan.send
    brought: Any = None
    try:
        while True:
            statement, parameters = send(brought)
            execute(statement.sql, parameters)
            if isinstance(statement, Read):
                brought = fetchall()
                continue
            brought = fetchall() if statement.rows else cursor.rowcount
            site(statement.site)
    except StopIteration as done:
        result: T = done.value
        return result
