"""Every error that leanflow raises, split by what the catcher does next.

::

    LeanflowError
    ├── CallerError                 the caller's fault: mend the call
    │   ├── InvalidRequest          an argument is wrong; names it
    │   ├── RequestNotFound         no such request here
    │   ├── NotInState              the request's state does not allow this
    │   ├── KeyReused               an idempotency key came back with other parameters
    │   └── ResultsPurged           the results are not kept any more
    ├── SetupError                  the set-up is wrong: mend the deployment
    │   ├── NotStarted              used outside ``async with flows``
    │   ├── WrongLoop               used from another event loop than the one that entered it
    │   ├── Forked                  used in a process forked from the one that used it first
    │   ├── MigrationNeeded         the store is older or newer than this version
    │   ├── KeyMissing              the store has what was encrypted with a key that it was not given
    │   ├── BrokerSetup             a stream, queue or setting is missing at a bus's broker; says how to mend it
    │   └── InvalidTable            the transition table contradicts itself
    ├── TemporaryError              nothing is wrong with the call: try again  (retryable)
    │   ├── StoreUnavailable        the store cannot commit now
    │   ├── BusUnavailable          a bus's broker does not answer now
    │   └── CallFailed              no answer from Lean; says whether the call may have been sent
    ├── MalformedBody               a body that is not what it must be; names the path
    ├── BadSignature                a webhook that nobody vouches for
    ├── MessageRefused              a broker does not take this one announcement
    └── Livelock                    ``tick`` goes on for ever; names the request

Lean's refusals are never exceptions: they are requests in ``State.failed`` with ``failure`` set.
Facts are attributes, the text is built from them, and no text holds a secret, a payload or SQL.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BadSignature",
    "BrokerSetup",
    "BusUnavailable",
    "CallFailed",
    "CallerError",
    "Forked",
    "InvalidRequest",
    "InvalidTable",
    "KeyMissing",
    "KeyReused",
    "LeanflowError",
    "Livelock",
    "MalformedBody",
    "MessageRefused",
    "MigrationNeeded",
    "NotInState",
    "NotStarted",
    "RequestNotFound",
    "ResultsPurged",
    "SetupError",
    "StoreUnavailable",
    "TemporaryError",
    "WrongLoop",
]


class LeanflowError(Exception):
    """The base of every error that leanflow raises."""

    retryable: ClassVar[bool] = False


class CallerError(LeanflowError):
    """The caller's fault: the same call will fail again."""


class InvalidRequest(CallerError, ValueError):
    """An argument is wrong.

    Attributes:
        parameter: the name of the argument.
        problem: what is wrong with it, and what to do.
    """

    def __init__(self, parameter: str, problem: str) -> None:
        self.parameter = parameter
        self.problem = problem
        super().__init__(parameter, problem)

    def __str__(self) -> str:
        return f"{self.parameter}: {self.problem}"


class RequestNotFound(CallerError, LookupError):
    """No such request for this application, environment and region."""

    def __init__(self, request_id: str, what: str = "request") -> None:
        self.request_id = request_id
        self.what = what
        super().__init__(request_id, what)

    def __str__(self) -> str:
        return f"no {self.what} {self.request_id!r} in this application, environment and region"


class NotInState(CallerError):
    """The request's state does not allow this.

    Attributes:
        request_id: the request.
        state: the state it is in.
        attempted: what was attempted.
        reason: why it is not allowed there, and what to do.
    """

    def __init__(self, request_id: str, state: str, attempted: str, reason: str = "") -> None:
        self.request_id = request_id
        self.state = state
        self.attempted = attempted
        self.reason = reason
        super().__init__(request_id, state, attempted, reason)

    def __str__(self) -> str:
        tail = f": {self.reason}" if self.reason else ""
        return f"cannot {self.attempted} request {self.request_id} in state {self.state}{tail}"


class KeyReused(CallerError):
    """An idempotency key came back with other parameters than it was first used with."""

    def __init__(self, key: str, request_id: str) -> None:
        self.key = key
        self.request_id = request_id
        super().__init__(key, request_id)

    def __str__(self) -> str:
        return f"key {self.key!r} already made request {self.request_id} with other parameters; use a new key"


class ResultsPurged(CallerError):
    """The request was fetched, and its results are not kept any more: ask anew for what is still needed."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        super().__init__(request_id)

    def __str__(self) -> str:
        return f"the results of request {self.request_id} were purged; make a new request for what is still needed"


class SetupError(LeanflowError):
    """The set-up is wrong: no call will succeed until it is mended."""


class NotStarted(SetupError, RuntimeError):
    """Used outside ``async with``."""

    def __init__(self, what: str = "flows") -> None:
        self.what = what
        super().__init__(what)

    def __str__(self) -> str:
        web = ", or give a web application lifespan(flows)" if self.what == "flows" else ""
        return f"{self.what} is not open: use it inside `async with {self.what}:`{web}"


class WrongLoop(SetupError, RuntimeError):
    """Used from another event loop than the one that entered it."""

    def __str__(self) -> str:
        return "this engine belongs to another event loop; from other threads and loops use leanflow.blocking"


class Forked(SetupError, RuntimeError):
    """Used in a process that was forked from the one that had used it: its thread and its connections stayed there."""

    def __str__(self) -> str:
        return "this engine was used before this process was forked; use it first in the processes that serve"


class MigrationNeeded(SetupError):
    """The store's tables are of another version than this leanflow.

    Attributes:
        found: the version of the tables.
        wanted: the version that this leanflow writes.
    """

    def __init__(self, store: str, found: int, wanted: int) -> None:
        self.store = store
        self.found = found
        self.wanted = wanted
        super().__init__(store, found, wanted)

    def __str__(self) -> str:
        if self.found > self.wanted:
            cure = "it was written by a newer leanflow; upgrade this one"
        else:
            cure = "run `leanflow migrate`"
        return f"{self.store} has tables of version {self.found}, this leanflow writes {self.wanted}: {cure}"


class KeyMissing(SetupError):
    """The store has what was encrypted with a key that it was not given. Nothing is lost: give it that key, too.

    Attributes:
        key: what stands for the key (the beginning of its digest).
    """

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(key)

    def __str__(self) -> str:
        return f"the store is encrypted with key {self.key}, which was not given: add it to EncryptedStore's keys"


class BrokerSetup(SetupError):
    """A bus's broker is there, but not as the bus needs it.

    Attributes:
        bus: the bus's name.
        problem: what is missing or wrong there.
        cure: what to do.
    """

    def __init__(self, bus: str, problem: str, cure: str) -> None:
        self.bus = bus
        self.problem = problem
        self.cure = cure
        super().__init__(bus, problem, cure)

    def __str__(self) -> str:
        return f"{self.bus}: {self.problem}; {self.cure}"


class InvalidTable(SetupError):
    """The transition table contradicts itself.

    Attributes:
        problems: all of them, one sentence each.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__(problems)

    def __str__(self) -> str:
        return "the transition table is wrong: " + "; ".join(self.problems)


class TemporaryError(LeanflowError):
    """Nothing is wrong with the call: try again later."""

    retryable = True


class StoreUnavailable(TemporaryError):
    """The store cannot commit now. What was being committed may or may not be stored.

    Attributes:
        reason: the driver's own words, without SQL and values.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return f"the store is unavailable: {self.reason}"


class BusUnavailable(TemporaryError):
    """A bus's broker does not answer now. What was being published may or may not be there.

    Attributes:
        bus: the bus's name.
        reason: what went wrong, without secrets.
    """

    def __init__(self, bus: str, reason: str) -> None:
        self.bus = bus
        self.reason = reason
        super().__init__(bus, reason)

    def __str__(self) -> str:
        return f"the broker of {self.bus} is unavailable: {self.reason}"


class CallFailed(TemporaryError):
    """No answer came back from Lean.

    Attributes:
        maybe_sent: False only when it is certain that Lean has not seen the call.
        reason: what went wrong, without secrets.
    """

    def __init__(self, reason: str, *, maybe_sent: bool) -> None:
        self.reason = reason
        self.maybe_sent = maybe_sent
        super().__init__(reason, maybe_sent)

    def __str__(self) -> str:
        sent = "it may have reached Lean" if self.maybe_sent else "it did not reach Lean"
        return f"the call failed ({self.reason}); {sent}"


class MalformedBody(LeanflowError, ValueError):
    """A body that is not what it must be.

    Attributes:
        path: where, as in ``$.payload.id``; ``$`` is the whole body.
        expected: what was expected there.
    """

    def __init__(self, path: str, expected: str) -> None:
        self.path = path
        self.expected = expected
        super().__init__(path, expected)

    def __str__(self) -> str:
        return f"malformed body at {self.path}: expected {self.expected}"


class BadSignature(LeanflowError):
    """A webhook without a valid ``lean-signature``."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    def __str__(self) -> str:
        return f"bad lean-signature: {self.reason}"


class MessageRefused(LeanflowError):
    """A bus's broker does not take this one announcement, as one that is too large; others it takes.

    Attributes:
        bus: the bus's name.
        reason: the broker's words, or what is known to be refused.
    """

    def __init__(self, bus: str, reason: str) -> None:
        self.bus = bus
        self.reason = reason
        super().__init__(bus, reason)

    def __str__(self) -> str:
        return f"the broker of {self.bus} refused an announcement: {self.reason}"


class Livelock(LeanflowError):
    """``tick`` found work again and again without time passing.

    Attributes:
        request_id: the request that is always due, if one is.
    """

    def __init__(self, request_id: str | None, rounds: int) -> None:
        self.request_id = request_id
        self.rounds = rounds
        super().__init__(request_id, rounds)

    def __str__(self) -> str:
        always = self.request_id or "an announcement"
        return f"tick did not come to rest after {self.rounds} rounds; always due: {always}"
