"""The stored record: one data request to Lean, as a frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

import attrs

__all__ = ["DataRequest", "Failure", "IdKind", "Remedy", "Resource", "Scope", "State", "values_of"]

_EMPTY: Mapping[str, str] = MappingProxyType({})


class State(StrEnum):
    """Where a data request is. Member names equal their values: they are stored, and a public contract."""

    requested = "requested"
    reconnect_required = "reconnect_required"
    awaiting_user = "awaiting_user"
    reconnected = "reconnected"
    results_ready = "results_ready"
    fetched = "fetched"
    expired = "expired"
    failed = "failed"
    cancelled = "cancelled"

    __hash__ = str.__hash__  # the enum's own, of the same value, is a Python function, and states are looked up a lot

    @property
    def is_end(self) -> bool:
        """True for the states that are never left."""
        return self in _ENDS

    @property
    def needs_user(self) -> bool:
        """True while only the user at the bank can move the request."""
        return self in _NEED_USER

    @classmethod
    def ends(cls) -> frozenset[State]:
        """Return the states that are never left."""
        return _ENDS


_ENDS = frozenset({State.fetched, State.expired, State.failed, State.cancelled})
_NEED_USER = frozenset({State.reconnect_required, State.awaiting_user})


class Resource(StrEnum):
    """What can be asked for (Lean docs, Data API). Member names equal their values."""

    identity = "identity"
    accounts = "accounts"
    balances = "balances"
    transactions = "transactions"
    identities = "identities"
    beneficiaries = "beneficiaries"
    direct_debits = "direct_debits"
    scheduled_payments = "scheduled_payments"
    standing_orders = "standing_orders"
    refresh = "refresh"


class Remedy(StrEnum):
    """What would help a failed request."""

    connect = "connect"  # the consent is gone: run Lean.connect, then renew
    user = "user"  # the user must act at the bank (unlock the account, widen the permissions)
    renew = "renew"  # nothing is wrong with the request: renew it later
    operator = "operator"  # a setting of yours or of Lean's: a person must look
    none = "none"  # final: the same request will fail again


class IdKind(StrEnum):
    """The kinds of ids by which Lean names a request."""

    results = "results"
    reconnect = "reconnect"
    refresh = "refresh"


@attrs.frozen(kw_only=True)
class Failure:
    """Why a request failed.

    Attributes:
        code: Lean's granular code or status, or leanflow's own (``RESULTS_UNAVAILABLE``, ``RECONNECT_LOOP``,
            ``NO_ANSWER``).
        message: Lean's words, or leanflow's.
        remedy: what would help.
        info: Lean's ``status_additional_info``: text meant for the user, if there is one.
        http_status: of the answer that said so, if one did.
    """

    code: str
    message: str = ""
    remedy: Remedy = Remedy.none
    info: str | None = None
    http_status: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a dict of JSON values."""
        return {
            "code": self.code,
            "message": self.message,
            "remedy": self.remedy.value,
            "info": self.info,
            "http_status": self.http_status,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Return what `to_dict` described. Unknown names, of a later version, are passed over."""
        known = {name: value for name, value in raw.items() if name in _FAILURE_FIELDS}
        return cls(**{**known, "remedy": Remedy(raw["remedy"])})


_FAILURE_FIELDS = frozenset(f.name for f in attrs.fields(Failure))


@attrs.frozen(kw_only=True)
class Scope:
    """What confines records, events and claims: sandbox events never touch production records.

    Attributes:
        app: Lean's application id.
        environment: ``sandbox`` or ``production``.
        region: ``uae`` or ``ksa``.
    """

    app: str
    environment: str
    region: str


@attrs.frozen(kw_only=True, slots=False)  # without slots one copy costs a tenth: `moved` copies the dict in C
class DataRequest:
    """One data request to Lean, as stored. All times are aware and UTC.

    Attributes:
        id: UUIDv7 text, in order of creation.
        app: Lean's application id.
        environment: ``sandbox`` or ``production``.
        region: ``uae`` or ``ksa``.
        api: ``v1`` or ``v2``.
        resource: what is asked for.
        entity_id: Lean's entity.
        account_id: for the resources that have one.
        customer_id: Lean's customer, if known.
        customer_ip: the customer's address, sent while the customer is present.
        params: further query parameters, strings to strings.
        reference: the application's own id.
        metadata: the application's own words, strings to strings.
        key: the caller's idempotency key.
        fingerprint: digest of what makes two requests the same; at most one live request has it.
        state: where it is.
        version: 0 at creation, one more with each accepted event.
        round: how many times Lean has asked for the user.
        rounds_prompted: in how many of those the user was asked through this request.
        prompted_round: the last of those.
        attempts: retries used of the budget.
        probes: probes made in this wait, for their backoff.
        placements: how often a spent wait led to placing the call again.
        call_no: the number of the last call made for it.
        due_at: when it next needs attention: the least of the times below; None on ends.
        place_at: when the call is to be placed.
        probe_at: when the results are to be probed or fetched.
        probed_at: when a probe last answered.
        last_chances: probes at its end that got no answer.
        wait_until: when this wait is given up.
        quiet_until: until then Lean wants no call (its ``Retry-After``).
        expires_at: when the reconnect id dies of age.
        expire_at: when `expired` is entered: `expires_at` and a grace.
        give_up_at: the caller's own deadline.
        created_at: when it was made.
        updated_at: when it last changed.
        results_id: Lean's id of its results.
        reconnect_id: what `Lean.reconnect` needs.
        refresh_id: for `Resource.refresh`.
        ids_call_no: the number of the call whose answer brought them.
        past_ids: the ids it had before.
        round_started_at: Lean's timestamp of the answer that opened this round.
        ids_repeat: True when this round has an id that an earlier answer had too.
        grace_until: until then Lean repeating its RECONNECT_REQUIRED is no news.
        revived_round: the round in which it was last placed again because its entity was proved live.
        prompt_number: how often the user was asked.
        prompted_at: when the user was last asked.
        hinted_at: when the Link SDK last called back.
        hint: what it last said (its status, or its secondary status).
        hint_errors: how often it said ERROR in this round.
        entity_live_at: when another request proved the entity live.
        held: the code that holds it until an event lifts it (DISABLED_BY_LEAN).
        unsure: True when Lean may be at work on a placement that we do not know.
        failure: set in `failed`.
        predecessor_id: the request that this one renews.
        successor_id: the request that renews this one.
        traceparent: the trace context of whoever asked (W3C Trace Context), if an observer gave one.
    """

    id: str
    app: str
    environment: str
    region: str
    api: str
    resource: Resource
    entity_id: str
    account_id: str | None = None
    customer_id: str | None = None
    customer_ip: str | None = attrs.field(default=None, repr=False)
    params: Mapping[str, str] = _EMPTY
    reference: str | None = None
    metadata: Mapping[str, str] = _EMPTY
    key: str | None = None
    fingerprint: str = attrs.field(default="", repr=False)
    state: State = State.requested
    version: int = 0
    round: int = 0
    rounds_prompted: int = 0
    prompted_round: int | None = None
    attempts: int = 0
    probes: int = 0
    placements: int = 0
    call_no: int = 0
    due_at: datetime | None = None
    place_at: datetime | None = None
    probe_at: datetime | None = None
    probed_at: datetime | None = None
    last_chances: int = 0
    wait_until: datetime | None = None
    quiet_until: datetime | None = None
    expires_at: datetime | None = None
    expire_at: datetime | None = None
    give_up_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    results_id: str | None = None
    reconnect_id: str | None = None
    refresh_id: str | None = None
    ids_call_no: int = 0
    past_ids: tuple[str, ...] = ()
    round_started_at: datetime | None = None
    ids_repeat: bool = False
    grace_until: datetime | None = None
    revived_round: int | None = None
    prompt_number: int = 0
    prompted_at: datetime | None = None
    hinted_at: datetime | None = None
    hint: str | None = None
    hint_errors: int = 0
    entity_live_at: datetime | None = None
    held: str | None = None
    unsure: bool = False
    failure: Failure | None = None
    predecessor_id: str | None = None
    successor_id: str | None = None
    traceparent: str | None = None

    @property
    def scope(self) -> Scope:
        """What confines it."""
        return Scope(app=self.app, environment=self.environment, region=self.region)

    def moved(self, fields: Mapping[str, Any]) -> Self:
        """Return a copy with these fields set: `attrs.evolve`, ten times faster and without its checks."""
        copy = object.__new__(type(self))
        values = copy.__dict__
        values.update(self.__dict__)
        values.update(fields)
        return copy

    def to_dict(self) -> dict[str, Any]:
        """Return a dict of JSON values; fields that have their default are left out."""
        told = values_of(self)
        for name in _TIMES & told.keys():
            told[name] = told[name].isoformat()
        for name in ("params", "metadata"):
            if name in told:
                told[name] = dict(told[name])
        if self.failure is not None:
            told["failure"] = self.failure.to_dict()
        return told

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Return what `to_dict` described. Unknown names, of a later version, are passed over."""
        fields = _load(raw)
        if not fields.keys() >= _REQUIRED:
            return cls(**fields)  # which names what is missing
        made = object.__new__(cls)  # as in `moved`: every record that is loaded or claimed comes through here
        values = made.__dict__
        values.update(_OPTIONAL)
        values.update(fields)
        return made


_TIMES = frozenset(f.name for f in attrs.fields(DataRequest) if f.name.endswith(("_at", "_until")))
_DEFAULTS: dict[str, object] = {f.name: f.default for f in attrs.fields(DataRequest)}
_KNOWN = frozenset(_DEFAULTS)
_REQUIRED = frozenset(name for name, default in _DEFAULTS.items() if default is attrs.NOTHING)
_OPTIONAL = {name: default for name, default in _DEFAULTS.items() if name not in _REQUIRED}


def values_of(request: DataRequest) -> dict[str, Any]:
    """Return the fields that have not their default, as they are: what is stored of a record."""
    return {
        name: value
        for name, value in request.__dict__.items()
        if value is not _DEFAULTS[name] and value != _DEFAULTS[name]
    }


def _load(raw: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in raw.items() if name in _KNOWN}
    for name in _TIMES & fields.keys():
        if fields[name] is not None:
            fields[name] = datetime.fromisoformat(fields[name])
    fields["resource"] = Resource(fields["resource"])
    fields["state"] = State(fields.get("state", State.requested))
    for name in ("params", "metadata"):
        if name in fields:
            fields[name] = MappingProxyType(fields[name])
    if "past_ids" in fields:
        fields["past_ids"] = tuple(fields["past_ids"])
    if fields.get("failure") is not None:
        fields["failure"] = Failure.from_dict(fields["failure"])
    return fields
