"""A leanflow of the version to come: this one, with one migration more."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["become_next"]


def become_next(statements: Sequence[str], store: str) -> None:
    """Be a leanflow with one migration more."""
    if store == "postgres":
        _on_postgres(statements)
        return
    from leanflow_adapters.sqlite import _connection
    from leanflow_adapters.sqlite.migrations import MIGRATIONS

    migrations = (*MIGRATIONS, tuple(statements))
    vars(_connection)["MIGRATIONS"] = migrations
    _connection.migrate.__defaults__ = (migrations,)


def _on_postgres(statements: Sequence[str]) -> None:
    from leanflow_adapters.postgres import _migrate, store
    from leanflow_adapters.postgres._connection import named

    released, version = _migrate.statements, _migrate.VERSION + 1

    def all_statements(schema: str, found: int = 0) -> Sequence[str]:
        more = (*statements, _migrate._DONE.format(version)) if found < version else ()
        return [*released(schema, found), *(named(text, schema) for text in more)]

    vars(_migrate)["statements"] = all_statements
    vars(store)["VERSION"] = version
