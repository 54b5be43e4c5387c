"""Which of a store's applications is meant, where the options do not say it all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import attrs
import click

from leanflow._request import Scope
from leanflow.ports import Store
from leanflow_adapters._records import scope_number
from leanflow_adapters._tables import TABLES, Tables
from leanflow_adapters.cli._copy import has_tables, tables_of

__all__ = ["Named", "scope_in", "words_of"]

_SCOPES = TABLES[0]
_MOST = 50
"""Applications that are listed."""


@attrs.frozen(kw_only=True)
class Named:
    """What the options say of a scope; None: nothing.

    Attributes:
        app: Lean's application id.
        environment: sandbox or production.
        region: uae or ksa.
    """

    app: str | None = None
    environment: str | None = None
    region: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether they say it all."""
        return None not in (self.app, self.environment, self.region)

    def fits(self, scope: Scope) -> bool:
        """Return whether a scope is none other than what they say."""
        return (
            self.app in (None, scope.app)
            and self.environment in (None, scope.environment)
            and self.region in (None, scope.region)
        )

    def or_usual(self) -> Scope:
        """Return what they say, and where they do not what an engine is set up with."""
        return Scope(app=self.app or "default", environment=self.environment or "sandbox", region=self.region or "uae")


async def scope_in(store: Store, named: Named) -> Scope:
    """Return the scope that is named, or the only one of a store, which is not open, that fits what is named.

    Raises:
        UsageError: none fits, or several do; it lists them.
        StoreUnavailable: the store cannot be reached.
        MigrationNeeded: its tables are of another version.
    """
    usual = named.or_usual()
    if named.is_whole or not has_tables(store):
        return usual
    async with tables_of(store) as tables:
        scopes = [scope async for scope in _scopes(tables)]
        fitting = [scope for scope in scopes if named.fits(scope)]
        numbers = frozenset() if fitting else await tables.scopes()
    if scope_number(usual) in numbers:
        return usual  # it has no name in the store before its first request, but webhooks may wait there
    if not fitting and not numbers:
        click.echo(f"{store!r} is empty", err=True)
        return usual
    if len(fitting) != 1:
        raise click.UsageError(_choice(store, fitting, scopes))
    if named.app is None or fitting[0] != usual:
        click.echo(words_of(fitting[0]), err=True)
    return fitting[0]


async def _scopes(tables: Tables) -> AsyncIterator[Scope]:
    """Yield the scopes in which requests were made."""
    after = None
    while (slice_ := await tables.read(_SCOPES, after, _SCOPES.at_once))[1] != after:
        rows, after = slice_
        for _, app, environment, region in rows:
            yield Scope(app=app, environment=environment, region=region)


def words_of(scope: Scope) -> str:
    """Return a scope in words."""
    return f"app {scope.app!r}, {scope.environment}, {scope.region}"


def _choice(store: Store, fitting: Sequence[Scope], scopes: Sequence[Scope]) -> str:
    """Return what is said where nobody can tell which is meant."""
    if not scopes:
        return f"{store!r} is of applications that have made no request yet: name one with --app"
    listed = sorted(fitting or scopes, key=words_of)
    lines = [f"  --app {one.app} --environment {one.environment} --region {one.region}" for one in listed[:_MOST]]
    if len(listed) > _MOST:
        lines.append(f"  and {len(listed) - _MOST} more")
    head = "holds several: say which" if fitting else "does not hold what was named; it holds"
    return "\n".join([f"{store!r} {head}", *lines])
