"""What plays the script on one side: it sends, remembers what came back, and fills ids into the paths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any

import attrs

from leanflow._call import Answer, Call

from ._sides import Side

__all__ = ["UNDER_WAY", "Plan", "Played", "Script", "parsed", "word_of"]

UNDER_WAY = ("PENDING", "PROCESSING_STARTED")
_EMPTY: Mapping[str, str] = MappingProxyType({})
_NOBODY = "00000000-0000-4000-8000-000000000000"  # a well-formed id that nothing has
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds between looks at results: a minute in all


@attrs.frozen(kw_only=True)
class Plan:
    """What is to be asked.

    Attributes:
        apis: ``v1``, ``v2`` or both.
        app_user_id: of the customer that is created; nobody's so far.
        today: the last day of ranges of dates.
        entity_id: whose data is asked for; empty: of one that is found.
    """

    apis: tuple[str, ...]
    app_user_id: str
    today: date
    entity_id: str = ""


@attrs.define(kw_only=True)
class Played:
    """What came of the script on one side.

    Attributes:
        asked: step to method and path, with names instead of ids.
        answers: step to answer.
        skipped: what was not asked, with the reason.
        bank_type: of the entity whose data is asked for, if that is known.
        user_wanted: whether the entity wanted its user.
        user_came: whether there was somebody to reconnect.
    """

    asked: dict[str, str] = attrs.field(factory=dict)
    answers: dict[str, Answer] = attrs.field(factory=dict)
    skipped: list[str] = attrs.field(factory=list)
    bank_type: str = ""
    user_wanted: bool = False
    user_came: bool = False


class Script:
    """One side, while the script is played on it.

    Attributes:
        ids: what stands for ``{name}`` in paths, queries and bodies.
        bearer: the header of an api token; empty until there is one.
    """

    def __init__(self, side: Side, plan: Plan) -> None:
        self.side = side
        self.plan = plan
        self.played = Played()
        self.bearer: Mapping[str, str] = {}
        self.app_token = {"lean-app-token": side.credentials.app}
        self.ids = {"nobody": _NOBODY, "app_user_id": plan.app_user_id}
        if plan.entity_id:
            self.ids["entity"] = plan.entity_id

    async def ask(
        self,
        step: str,
        line: str,
        query: Mapping[str, str] = _EMPTY,
        *,
        api: str = "v2",
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one call and remember what came back; return its JSON value, or None.

        Args:
            step: its name.
            line: ``METHOD /path``, with ``{name}`` for ids.
            query: with ``{name}`` for ids.
            api: ``v1`` is asked with ``lean-app-token``, ``v2`` with a token if there is one.
            headers: other credentials than those.
            body: to be sent as JSON, with ``{name}`` for ids.
        """
        method, _, path = line.partition(" ")
        sent = dict((self.bearer if api == "v2" and self.bearer else self.app_token) if headers is None else headers)
        raw = None
        if body is not None:
            raw = json.dumps({name: self._filled(value) for name, value in body.items()}).encode()
            sent["content-type"] = "application/json"
        filled = {name: self._filled(value) for name, value in query.items()}
        call = Call(method=method, path=self._filled(path), query=filled, headers=sent, body=raw)
        return await self.send(step, line, call)

    async def send(self, step: str, line: str, call: Call) -> Any:
        """Send a call as it is, and remember what came back; return its JSON value, or None."""
        answer = await self.side.send(call)
        self.played.asked[step], self.played.answers[step] = line, answer
        return parsed(answer)

    def rename(self, step: str, name: str) -> None:
        """Remember a step under another name."""
        self.played.asked[name] = self.played.asked.pop(step)
        self.played.answers[name] = self.played.answers.pop(step)

    def _filled(self, text: str) -> str:
        for name, value in self.ids.items():
            text = text.replace("{" + name + "}", value)
        return text

    async def results(self, step: str, line: str, results_id: str, *, api: str) -> str:
        """Fetch results until they are no longer under way, for a minute at most; return Lean's word."""
        self.ids["results"] = results_id
        word = ""
        for wait in (0.0, *_WAITS):
            if wait:
                await self.side.wait(wait)
            word = word_of(await self.ask(step, line, api=api))
            if self.played.answers[step].status != 404 and word not in UNDER_WAY:
                break
        return word


def parsed(answer: Answer) -> Any:
    """Return the JSON value of an answer, or None if it is none."""
    try:
        return json.loads(answer.body)
    except ValueError:
        return None


def word_of(body: Any) -> str:
    """Return Lean's status word, or an empty text."""
    status = body.get("status") if isinstance(body, dict) else None
    return status if isinstance(status, str) else ""
