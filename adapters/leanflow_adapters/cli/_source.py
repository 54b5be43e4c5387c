"""Where a command looks: an engine named as MODULE:ATTR, or a store alone, named by its URL."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import attrs
import click

from leanflow import Answer, Call, DataRequest, LeanFlow
from leanflow._operations import Operations
from leanflow._request import Scope
from leanflow.errors import CallFailed
from leanflow.ports import Body, Created, Encrypting, HistoryEntry, Store, Transport
from leanflow_adapters import open_store
from leanflow_adapters.cli._scopes import Named, scope_in

__all__ = ["Source", "load_engine", "observer", "one_request", "source_of", "source_options"]

F = TypeVar("F", bound=Callable[..., Any])


@attrs.frozen(kw_only=True)
class Source:
    """What a command looks at.

    Attributes:
        store: where requests are kept.
        named: what the options say of the scope, if no engine was named.
        engine: the engine, if one was named.
    """

    store: Store
    named: Named = Named()
    engine: LeanFlow | None = None

    async def scope(self) -> Scope:
        """Return which of the store's requests are meant, before the store is opened: see `scope_in`."""
        return await scope_in(self.store, self.named) if self.engine is None else self.engine.scope

    def at(self, scope: Scope) -> Source:
        """Return the same, in a scope that was found."""
        named = Named(app=scope.app, environment=scope.environment, region=scope.region)
        return attrs.evolve(self, named=named)


class _NoTransport:
    """For a store without an engine: nothing is sent."""

    async def send(self, call: Call) -> Answer:
        """Refuse."""
        raise CallFailed(f"no engine was named to send {call.method} {call.path}", maybe_sent=False)

    async def token(self, customer_id: str) -> str | None:
        """Refuse."""
        raise CallFailed(f"no engine was named to get a token for customer {customer_id}", maybe_sent=False)

    async def aclose(self) -> None:
        """Do nothing."""


def source_options(command: F) -> F:
    """Add ``--store``, ``--app``, ``--environment`` and ``--region`` to a command."""
    for option in (
        click.option("--region", type=click.Choice(["uae", "ksa"]), help="With --store; needed if it holds both."),
        click.option(
            "--environment",
            type=click.Choice(["sandbox", "production"]),
            help="With --store; needed if it holds both.",
        ),
        click.option("--app", metavar="ID", help="With --store: Lean's application id; needed if it holds several."),
        click.option("--store", metavar="URL", help="A store alone, as sqlite:///flows.db, instead of MODULE:ATTR."),
    ):
        command = option(command)
    return command


def source_of(
    target: str | None,
    *,
    store: str | None = None,
    app: str | None = None,
    environment: str | None = None,
    region: str | None = None,
    create: bool = False,
) -> Source:
    """Return what was named.

    Args:
        target: MODULE:ATTR, or None.
        store: a URL, or None.
        app: Lean's application id, with `store`; None: the only one that the store holds.
        environment: the same.
        region: the same.
        create: whether a file that is not there may be made.

    Raises:
        ClickException: neither or both were named, or there is no such thing.
    """
    if (target is None) == (store is None):
        raise click.UsageError("Name an engine as MODULE:ATTR, or a store with --store URL.")
    if store is not None:
        source = Source(store=open_store(store), named=Named(app=app, environment=environment, region=region))
    else:
        engine = load_engine(target or "")
        source = Source(store=engine.store, engine=engine)
    path = getattr(source.store, "path", None)
    if not create and isinstance(path, str) and not Path(path).exists():
        raise click.ClickException(f"there is no store at {path}; an engine makes it, or `leanflow migrate`")
    return source


def one_request(arguments: tuple[str, ...]) -> tuple[str | None, str]:
    """Return the engine, if one was named, and the request of ``[MODULE:ATTR] REQUEST_ID``."""
    if len(arguments) > 2:
        raise click.UsageError("Name one engine, as MODULE:ATTR or with --store URL, and one request.")
    return arguments[0] if len(arguments) == 2 else None, arguments[-1]


class _Bystander(LeanFlow):
    """An engine that works on nothing: what it makes is placed by workers."""

    async def _create(
        self, made: DataRequest, renews: str | None = None, renewal: HistoryEntry | None = None
    ) -> Created:
        return await Operations._create(self, made, renews, renewal)  # noqa: SLF001 - its own, before it places

    async def _created(self, created: Created) -> DataRequest:
        return await Operations._created(self, created)  # noqa: SLF001 - the same


class _Unread:
    """A store of which nobody will read results or webhooks: it needs no keys, whatever it is encrypted with."""

    newest = ""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def is_current(self, _: Body) -> bool:
        """Say yes: nobody asks."""
        return True

    async def retire(self, _: Scope) -> None:
        """Do nothing."""


@asynccontextmanager
async def observer(source: Source, *, bodies: bool = False) -> AsyncIterator[LeanFlow]:
    """Open an engine without workers and handlers on a source: it looks, and works on nothing.

    Args:
        source: where.
        bodies: whether results or webhooks are read: then the keys are needed of a store that is encrypted.

    Raises:
        UsageError: the store holds several applications, and it was not said which is meant.
    """
    scope = await source.scope()
    store: Any = source.store
    if not bodies and not isinstance(store, Encrypting):
        store = _Unread(store)
    transport: Transport = _NoTransport() if source.engine is None else source.engine.transport
    engine = _Bystander(
        store=store,
        transport=transport,
        webhook_secrets=["takes in no webhook"],
        app=scope.app,
        environment=scope.environment,
        region=scope.region,
        policy=None if source.engine is None else source.engine.policy,
        workers=0,
    )
    async with engine:
        yield engine


# --- MODULE:ATTR -------------------------------------------------------------------------------------------------


def load_engine(target: str) -> LeanFlow:
    """Return the engine that MODULE:ATTR names, or that the function there returns; of a blocking one, what it is of.

    Raises:
        UsageError: it is not of that form.
        ClickException: it names nothing, or something else.
    """
    module_name, colon, attribute = target.partition(":")
    if not (module_name and colon and attribute):
        raise click.UsageError(f"{target!r} names no engine: write MODULE:ATTR, as in shop.backend:flows")
    here = os.getcwd()  # noqa: PTH109 - sys.path wants a string
    if here not in sys.path:
        sys.path.insert(0, here)
    _set_up_django()
    found = _imported(module_name)
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise click.ClickException(f"{module_name} has no {attribute!r}")
        found = getattr(found, name)
    if callable(found) and not isinstance(found, LeanFlow):
        found = _made(found, target)
    found = getattr(found, "engine", found)  # of leanflow.blocking's
    if isinstance(found, LeanFlow):
        return found
    if hasattr(found, "close"):
        found.close()  # a coroutine that nobody will await
    raise click.ClickException(f"{target} is a {type(found).__name__}, neither an engine nor a function returning one")


def _set_up_django() -> None:
    """Make Django ready where the environment says that this is a project of its: handlers may import its models."""
    if not os.environ.get("DJANGO_SETTINGS_MODULE") or find_spec("django") is None:
        return
    django = import_module("django")
    try:
        django.setup()
    except Exception as error:  # noqa: BLE001 - settings and applications are somebody else's modules
        _failed("setting up Django", error)


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise click.ClickException(f"there is no module {error.name!r} in this directory or installed") from error
        _failed(f"importing {name}", error)
    except Exception as error:  # noqa: BLE001 - it is somebody else's module: anything may happen
        _failed(f"importing {name}", error)


def _made(function: Callable[[], Any], target: str) -> Any:
    try:
        return function()
    except Exception as error:  # noqa: BLE001 - the same
        _failed(f"calling {target}", error)


def _failed(what: str, error: Exception) -> NoReturn:
    """Say what went wrong in somebody else's module, and where, in one line."""
    where = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith("<frozen"):
            where = f" ({code.co_filename}, line {trace.tb_lineno})"
        trace = trace.tb_next
    raise click.ClickException(f"{what} failed: {type(error).__name__}: {error}{where}") from error
