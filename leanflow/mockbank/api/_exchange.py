"""What becomes of one call, and what faults make of its answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import attrs

from leanflow._call import Answer
from leanflow.mockbank.adversary._faults import Fault
from leanflow.mockbank.basics._json import loads, to_bytes

from ._answers import Refused, Writer

__all__ = ["Exchange", "instead", "spoilt"]

_TIME = re.compile(rb"(T\d\d:\d\d:\d\d\.)(\d{1,8})(?=Z\")")
_DIGITS = b"123456789"  # digits that a client must not stumble over: zeros would hide what it makes of them


@attrs.frozen(kw_only=True)
class Exchange:
    """What becomes of one call.

    Attributes:
        answer: what goes back; None: the connection is cut without a word.
        delay: seconds that pass before that.
        cut_after: bytes of the body after which the connection is cut; None: it is not.
    """

    answer: Answer | None
    delay: float = 0.0
    cut_after: int | None = None


def instead(write: Writer, fault: Fault, delay: float) -> Exchange:
    """Return what comes instead of an answer of Lean's: a fault that strikes before the call is looked at."""
    has = fault.details
    if fault.effect == "refuse":
        return Exchange(answer=None, delay=delay)
    if fault.effect == "html":
        return Exchange(answer=write.html(has["status"]), delay=delay)
    code = has["code"] or ("RATE_LIMIT_EXCEEDED" if has["status"] == 429 else "INTERNAL_SERVER_ERROR")
    headers = {} if has["retry_after"] is None else {"retry-after": str(has["retry_after"])}
    refused = write.refused(Refused(status=has["status"], code=code, headers=headers))
    return Exchange(answer=refused, delay=delay)


def spoilt(said: Answer, delay: float, fault: Fault | None) -> Exchange:
    """Return what a fault on the way out makes of an answer."""
    if fault is None:
        return Exchange(answer=said, delay=delay)
    has = fault.details
    if fault.effect == "cut":
        if not has["after"]:
            return Exchange(answer=None, delay=delay)
        return Exchange(answer=said, delay=delay, cut_after=min(has["after"], max(0, len(said.body) - 1)))
    if fault.effect == "truncated":
        body = said.body[: len(said.body) // 2]
    elif fault.effect == "nanoseconds":
        body = _TIME.sub(lambda time: time[1] + (time[2] + _DIGITS[len(time[2]) :]), said.body)
    else:
        body = to_bytes(_changed(loads(said.body), fault))
    return Exchange(answer=attrs.evolve(said, body=body), delay=delay)


def _changed(body: Any, fault: Fault) -> Any:
    has = fault.details
    if not isinstance(body, dict):
        return body
    if fault.effect == "status":
        return {**body, "status": has["word"]}
    if fault.effect == "extra":
        return {**body, **has["fields"]}
    for path in has["fields"]:
        body = _without(body, path.split("."))
    return body


def _without(body: Any, path: Sequence[str]) -> Any:
    """Return an object without the member that a path names."""
    first, *rest = path
    if not isinstance(body, dict) or first not in body:
        return body
    if rest:
        return {**body, first: _without(body[first], rest)}
    return {name: value for name, value in body.items() if name != first}
