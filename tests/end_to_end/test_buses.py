"""Buses over real brokers: the examples, and the small size of their torture.

``python -m tests.torture R26-nats bus-in-nats R15-out-nats R15-in-nats …`` plays the whole of it: 10,000 announcements
or webhooks each.
"""

from __future__ import annotations

import importlib.util
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from redis.asyncio import Redis

from leanflow.cloudevents import CloudEvent
from leanflow.ports import OutboxRow
from tests.support import kafka, nats, rabbitmq, redis
from tests.torture.__main__ import play
from tests.torture.brokers import BROKERS
from tests.torture.bus_poison import TRIES, behind_of, wrong_copies, wrong_flags, wrong_kept, wrong_listed
from tests.torture.buses import judge
from tests.torture.scenarios import SCENARIOS

EXAMPLES = Path(__file__).parents[2] / "examples"
WAY = ["requested", "reconnect_required", "awaiting_user", "reconnected", "results_ready", "fetched"]

needs_examples = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not part of the wheel")


def _loaded(example: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"examples_{example}", EXAMPLES / f"{example}.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _main(example: str) -> Callable[[str, str], Awaitable[None]]:
    main: Callable[[str, str], Awaitable[None]] = _loaded(example).main
    return main


@needs_examples
async def test_the_example_on_nats_goes_the_whole_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Webhooks come in from one stream, and each state is told once, in order, on another."""
    async with nats.connected():
        name = nats.fresh_name()
    try:
        await _main("nats_bus")(nats.URL, name)
    finally:
        await nats.drop(*(f"{name}-{what}" for what in ("announced", "webhooks", "leanflow-set-aside")))
    assert capsys.readouterr().out.splitlines() == [f"user-17: {state}" for state in WAY]


@needs_examples
async def test_the_example_on_redis_streams_goes_the_whole_way(capsys: pytest.CaptureFixture[str]) -> None:
    """The same."""
    name = await redis.fresh_prefix()
    try:
        await _main("redis_streams_bus")(redis.URL, name)
    finally:
        async with Redis.from_url(redis.URL) as client:
            keys = [key async for key in client.scan_iter(match=f"{name}:*", count=1000)]
            await client.delete(*keys)
    assert capsys.readouterr().out.splitlines() == [f"user-17: {state}" for state in WAY]


@needs_examples
async def test_the_example_on_rabbitmq_goes_the_whole_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Webhooks come in from a queue, and each state is told once, in order, in another."""
    async with rabbitmq.rabbit() as made:
        name = made.exchange
        try:
            await _main("rabbitmq_bus")(rabbitmq.URL, name)
        finally:
            await made.drop(f"{name}.announced", f"{name}.webhooks", f"{name}.webhooks.set-aside", f"{name}.heard")
    assert capsys.readouterr().out.splitlines() == [f"user-17: {state}" for state in WAY]


@needs_examples
async def test_the_example_on_kafka_goes_the_whole_way(capsys: pytest.CaptureFixture[str]) -> None:
    """The same, over a mock cluster."""
    kafka.require_kafka()
    with kafka.KafkaCluster() as cluster:
        for topic in ("lean.webhooks", "lean.announced"):
            cluster.topic(topic)
        await _main("kafka_bus")(",".join(cluster.servers), "lean")
    assert capsys.readouterr().out.splitlines() == [f"user-17: {state}" for state in WAY]


@needs_examples
async def test_the_example_on_faststream_goes_the_whole_way(capsys: pytest.CaptureFixture[str]) -> None:
    """The application starts, asks, hears of everything by its subscribers, and ends itself."""
    async with nats.connected():
        name = nats.fresh_name()
    make: Any = _loaded("faststream_app").make
    try:
        await make(nats.URL, name).run()
    finally:
        await nats.drop(name)
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("user-17")] == [
        f"user-17: {state}" for state in WAY
    ]


# --- torture -----------------------------------------------------------------------------------------------------


SCENES = ("R26", "R26-away", "bus-in", "R15-out", "R15-in")


# A node of RabbitMQ's own takes seconds to start, three times: here it is the one that is there, behind a wire.
@pytest.mark.parametrize(
    "name",
    [f"{what}-{broker}" for broker in BROKERS if broker != "rabbit" for what in SCENES],
)
async def test_nothing_is_lost_or_done_twice(name: str, tmp_path: Path) -> None:
    """The scenario's small size shows no violation of what is promised."""
    seed = random.SystemRandom().randrange(1_000_000)
    scenario = SCENARIOS[name]
    figure = await play(scenario, seed, scenario.fast, tmp_path, is_fast=True)
    if figure.skipped is not None:
        if os.environ.get("LEANFLOW_REQUIRE_SERVICES") == "1":
            pytest.fail(figure.skipped)
        pytest.skip(figure.skipped)
    again = f"python -m tests.torture {name} --fast --seed {seed}"
    assert not figure.violations, "\n".join([again, *figure.violations])
    assert figure.rounds >= scenario.fast
    assert figure.kills == (2 if name in {f"R26-{broker}" for broker in BROKERS} else 0)


def test_the_judge_finds_what_is_lost_changed_unknown_or_out_of_order() -> None:
    """And not the second copies, which brokers may have."""
    rows = [
        OutboxRow(key=f"r{n % 2}:{n // 2}:x", sink="bus", kind="change", request_id=f"r{n % 2}", payload=f'"{n}"')
        for n in range(6)
    ]
    told = [CloudEvent.of(row) for row in rows]
    assert judge(rows, told) == []
    assert judge(rows, [*told, *told]) == []
    assert judge(rows, told[:-1]) == ["R26: r1:2:x is lost"]
    assert judge(rows, [told[2], *told]) == ["R26: request r0 came as ['r0:1:x', 'r0:0:x', 'r0:2:x']"]
    assert judge(rows[1:], told)[0] == "R26: r0:0:x was never announced"
    assert judge(rows, [attrs.evolve(told[0], payload='"else"'), *told[1:]]) == ["R26: r0:0:x says something else"]


def test_the_judge_of_poison_finds_what_is_not_listed_told_twice_or_badly_marked() -> None:
    """And nothing wrong with what is right."""
    rows = [
        OutboxRow(key=f"r{n % 2}:{n // 2}:x", sink="bus", kind="change", request_id=f"r{n % 2}", payload=f'"{n}"')
        for n in range(6)
    ]
    poison = {"r0:1:x": "nowhere"}
    behind = behind_of(rows, poison)
    assert behind == {"r0:2:x"}
    told = [CloudEvent.of(attrs.evolve(row, skipped=row.key in behind)) for row in rows]
    assert wrong_copies(told) + wrong_flags(told, behind) == []
    assert wrong_copies([*told, told[0]]) == ["R15: r0:0:x was told 2 times"]
    assert wrong_flags(told, {"r1:2:x"}) == [
        "R15: r0:2:x says that it is out of order",
        "R15: r1:2:x does not say that it is out of order",
    ]
    aside = [attrs.evolve(rows[2], tries=TRIES, error="Refused", set_aside=True)]
    assert wrong_listed(aside, poison, "Refused") == []
    assert wrong_listed([], poison, "Refused") == ["R15: r0:1:x is not listed"]
    assert wrong_listed(aside, poison, "Other") == ["R15: r0:1:x was set aside after 4 tries for Refused"]
    assert wrong_listed(aside, {}, "Refused") == ["R15: r0:1:x was set aside after 4 tries for Refused"]
    assert wrong_kept(Counter([(b"x", "raised KeyError", TRIES)]), {b"x"}) == []
    assert wrong_kept(Counter([(b"x", "raised KeyError", 1)]), {b"x"}) == [
        "R15: b'x' is not listed",
        "R15: b'x' was set aside after 1 tries: raised KeyError",
    ]
