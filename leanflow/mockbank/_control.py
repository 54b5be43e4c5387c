"""The control route's commands: what another process may ask a Mockbank to do, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import attrs

from leanflow.errors import InvalidRequest

from ._bank import Mockbank
from ._disturbances import Disturbance
from ._faults import Fault

__all__ = ["COMMANDS", "control"]

Args = Mapping[str, Any]

_FAULTS = (
    "consent_expired", "cut", "duplicated", "extra", "failed", "html", "http", "missing", "partial_refresh", "pending",
    "reconnect", "refuse", "slow", "status", "truncated", "unknown_results",
)  # fmt: skip


def _text(args: Args, name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidRequest(name, "must be a text")
    return value


def _span(args: dict[str, Any], name: str) -> None:
    """Turn seconds into a span of time, in place."""
    if args.get(name) is not None:
        if isinstance(args[name], bool) or not isinstance(args[name], int | float):
            raise InvalidRequest(name, "must be a number of seconds")
        args[name] = timedelta(seconds=args[name])


# --- commands: each takes the bank, its arguments and the time, and returns what is to be told ------------------------


def _connect(bank: Mockbank, args: Args, now: datetime) -> Args:
    try:
        entity_id = bank.connect(now=now, **args)
    except TypeError as error:
        raise InvalidRequest("connect", str(error)) from error
    return {"entity_id": entity_id, "customer_id": bank.customer_of(entity_id)}


def _otp(bank: Mockbank, args: Args, now: datetime) -> Args:
    outcome = bank.submit_otp(_text(args, "reconnect_id"), _text(args, "otp"), now)
    return {**outcome.payload(), "attempts_left": outcome.attempts_left}


def _emit(bank: Mockbank, args: Args, now: datetime) -> Args:
    payload = args.get("payload", {})
    if not isinstance(payload, dict):
        raise InvalidRequest("payload", "must be an object")
    return {"event_id": bank.emit(_text(args, "type"), payload, str(args.get("message", "")), now)}


def _fault(bank: Mockbank, args: Args, _: datetime) -> None:
    """Arm ``{"effect": "failed", "code": "BANK_ISSUE", "times": 2}``: effects are named as `Fault`'s class methods."""
    given = dict(args)
    effect = given.pop("effect", None)
    if effect not in _FAULTS:
        raise InvalidRequest("effect", f"{effect!r} is none of {', '.join(_FAULTS)}")
    if effect == "pending":
        _span(given, "after")
    words = given.pop({"partial_refresh": "parts", "missing": "fields"}.get(effect, ""), ())
    try:
        made: Fault = getattr(Fault, effect)(*words, **given)
    except TypeError as error:
        raise InvalidRequest("fault", str(error)) from error
    bank.fault(made)


def _disturb(bank: Mockbank, args: Args, _: datetime) -> None:
    given = dict(args)
    _span(given, "delay")
    unknown = given.keys() - attrs.fields_dict(Disturbance).keys()
    if unknown:
        raise InvalidRequest(min(unknown), "is no disturbance")
    bank.disturb(Disturbance(**given))


def _drop(bank: Mockbank, args: Args, _: datetime) -> None:
    bank.disturb(Disturbance(drop=True, times=args.get("times", 1), types=args.get("types")))


def _switch_bank(bank: Mockbank, args: Args, now: datetime) -> None:
    switches = {name: value for name, value in args.items() if name != "bank"}
    if not all(isinstance(value, bool) for value in switches.values()):
        raise InvalidRequest("switch_bank", "switches are true or false")
    bank.switch_bank(_text(args, "bank"), now, **switches)


def _webhook_url(bank: Mockbank, args: Args, _: datetime) -> None:
    bank.webhook_url = _text(args, "url")


def _of_entity(method: Callable[[Mockbank, str, datetime], None]) -> Callable[[Mockbank, Args, datetime], None]:
    return lambda bank, args, now: method(bank, _text(args, "entity_id"), now)


def _log(bank: Mockbank, _: Args, __: datetime) -> Args:
    return {"calls": [_record(one) for one in bank.log.calls], "counts": bank.log.counts()}


def _record(record: Any) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return value.isoformat() if isinstance(value, datetime) else value

    return {name: plain(value) for name, value in attrs.asdict(record).items()}


COMMANDS: Mapping[str, Callable[[Mockbank, Args, datetime], Args | None]] = MappingProxyType(
    {
        "accounts": lambda bank, args, _: {"accounts": bank.accounts_of(_text(args, "entity_id"))},
        "calm": lambda bank, _, __: bank.calm(),
        "clear_faults": lambda bank, _, __: bank.clear_faults(),
        "close_link": lambda bank, args, now: bank.close_link(_text(args, "reconnect_id"), now).payload(),
        "connect": _connect,
        "deliveries": lambda bank, _, __: {"deliveries": [_record(one) for one in bank.log.webhooks]},
        "disturb": _disturb,
        "drop": _drop,
        "emit": _emit,
        "expire_session": _of_entity(Mockbank.expire_session),
        "fault": _fault,
        "log": _log,
        "otp": _otp,
        "reconnects": lambda bank, args, _: {"reconnects": bank.pending_reconnects(args.get("entity_id"))},
        "release": lambda bank, args, now: bank.release(_text(args, "id"), now),
        "renew_consent": _of_entity(Mockbank.renew_consent),
        "resend": lambda bank, args, now: {"sent": bank.resend(_text(args, "event_id"), now)},
        "revoke_consent": _of_entity(Mockbank.revoke_consent),
        "revoke_tokens": lambda bank, _, __: bank.revoke_tokens(),
        "state": lambda bank, _, now: bank.state(now),
        "subscribe": lambda bank, args, _: bank.subscribe(args.get("types")),
        "switch_bank": _switch_bank,
        "webhook_url": _webhook_url,
    }
)


def control(bank: Mockbank, command: str, args: Args, now: datetime) -> Args:
    """Do one command and return its answer, JSON values.

    Args:
        bank: the bank.
        command: one of `COMMANDS`.
        args: its arguments, named as those of the method that it stands for; spans of time in seconds.
        now: the present time.

    Raises:
        InvalidRequest: an unknown command, or an argument of the wrong kind.
    """
    if command not in COMMANDS:
        raise InvalidRequest("command", f"{command!r} is none of {', '.join(COMMANDS)}")
    bank.pass_time(now)
    return COMMANDS[command](bank, args, now) or {"done": True}
