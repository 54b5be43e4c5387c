"""A scenario: what a Mockbank is set to, who is connected, what goes wrong, and what happens when, as one text.

Theory of operation. A scenario is read once, and everything in it is tried on a throwaway Mockbank, up to its last
timed thing: what is wrong in it is told when it is read, with the name of the file and the key. Played again on
another bank of the same settings, it does the same.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import attrs

from leanflow.errors import InvalidRequest

from ._bank import Mockbank
from ._control import COMMANDS, control
from ._settings import Settings
from .basics._checks import known
from .basics._spans import as_span

__all__ = ["TIMED", "Scenario", "Timed"]

TIMED = tuple(name for name, command in COMMANDS.items() if command.timed)
"""The control commands that a scenario can time: those that name nothing which is only known later."""

_KEYS = ("settings", "connect", "faults", "disturbances", "paces", "storm", "subscribe", "webhook_url", "timed")
_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)


@attrs.frozen(kw_only=True)
class Timed:
    """Something that happens at a time of a scenario.

    Attributes:
        after: the time since its start.
        do: a control command, one of `TIMED`.
        args: its arguments.
    """

    after: timedelta
    do: str
    args: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class Scenario:
    """What a Mockbank is set to and what happens to it. Made by `Scenario.parse`; begun by `Mockbank.from_scenario`.

    Attributes:
        name: of the file that it is from.
        table: what was read.
        settings: as in the file; arguments and options may be laid over them.
        connect: the users that are connected at the start: arguments of `Mockbank.connect`.
        commands: what is armed at the start, as control commands.
        timed: what happens later.
    """

    name: str
    table: Mapping[str, Any]
    settings: Mapping[str, Any]
    connect: Sequence[Mapping[str, Any]]
    commands: Sequence[tuple[str, str, Mapping[str, Any]]]
    timed: Sequence[Timed]

    @classmethod
    def parse(cls, text: str, name: str = "scenario") -> Scenario:
        """Return the scenario that a text of TOML (or of JSON, if it begins with a brace) tells.

        Args:
            text: the text.
            name: what errors call it: the name of the file.

        Raises:
            InvalidRequest: it is no TOML, or something in it is unknown or of the wrong kind. Names the key.
        """
        try:
            told = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        except ValueError as error:
            raise InvalidRequest(name, f"is neither TOML nor JSON: {error}") from error
        return cls.of(told, name)

    @classmethod
    def of(cls, told: Mapping[str, Any], name: str = "scenario") -> Scenario:
        """Return the scenario that a table tells; see `parse`."""
        where = _Where(name)
        where.at("", known, told, _KEYS, "part of a scenario")
        table, tables = where.table, where.tables
        commands = [
            *(("fault", f"faults[{i}]", one) for i, one in enumerate(tables(told, "faults"))),
            *(("disturb", f"disturbances[{i}]", one) for i, one in enumerate(tables(told, "disturbances"))),
            *(("pace", f"paces[{i}]", one) for i, one in enumerate(tables(told, "paces"))),
        ]
        if "storm" in told:
            commands.append(("storm", "storm", table("storm", told["storm"])))
        if "subscribe" in told:
            commands.append(("subscribe", "subscribe", {"types": told["subscribe"]}))
        if "webhook_url" in told:
            commands.append(("webhook_url", "webhook_url", {"url": told["webhook_url"]}))
        found = cls(
            name=name,
            table=told,
            settings=table("settings", told.get("settings", {})),
            connect=tables(told, "connect"),
            commands=commands,
            timed=[where.at(f"timed[{i}]", _timed, one) for i, one in enumerate(tables(told, "timed"))],
        )
        found._try()
        return found

    def begin(self, bank: Mockbank, now: datetime) -> dict[str, str]:
        """Connect the users, arm what is to be armed, and arrange for what is timed; return the entities by name.

        Raises:
            InvalidRequest: something cannot be done.
        """
        where, entities = _Where(self.name), {}
        for number, user in enumerate(self.connect):
            args = dict(user)
            name = args.pop("name", args.get("app_user_id"))
            if not isinstance(name, str) or name in entities:
                problem = "is there already: give one a name" if name in entities else "must be a text"
                raise InvalidRequest(f"{self.name}: connect[{number}].app_user_id", problem)
            done = where.at(f"connect[{number}]", control, bank, "connect", args, now)
            entities[name] = done["entity_id"]
        for command, part, told in self.commands:
            where.at(part, control, bank, command, where.at(part, _named, told, entities), now)
        for number, one in enumerate(self.timed):
            key = f"timed[{number}]"
            bank.at(now + one.after, _happening(where, key, bank, one.do, where.at(key, _named, one.args, entities)))
        return entities

    def _try(self) -> None:
        """Play everything on a throwaway bank."""
        where = _Where(self.name)
        bank: Mockbank = where.at("settings", lambda: Mockbank(now=_ANY_TIME, settings=Settings.of(self.settings)))
        self.begin(bank, _ANY_TIME)
        bank.pass_time(_ANY_TIME + max((one.after for one in self.timed), default=timedelta()))


def _happening(
    where: _Where, key: str, bank: Mockbank, command: str, args: Mapping[str, Any]
) -> Callable[[datetime], None]:
    def happen(when: datetime) -> None:
        where.at(key, control, bank, command, args, when)

    return happen


def _timed(told: Mapping[str, Any]) -> Timed:
    args = dict(told)
    for name in ("at", "do"):
        if name not in args:
            raise InvalidRequest(name, "must be given")
    after, do = as_span("at", args.pop("at")), args.pop("do")
    if do not in TIMED:
        raise InvalidRequest("do", f"is {do!r}; must be one of {', '.join(TIMED)}")
    return Timed(after=after, do=do, args=args)


def _named(args: Mapping[str, Any], entities: Mapping[str, str]) -> Mapping[str, Any]:
    """Return arguments in which an entity that is called by a name of the scenario has its id."""
    name = args.get("entity_id")
    if not isinstance(name, str) or _is_uuid(name):
        return args
    if name not in entities:
        raise InvalidRequest("entity_id", f"{name!r} is none of those connected: {', '.join(entities) or 'nobody'}")
    return {**args, "entity_id": entities[name]}


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


@attrs.frozen
class _Where:
    """Says in which file and under which key something is wrong."""

    name: str

    def at(self, key: str, do: Callable[..., Any], *args: Any) -> Any:
        """Return `do(*args)`.

        Raises:
            InvalidRequest: what it raised, with file and key before the parameter.
        """
        try:
            return do(*args)
        except InvalidRequest as error:
            path = ".".join(part for part in (key, error.parameter) if part)
            raise InvalidRequest(f"{self.name}: {path}", error.problem) from error

    def table(self, key: str, value: object) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise InvalidRequest(f"{self.name}: {key}", f"is {value!r}; must be a table")
        return value

    def tables(self, told: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
        value = told.get(key, [])
        if not isinstance(value, list):
            raise InvalidRequest(f"{self.name}: {key}", f"is {value!r}; must be a list of tables")
        return [self.table(f"{key}[{number}]", one) for number, one in enumerate(value)]
