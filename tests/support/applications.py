"""Applications that hold a transaction, in every way that blocks: what they have in common, for tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from tests.support.django import Application as DjangoApplication
from tests.support.postgres import URL

__all__ = ["KINDS", "Application", "Database", "application"]


class Database:
    """Where an application's tables and leanflow's are."""

    def __init__(self, path: Path | None = None, schema: str = "", database: str | None = None) -> None:
        self.path = path
        self.schema = schema
        self.url = URL if database is None else urlsplit(URL)._replace(path=f"/{database}").geturl()

    @property
    def sqlalchemy(self) -> str:
        """Its URL, for SQLAlchemy and what blocks."""
        return f"sqlite:///{self.path}" if self.path else self.url.replace("postgresql:", "postgresql+psycopg:", 1)

    @property
    def django(self) -> dict[str, Any]:
        """Its entry in Django's settings."""
        if self.path:
            return {"ENGINE": "django.db.backends.sqlite3", "NAME": self.path}
        place = urlsplit(self.url)
        return {
            "ENGINE": "django.db.backends.postgresql", "NAME": place.path[1:], "USER": place.username,
            "PASSWORD": place.password or "", "HOST": place.hostname, "PORT": place.port,
        }  # fmt: skip

    def table(self, name: str) -> str:
        """Return the full name of a table of the application's."""
        return f'"{self.schema}".{name}' if self.schema else name

    def leanflow(self, name: str) -> str:
        """Return the full name of a table of leanflow's."""
        return f'"{self.schema}".{name}' if self.schema else f"leanflow_{name}"


class Application:
    """One that has the driver's own connection."""

    def __init__(self, database: Database) -> None:
        self.connection: Any = sqlite3.connect(database.path) if database.path else psycopg.connect(database.url)

    def begin(self) -> None:
        """Do what the application does before it hands its connection over."""

    def do(self, sql: str) -> list[Any]:
        """Run SQL; return the rows, if there are any."""
        cursor = self.connection.execute(sql)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def commit(self) -> None:
        """Commit."""
        self.connection.commit()

    def rollback(self) -> None:
        """Roll back."""
        self.connection.rollback()

    def close(self) -> None:
        """Close."""
        self.connection.close()


class _Connection(Application):
    """SQLAlchemy's Connection."""

    def __init__(self, database: Database) -> None:
        self._engine = create_engine(database.sqlalchemy)
        self.connection = self._made()

    def _made(self) -> Any:
        return self._engine.connect()

    def do(self, sql: str) -> list[Any]:
        result = self.connection.execute(text(sql))
        return [tuple(row) for row in result.all()] if result.returns_rows else []

    def close(self) -> None:
        self.connection.close()
        self._engine.dispose()


class _Session(_Connection):
    """SQLAlchemy's Session."""

    def _made(self) -> Any:
        return Session(self._engine)


class _Django(Application):
    """Django, in an atomic block."""

    def __init__(self, database: Database) -> None:
        self._inner = DjangoApplication(f"joined-{id(self)}", **database.django)
        self.connection = self._inner.own

    def begin(self) -> None:
        self._inner.begin()

    def do(self, sql: str) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def commit(self) -> None:
        self._inner.commit()

    def rollback(self) -> None:
        self._inner.rollback()

    def close(self) -> None:
        with suppress(Exception):
            self._inner.rollback()
        self._inner.close()


KINDS: dict[str, Callable[[Database], Application]] = {
    "driver": Application,
    "connection": _Connection,
    "session": _Session,
    "django": _Django,
}


def application(kind: str, database: Database) -> Application:
    """Return an application of a kind."""
    return KINDS[kind](database)
