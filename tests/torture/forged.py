"""R12 and R13: webhooks that nobody vouches for, and old ones that come again."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

from leanflow import sign
from tests.torture.drive import drive
from tests.torture.figures import Run
from tests.torture.invariants import check
from tests.torture.lean import SECRET
from tests.torture.world import World

__all__ = ["forgeries", "replays"]

_AT_ONCE = 32
_SPANS = (timedelta(hours=1), timedelta(days=31), timedelta(days=58), timedelta(days=2))  # 1 h, 31 d, 89 d, 91 d


async def forgeries(run: Run) -> None:
    """R12: `rounds` changes of body or signature: each is answered 401, and nothing is stored."""
    async with run.world() as world:
        await world.start()
        room = asyncio.Semaphore(_AT_ONCE)
        statuses: Counter[int] = Counter()

        async def one(number: int) -> None:
            raw, signatures = _forged(world, number)
            headers = [("Content-Type", "application/json"), *(("lean-signature", each) for each in signatures)]
            async with room:
                statuses[await world.send_raw(raw, headers)] += 1

        await asyncio.gather(*(one(number) for number in range(run.rounds)))
        problems = [f"R12: {n} forgeries were answered {status}" for status, n in statuses.items() if status != 401]
        problems += await world.settle()
        problems += await world.close()
        inbox = world.base.read().inbox
        problems += [f"R12: {len(inbox)} rows are in the inbox"] if inbox else []
        run.add(world, problems + check(world))
    run.figure.rounds = run.rounds


def _forged(world: World, number: int) -> tuple[bytes, list[str]]:
    """Return a body, and the signatures that go with it: not one pair of them is true."""
    dice = world.dice
    raw = b'{"type":"results.ready","event_id":"%d","payload":{"id":"%d"}}' % (number, dice.randrange(10**9))
    good = sign(SECRET, raw)
    at = dice.randrange(len(raw))
    match number % 8:
        case 0:
            return raw[:at] + bytes([raw[at] ^ 1 << dice.randrange(8)]) + raw[at + 1 :], [good]
        case 1:
            return raw[:at], [good]
        case 2:
            return raw[:at] + b" " + raw[at:], [good]
        case 3:
            return raw, [sign("another secret", raw)]
        case 4:
            return raw, []
        case 5:
            return raw, [good, sign("another secret", raw)]
        case 6:
            return raw, [good[: dice.randrange(len(good))]]
        case _:
            at = dice.randrange(len(good))
            return raw, [good[:at] + chr(ord(good[at]) ^ 1) + good[at + 1 :]]


async def replays(run: Run) -> None:
    """R13: all webhooks of `rounds` requests that have ended, again after 1 h, 31, 89 and 91 days: 200, no effect."""
    async with run.world() as world:
        await world.start()
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(number: int) -> None:
            async with room:
                await drive(world, f"{('user', 'pend')[number % 2]}-{number}")

        await asyncio.gather(*(one(number) for number in range(run.rounds)))
        problems = await world.settle()
        before = [await world.do("get", id=request_id) for request_id in world.acknowledged.values()]
        for span in _SPANS:
            await world.shift(span)
            statuses = Counter([await world.post(sent) for sent in list(world.lean.sent.values())])
            problems += [f"R13: {n} were answered {status}" for status, n in statuses.items() if status != 200]
        after = [await world.do("get", id=request_id) for request_id in world.acknowledged.values()]
        if [each["version"] for each in before] != [each["version"] for each in after]:
            problems.append("R13: a request moved")
        problems += await world.settle()
        problems += await world.close()
        run.add(world, problems + check(world))
    run.figure.rounds = run.rounds * len(_SPANS)
