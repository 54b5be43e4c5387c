"""What can happen in one step of a run. Each act returns whether there was anything to do it to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import attrs

from leanflow._request import DataRequest, State
from leanflow.testing.simulation._process import Process
from leanflow.testing.simulation._turns import Fate, Turn
from leanflow.testing.simulation._world import Link, World

__all__ = ["ACTS", "WEIGHTS", "pass_idle_time"]

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "go": 100,  # one await of one process goes on
        # the application and its user
        "request": 3,
        "prompt": 5,
        "user": 6,
        "cancel": 1,
        "renew": 1,
        "reconcile": 0.2,
        # Lean and the bank
        "session": 6,
        "bank": 0.4,
        "consent": 0.1,
        "release": 1,
        # the network between Lean and the application
        "deliver": 15,
        "mislay": 1,
        "replay": 1,
        "forge": 0.5,
        # what goes wrong
        "refuse": 1,
        "lose": 1,
        "twice": 0.5,
        "kill": 1,
        "hold": 4,
        "freeze": 0.4,
        "deploy": 0.2,
        "outage": 0.4,
        "jump": 0.1,
        # time
        "pass": 3,
    }
)
"""How often each act is chosen, in proportion. ``0`` switches one off."""

_CHEAP = {"v1": ("identity",), "v2": ("accounts", "identity", "refresh")}
_PAGED = 25  # one run in so many asks for transactions, too: they come in pages, and two years of them take a while


# going on


def _go(world: World) -> bool:
    ready = world.turns.ready(world.clock.now())
    if not ready:
        pass_idle_time(world)
        return True
    turn = world.dice.pick(ready)
    world.turns.give(turn, Fate.refuse if world.is_out(turn.port) and not turn.back else Fate.go)
    return True


def pass_idle_time(world: World, *, at_most: timedelta = timedelta(seconds=20)) -> None:
    """Pass time to the next thing that happens of itself; slowly while calls are under way, as leases are renewed."""
    now = world.clock.now()
    times = [world.clock.next_wake(), world.turns.next_release(now), world.bank.next_due()]
    due = [at for at in times if at is not None and at > now]
    until = min(due, default=now + at_most)
    world.advance(min(until - now, at_most) if world.oracle.calls_under_way else until - now)


# the application and its user


def _request(world: World) -> bool:
    process = _some(world)
    if process is None:
        return False
    dice, entity_id = world.dice, world.dice.pick(world.entities)
    resource = dice.pick(_CHEAP[world.api] + (() if world.seed % _PAGED else ("transactions",)))
    more: dict[str, Any] = {"customer_id": world.bank.customer_of(entity_id)}
    if resource == "transactions":
        more["account_id"] = world.bank.accounts_of(entity_id)[0]
    if dice.chance(30):
        more["key"] = f"key {resource} {entity_id} {dice.below(3)}"
    if dice.chance(10):
        more["give_up_after"] = timedelta(hours=dice.pick((1, 30)))
    world.tell("app", f"asks {process.name} for {resource} of {world.label(entity_id, 'e')}")

    async def ask() -> None:
        request = await process.ask(process.flows.request(resource, entity_id=entity_id, **more))
        if request is not None:
            world.oracle.acknowledge(request.id)

    process.go(ask())
    return True


def _prompt(world: World) -> bool:
    request = _one(world, lambda r: r.state.needs_user)
    process = _some(world)
    if process is None or request is None:
        return False

    async def ask() -> None:
        prompt = await process.ask(process.flows.prompt(request.id))
        if prompt is not None:
            world.links.append(Link(request.id, prompt.number, prompt.reconnect_id))

    world.tell("app", f"asks {process.name} for the prompt of {world.label(request.id, 'r')}")
    process.go(ask())
    return True


def _user(world: World) -> bool:
    if not world.links:
        return False
    dice = world.dice
    link = dice.pick(world.links)
    which = f"{world.label(link.request_id, 'r')}, prompt {link.number}"
    roll = dice.below(100)
    if roll < 15:
        payload: Mapping[str, Any] = {"status": dice.pick(("SUCCESS", "SUCCESS", "ERROR")), "secondary_status": "LIE"}
        world.tell("user", f"{which}: a callback that nothing stands behind")
    else:
        if roll < 30:
            outcome = world.bank.close_link(link.reconnect_id, world.clock.now())
        else:
            otp = world.bank.settings.otp if roll < 80 else "0000"
            outcome = world.bank.submit_otp(link.reconnect_id, otp, world.clock.now())
        world.tell("user", f"{which}: {outcome.status or 'IN THE FLOW'} {outcome.secondary_status}")
        if outcome.status is None:
            return True
        payload = outcome.payload()
    process = _some(world)
    if process is not None and dice.chance(70):
        for _ in range(2 if dice.chance(10) else 1):
            process.go(process.ask(process.flows.callback(link.request_id, payload, prompt=link.number)))
    return True


def _cancel(world: World) -> bool:
    # One that Lean knows of is worth more: what Lean still says of it comes too late.
    known = _ask_for(world, lambda r: not r.state.is_end and r.results_id is not None, "cancel")
    return known or _ask_for(world, lambda r: not r.state.is_end, "cancel")


def _renew(world: World) -> bool:
    return _ask_for(world, lambda r: r.state in (State.failed, State.expired) and r.successor_id is None, "renew")


def _ask_for(world: World, wanted: Callable[[DataRequest], bool], method: str) -> bool:
    request, process = _one(world, wanted), _some(world)
    if process is None or request is None:
        return False
    world.tell("app", f"asks {process.name} to {method} {world.label(request.id, 'r')}")
    process.go(process.ask(getattr(process.flows, method)(request.id)))
    return True


def _reconcile(world: World) -> bool:
    process = _some(world)
    if process is None:
        return False
    world.tell("app", f"asks {process.name} to reconcile")
    process.go(process.ask(process.flows.reconcile()))
    return True


# Lean and the bank


def _session(world: World) -> bool:
    entity_id = world.dice.pick(world.entities)
    world.bank.expire_session(entity_id, world.clock.now())
    world.tell("lean", f"the bank forgets the user of {world.label(entity_id, 'e')}")
    return True


def _bank(world: World) -> bool:
    bank, active = world.dice.pick(world.bank.banks), world.dice.chance(50)
    world.bank.switch_bank(bank, world.clock.now(), active_data=active)
    world.switched_off[bank] = None
    world.tell("lean", f"switches {bank} {'on' if active else 'off'}")
    return True


def _consent(world: World) -> bool:
    entity_id = world.dice.pick(world.entities)
    change = world.dice.pick((world.bank.revoke_consent, world.bank.renew_consent))
    change(entity_id, world.clock.now())
    world.revoked[entity_id] = None
    world.tell("user", f"{change.__name__} of {world.label(entity_id, 'e')}")
    return True


def _release(world: World) -> bool:
    pending = [r["results_id"] for r in world.bank.state()["results"] if r["status"] == "PENDING"]
    if not pending:
        return False
    world.bank.release(world.dice.pick(pending), world.clock.now())
    world.tell("lean", "has results ready")
    return True


# the network


def _deliver(world: World) -> bool:
    world.take_deliveries()
    process = _some(world)
    if process is None or not world.network:
        return False
    number = world.dice.below(len(world.network))
    delivery = world.network.pop(number)
    world.tell("net", f"brings {delivery.type} to {process.name}" + (f", {number} overtaken" if number else ""))
    process.go(world.bring(process, delivery))
    return True


def _mislay(world: World) -> bool:
    world.take_deliveries()
    if not world.network:
        return False
    delivery = world.network.pop(world.dice.below(len(world.network)))
    world.bank.delivered(delivery.id, None, world.clock.now())
    world.tell("net", f"loses {delivery.type}", fault=True)
    return True


def _replay(world: World) -> bool:
    process = _some(world)
    if process is None or not world.heard:
        return False
    delivery = world.dice.pick(world.heard)
    world.tell("net", f"brings {delivery.type} to {process.name} again", fault=True)
    process.go(world.bring(process, delivery, settle=False))
    return True


def _forge(world: World) -> bool:
    process = _some(world)
    if process is None or not world.heard:
        return False
    real = world.dice.pick(world.heard)
    body = json.dumps({**json.loads(real.body), "event_id": f"forged-{world.number}"}).encode()
    forged = attrs.evolve(real, body=body, headers={**real.headers}, forged=True)
    world.tell("net", f"brings a forged {forged.type} to {process.name}", fault=True)
    process.go(world.bring(process, forged, settle=False))
    return True


# what goes wrong


def _refuse(world: World) -> bool:
    return _fate(world, Fate.refuse, lambda turn: not turn.back)


def _lose(world: World) -> bool:
    return _fate(world, Fate.lose, lambda turn: turn.back or turn.port != "lean")


def _twice(world: World) -> bool:
    return _fate(world, Fate.twice, lambda turn: turn.port == "bus")


def _kill(world: World) -> bool:
    waiting = list(world.turns.waiting())
    if not waiting:
        return False
    turn = _any_kind(world, waiting)
    done = world.dice.chance(50) and not (turn.port == "lean" and not turn.back)
    world.tell(turn.process.name, f"DIES {'after' if done else 'before'} {turn.port} {turn.name}", fault=True)
    if done:
        world.turns.give(turn, Fate.die)
    else:
        turn.process.is_dead = True
    return True


def _any_kind(world: World, turns: list[Turn]) -> Turn:
    """Return one of the turns, of each kind as often: what is rare is not spared."""
    kind = world.dice.pick(list(dict.fromkeys(map(_kind, turns))))
    return world.dice.pick([turn for turn in turns if _kind(turn) == kind])


def _kind(turn: Turn) -> tuple[str, str]:
    return turn.port, "" if turn.port in {"lean", "bus"} else turn.name


def _fate(world: World, fate: Fate, wanted: Callable[[Turn], bool]) -> bool:
    ready = [turn for turn in world.turns.ready(world.clock.now()) if wanted(turn)]
    if not ready:
        return False
    turn = _any_kind(world, ready)
    world.tell(turn.process.name, f"{turn.port} {turn.name}: {fate.upper()}", fault=True)
    world.turns.give(turn, fate)
    return True


def _hold(world: World) -> bool:
    if world.slowness or world.is_patient:
        return False
    world.slowness = world.dice.pick((20, 150, 300))
    return True


def _freeze(world: World) -> bool:
    process = _some(world)
    if process is None or len(world.up) < 2:
        return False
    seconds = world.dice.pick((10, 100, 1000))
    process.frozen_until = world.clock.now() + timedelta(seconds=seconds)
    world.oracle.excuse(process.name)
    world.tell(process.name, f"is frozen for {seconds} s", fault=True)
    return True


def _deploy(world: World) -> bool:
    process = _some(world)
    if process is None:
        return False
    world.tell(process.name, "is told to stop")
    world.oracle.excuse(process.name)
    process.go(process.stop())
    return True


def _outage(world: World) -> bool:
    port = world.dice.pick(("store", "bus"))
    world.outages[port] = times = world.dice.between(5, 50 if port == "store" else 10)
    world.tell("!", f"the {port} is down for the next {times} that ask", fault=True)
    return True


def _jump(world: World) -> bool:
    days = world.dice.pick((-1, 1, 31))
    if world.is_patient or world.jumped + days > 40:  # a run must stay within the 90 days for which inboxes are kept
        return False
    world.jumped += days
    world.oracle.excuse()
    world.loop.jump(timedelta(days=days))
    world.tell("time", f"the clock is set {days:+} days", fault=True)
    return True


def _pass(world: World) -> bool:
    if world.is_patient:
        return False
    seconds = world.dice.pick((0.1, 1, 5, 20, 70, 600, 4000, 40_000))
    world.advance(timedelta(seconds=seconds))
    world.tell("time", f"{seconds} s pass")
    return True


ACTS: Mapping[str, Callable[[World], bool]] = MappingProxyType(
    {
        "go": _go,
        "request": _request,
        "prompt": _prompt,
        "user": _user,
        "cancel": _cancel,
        "renew": _renew,
        "reconcile": _reconcile,
        "session": _session,
        "bank": _bank,
        "consent": _consent,
        "release": _release,
        "deliver": _deliver,
        "mislay": _mislay,
        "replay": _replay,
        "forge": _forge,
        "refuse": _refuse,
        "lose": _lose,
        "twice": _twice,
        "kill": _kill,
        "hold": _hold,
        "freeze": _freeze,
        "deploy": _deploy,
        "outage": _outage,
        "jump": _jump,
        "pass": _pass,
    }
)


def _some(world: World) -> Process | None:
    """Return one process that is up, or None."""
    return world.dice.pick(world.up) if world.up else None


def _one(world: World, wanted: Callable[[DataRequest], bool]) -> DataRequest | None:
    """Return one of the requests that callers know of, or None."""
    found = [world.oracle.records[name] for name in world.oracle.acknowledged]
    found = [request for request in found if wanted(request)]
    return world.dice.pick(found) if found else None
