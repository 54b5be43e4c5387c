"""The control route's commands: what another process may ask a Mockbank to do, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from leanflow.errors import InvalidRequest

from ._bank import Mockbank
from ._disturbances import Disturbance
from ._faults import Fault

__all__ = ["COMMANDS", "control"]

# What the commands take beyond their plain arguments is in `control`.
COMMANDS = (
    "accounts",
    "calm",
    "clear_faults",
    "close_link",
    "connect",
    "deliveries",
    "disturb",
    "drop",
    "emit",
    "expire_session",
    "fault",
    "log",
    "otp",
    "reconnects",
    "release",
    "renew_consent",
    "resend",
    "revoke_consent",
    "revoke_tokens",
    "state",
    "subscribe",
    "switch_bank",
    "webhook_url",
)

_FAULTS = (
    "failed",
    "pending",
    "reconnect",
    "duplicated",
    "consent_expired",
    "unknown_results",
    "slow",
    "partial_refresh",
    "http",
    "html",
    "truncated",
    "status",
    "missing",
    "extra",
    "cut",
    "refuse",
)


def _text(args: Mapping[str, Any], name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidRequest(name, "must be a text")
    return value


def _seconds(args: dict[str, Any], name: str) -> None:
    """Turn seconds into a span of time, in place."""
    if args.get(name) is not None:
        if isinstance(args[name], bool) or not isinstance(args[name], int | float):
            raise InvalidRequest(name, "must be a number of seconds")
        args[name] = timedelta(seconds=args[name])


def _fault(args: Mapping[str, Any]) -> Fault:
    """Make a fault: ``{"effect": "failed", "code": "BANK_ISSUE", "times": 2, …}``, named as `Fault`'s class methods."""
    given = dict(args)
    effect = given.pop("effect", None)
    if effect not in _FAULTS:
        raise InvalidRequest("effect", f"{effect!r} is none of {', '.join(_FAULTS)}")
    _seconds(given, "after") if effect == "pending" else None
    words = given.pop("parts" if effect == "partial_refresh" else "fields", ()) if effect != "extra" else ()
    try:
        made: Fault = getattr(Fault, effect)(*words, **given)
    except (TypeError, ValueError) as error:
        raise InvalidRequest("fault", str(error)) from error
    return made


def _disturbance(args: Mapping[str, Any]) -> Disturbance:
    given = dict(args)
    _seconds(given, "delay")
    unknown = given.keys() - attrs.fields_dict(Disturbance).keys()
    if unknown:
        raise InvalidRequest(min(unknown), "is no disturbance")
    return Disturbance(**given)


def control(bank: Mockbank, command: str, args: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Do one command and return its answer, JSON values.

    Args:
        bank: the bank.
        command: one of `COMMANDS`.
        args: its arguments, named as those of the method that it stands for; times in seconds.
        now: the present time.

    Raises:
        InvalidRequest: an unknown command, or an argument of the wrong kind.
    """
    if command not in COMMANDS:
        raise InvalidRequest("command", f"{command!r} is none of {', '.join(COMMANDS)}")
    done = _ask(bank, command, args, now)
    return _order(bank, command, args, now) if done is None else done


def _ask(bank: Mockbank, command: str, args: Mapping[str, Any], now: datetime) -> dict[str, Any] | None:
    """Do a command whose answer is more than that it is done; None if it is not one of those."""
    match command:
        case "state":
            return bank.state(now)
        case "accounts":
            return {"accounts": bank.accounts_of(_text(args, "entity_id"))}
        case "reconnects":
            return {"reconnects": bank.pending_reconnects(args.get("entity_id"))}
        case "connect":
            try:
                entity_id = bank.connect(now=now, **args)
            except TypeError as error:
                raise InvalidRequest("connect", str(error)) from error
            return {"entity_id": entity_id, "customer_id": bank.customer_of(entity_id)}
        case "otp":
            outcome = bank.submit_otp(_text(args, "reconnect_id"), _text(args, "otp"), now)
            return {**outcome.payload(), "attempts_left": outcome.attempts_left}
        case "close_link":
            return bank.close_link(_text(args, "reconnect_id"), now).payload()
        case "emit":
            payload = args.get("payload", {})
            return {"event_id": bank.emit(_text(args, "type"), dict(payload), args.get("message", ""), now)}
        case "resend":
            return {"sent": bank.resend(_text(args, "event_id"), now)}
        case "log":
            return {"calls": [_record(one) for one in bank.log.calls], "counts": bank.log.counts()}
        case "deliveries":
            return {"deliveries": [_record(one) for one in bank.log.webhooks]}
    return None


def _order(bank: Mockbank, command: str, args: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Do a command of which nothing comes back."""
    match command:
        case "expire_session":
            bank.expire_session(_text(args, "entity_id"), now)
        case "revoke_consent":
            bank.revoke_consent(_text(args, "entity_id"), now)
        case "renew_consent":
            bank.renew_consent(_text(args, "entity_id"), now)
        case "release":
            bank.release(_text(args, "id"), now)
        case "switch_bank":
            switches = {name: value for name, value in args.items() if name != "bank"}
            if not all(isinstance(value, bool) for value in switches.values()):
                raise InvalidRequest("switch_bank", "switches are true or false")
            bank.switch_bank(_text(args, "bank"), now, **switches)
        case "fault":
            bank.fault(_fault(args))
        case "clear_faults":
            bank.clear_faults()
        case "disturb":
            bank.disturb(_disturbance(args))
        case "drop":
            bank.disturb(Disturbance(drop=True, times=args.get("times", 1), types=args.get("types")))
        case "calm":
            bank.calm()
        case "subscribe":
            bank.subscribe(args.get("types"))
        case "revoke_tokens":
            bank.revoke_tokens()
        case "webhook_url":
            bank.webhook_url = _text(args, "url")
    return {"done": True}


def _record(record: Any) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return value.isoformat() if isinstance(value, datetime) else value

    return {name: plain(value) for name, value in attrs.asdict(record).items()}
