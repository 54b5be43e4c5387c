"""The control commands: what another process, a scenario or a page may ask a Mockbank to do, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import attrs

from leanflow.errors import InvalidRequest

from ._bank import Mockbank
from .adversary._disturbances import Disturbance
from .adversary._faults import Fault
from .adversary._progress import Pace
from .basics._checks import FIELDS, SWITCH, TEXT, TIMES, URL, Check, check, is_number, is_whole, known

__all__ = ["COMMANDS", "Command", "control"]

Args = Mapping[str, Any]

_TEXTS: Check = (lambda value: isinstance(value, list) and all(map(TEXT[0], value)), "a list of texts")
_TYPES: Check = (lambda value: value is None or TEXT[0](value) or _TEXTS[0](value), "a type, or a list of types")
_NUMBER: Check = (is_whole, "a whole number")
_WEIGHT: Check = (lambda value: is_number(value) and value >= 0, "a number, not negative")


@attrs.frozen(kw_only=True)
class Command:
    """Something that a Mockbank can be told to do.

    Attributes:
        says: what it does, one sentence.
        run: takes the bank, the arguments and the time; returns what is to be told.
        needs: the arguments that must be given, and what they must be.
        takes: the arguments that may be given.
        told_by: a class whose `of` takes all arguments, instead of `needs` and `takes`.
        timed: whether a scenario can time it: it names nothing that is only known later.
    """

    says: str
    run: Callable[[Mockbank, Args, datetime], Args | None]
    needs: Mapping[str, Check] = attrs.field(factory=dict)
    takes: Mapping[str, Check] = attrs.field(factory=dict)
    told_by: type[Fault | Disturbance | Pace] | None = None
    timed: bool = False

    def checked(self, name: str, args: Args) -> Args:
        """Return the arguments.

        Raises:
            InvalidRequest: one is missing, unknown or of the wrong kind.
        """
        if self.told_by is not None:
            return args
        known(args, (*self.needs, *self.takes), f"argument of {name}")
        for argument, allowed in self.needs.items():
            check(argument, args.get(argument), allowed)
        for argument, allowed in self.takes.items():
            if argument in args:
                check(argument, args[argument], allowed)
        return args


# --- commands that do more than call a method -------------------------------------------------------------------------


def _connect(bank: Mockbank, args: Args, now: datetime) -> Args:
    entity_id = bank.connect(now=now, **args)
    return {"entity_id": entity_id, "customer_id": bank.customer_of(entity_id)}


def _otp(bank: Mockbank, args: Args, now: datetime) -> Args:
    outcome = bank.submit_otp(args["reconnect_id"], args["otp"], now)
    return {**outcome.payload(), "attempts_left": outcome.attempts_left}


def _drop(bank: Mockbank, args: Args, _: datetime) -> Args:
    return {"armed": bank.disturb(Disturbance(drop=True, times=args.get("times", 1), types=args.get("types")))}


def _storm(bank: Mockbank, args: Args, _: datetime) -> None:
    bank.storm(args["seed"], args.get("weight", 1), only=args.get("only"), without=args.get("without", ()))


def _switch_bank(bank: Mockbank, args: Args, now: datetime) -> None:
    bank.switch_bank(args["bank"], now, **{name: value for name, value in args.items() if name != "bank"})


def _webhook_url(bank: Mockbank, args: Args, _: datetime) -> None:
    bank.webhook_url = args["url"]


def _log(bank: Mockbank, _: Args, __: datetime) -> Args:
    return {"calls": [_record(one) for one in bank.log.calls], "counts": bank.log.counts()}


def _record(record: Any) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return value.isoformat() if isinstance(value, datetime) else value

    return {name: plain(value) for name, value in attrs.asdict(record).items()}


def _stormy(bank: Mockbank, _: Args, __: datetime) -> Args:
    storm = bank.weather
    return {
        "armed": {str(number): str(one) for number, one in bank.armed().items()},
        "storm": None
        if storm is None
        else {"seed": storm.seed, "weight": storm.weight, "struck": storm.lines()[-100:]},
    }


def _entity(says: str, method: Callable[[Mockbank, str, datetime], None]) -> Command:
    return Command(
        says=says,
        run=lambda bank, args, now: method(bank, args["entity_id"], now),
        needs={"entity_id": TEXT},
        timed=True,
    )


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "accounts": Command(
            says="Tell the account ids of an entity.",
            run=lambda bank, args, _: {"accounts": bank.accounts_of(args["entity_id"])},
            needs={"entity_id": TEXT},
        ),
        "armed": Command(says="Tell what is armed, by id, and what the storm did lately.", run=_stormy),
        "authorise": Command(
            says="Let the user approve (or refuse) a reconnect at the bank's own site.",
            run=lambda bank, args, now: bank.authorise(**args, now=now).payload(),
            needs={"reconnect_id": TEXT},
            takes={"approve": SWITCH},
        ),
        "calm": Command(
            says="Disarm everything, end the storm, release what is held.",
            run=lambda bank, _, now: bank.calm(now),
            timed=True,
        ),
        "close_link": Command(
            says="Let the user close the Link SDK's window.",
            run=lambda bank, args, now: bank.close_link(args["reconnect_id"], now).payload(),
            needs={"reconnect_id": TEXT},
        ),
        "connect": Command(
            says="Connect a user; tells entity and customer.",
            run=_connect,
            takes={"app_user_id": TEXT, "username": TEXT, "bank": TEXT, "permissions": _TEXTS},
            timed=True,
        ),
        "deliveries": Command(
            says="Tell the last deliveries of webhooks.",
            run=lambda bank, _, __: {"deliveries": [_record(one) for one in bank.log.webhooks]},
        ),
        "disarm": Command(
            says="Disarm one thing, by the id that arming it told.",
            run=lambda bank, args, _: {"disarmed": bank.disarm(args["armed"])},
            needs={"armed": _NUMBER},
        ),
        "disturb": Command(
            says="Arm a disturbance of webhooks; tells its id.",
            run=lambda bank, args, _: {"armed": bank.disturb(Disturbance.of(args))},
            told_by=Disturbance,
            timed=True,
        ),
        "drop": Command(
            says="Drop the next webhook, or the next of some types.",
            run=_drop,
            takes={"types": _TYPES, "times": TIMES},
            timed=True,
        ),
        "emit": Command(
            says="Emit any webhook; tells its event id.",
            run=lambda bank, args, now: {
                "event_id": bank.emit(args["type"], args.get("payload", {}), args.get("message", ""), now)
            },
            needs={"type": TEXT},
            takes={"payload": FIELDS, "message": TEXT},
            timed=True,
        ),
        "expire_session": _entity("Let the bank forget the user.", Mockbank.expire_session),
        "fault": Command(
            says="Arm a fault of the API; tells its id.",
            run=lambda bank, args, _: {"armed": bank.fault(Fault.of(args))},
            told_by=Fault,
            timed=True,
        ),
        "log": Command(says="Tell the last calls, and how many there were of each kind.", run=_log),
        "otp": Command(
            says="Type an OTP in the Link SDK's reconnect flow.", run=_otp, needs={"reconnect_id": TEXT, "otp": TEXT}
        ),
        "pace": Command(
            says="Set how something PENDING comes to its end; tells its id.",
            run=lambda bank, args, _: {"armed": bank.pace(Pace.of(args))},
            told_by=Pace,
            timed=True,
        ),
        "reconnects": Command(
            says="Tell the reconnect ids that wait for the user.",
            run=lambda bank, args, _: {"reconnects": bank.pending_reconnects(args.get("entity_id"))},
            takes={"entity_id": TEXT},
        ),
        "redirect_bank": Command(
            says="Let a bank authorise on its own site, or no longer.",
            run=lambda bank, args, now: bank.redirect_bank(**args, now=now),
            needs={"bank": TEXT},
            takes={"on": SWITCH},
            timed=True,
        ),
        "release": Command(
            says="Let a PENDING result or refresh come to its end.",
            run=lambda bank, args, now: bank.release(args["id"], now),
            needs={"id": TEXT},
        ),
        "renew_consent": _entity("Let the user give the consent anew.", Mockbank.renew_consent),
        "resend": Command(
            says="Send an event of the past 90 days once more.",
            run=lambda bank, args, now: {"sent": bank.resend(args["event_id"], now)},
            needs={"event_id": TEXT},
        ),
        "revoke_consent": _entity("Let the user withdraw the consent.", Mockbank.revoke_consent),
        "revoke_tokens": Command(
            says="Make all tokens given so far invalid.", run=lambda bank, _, __: bank.revoke_tokens(), timed=True
        ),
        "state": Command(says="Tell everything that it remembers.", run=lambda bank, _, now: bank.state(now)),
        "storm": Command(
            says="Let everything go wrong at random, until calm.",
            run=_storm,
            needs={"seed": _NUMBER},
            takes={"weight": _WEIGHT, "only": _TEXTS, "without": _TEXTS},
            timed=True,
        ),
        "subscribe": Command(
            says="Send webhooks of these types only; all without any.",
            run=lambda bank, args, _: bank.subscribe(args.get("types")),
            takes={"types": (lambda value: value is None or _TEXTS[0](value), _TEXTS[1])},
            timed=True,
        ),
        "switch_bank": Command(
            says="Switch a bank off or on, for Lean or for the application.",
            run=_switch_bank,
            needs={"bank": TEXT},
            takes=dict.fromkeys(("active_data", "active_payments", "enabled_data", "enabled_payments"), SWITCH),
            timed=True,
        ),
        "webhook_url": Command(says="Say where webhooks go.", run=_webhook_url, needs={"url": URL}, timed=True),
    }
)
"""All commands, by name. Spans of time are seconds."""


def control(bank: Mockbank, command: str, args: Args, now: datetime) -> Args:
    """Do one command and return its answer, JSON values.

    Args:
        bank: the bank.
        command: one of `COMMANDS`.
        args: its arguments; spans of time in seconds.
        now: the present time.

    Raises:
        InvalidRequest: an unknown command, or an argument that is missing, unknown or of the wrong kind.
    """
    if command not in COMMANDS:
        raise InvalidRequest("command", f"{command!r} is none of {', '.join(COMMANDS)}")
    known_command = COMMANDS[command]
    checked = known_command.checked(command, args)
    bank.pass_time(now)
    return known_command.run(bank, checked, now) or {"done": True}
