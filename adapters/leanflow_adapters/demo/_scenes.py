"""The story, scene by scene. A scene asks, disturbs, waits, and notes facts that must hold."""

from __future__ import annotations

import asyncio
from signal import SIGKILL

from leanflow import State
from leanflow.mockbank import Disturbance, Fault, Progress
from leanflow_adapters.demo._stage import BREATH, Stage
from leanflow_adapters.demo._verdict import Case

__all__ = ["REQUESTS", "tell_story"]

REQUESTS = 14
"""Requests that the whole story makes."""

FIVE = ("accounts", "identity", "balances", "transactions", "beneficiaries")


async def tell_story(stage: Stage) -> None:
    """Play all scenes. Two requests that need time are made first and looked at last.

    Raises:
        Trouble: something did not come as it must.
    """
    abandoned = await nobody_comes(stage)
    failing = await bank_fails(stage)
    await at_once(stage)
    await pending(stage)
    await wants_its_user(stage)
    await five_and_one_otp(stage)
    await disturbed(stage)
    await lost(stage)
    await killed(stage)
    await bank_recovers(stage, failing)
    await expires(stage, abandoned)


async def nobody_comes(stage: Stage) -> Case:
    """Hand out a prompt that nobody answers."""
    await stage.scene("A user who will not come back (in this demo a reconnect id lives 12 s, not 30 days)")
    entity_id = stage.customer("Omar")
    stage.loses_session(entity_id)
    case = await stage.ask(entity_id, "transactions", "nobody comes", end=State.expired)
    await stage.prompt(case)
    stage.tell("user", "closes the laptop")
    return case


async def bank_fails(stage: Stage) -> Case:
    """Let a bank time out; Lean says FAILED under HTTP 200."""
    await stage.scene("A bank that fails (the next try is in 5 s)")
    entity_id = stage.customer("Huda")
    stage.bank.fault(Fault.failed("TIMEOUT", entity_id=entity_id))
    return await stage.ask(entity_id, "balances", "bank failure")


async def at_once(stage: Stage) -> None:
    """Ask for what Lean has at hand."""
    await stage.scene("Answered at once")
    await stage.until(await stage.ask(stage.customer("Amal"), "accounts", "at once"), State.fetched)


async def pending(stage: Stage) -> None:
    """Ask for what takes Lean a moment: a webhook says when it is there."""
    await stage.scene("Lean needs a moment: PENDING")
    entity_id = stage.customer("Bilal")
    stage.bank.fault(Fault.pending(Progress.after(0.8), entity_id=entity_id))
    case = await stage.ask(entity_id, "transactions", "pending", days=240)
    await stage.until(case, State.fetched)


async def wants_its_user(stage: Stage) -> None:
    """The main job: the bank wants the user again."""
    await stage.scene("The bank wants the user again: RECONNECT_REQUIRED")
    entity_id = stage.customer("Dana")
    stage.loses_session(entity_id)
    case = await stage.ask(entity_id, "transactions", "wants its user")
    await stage.reconnects(case)
    await stage.until(case, State.fetched)


async def five_and_one_otp(stage: Stage) -> None:
    """One OTP proves the entity live, and its other requests are placed again."""
    await stage.scene("Five requests, one OTP")
    entity_id = stage.customer("Faris")
    stage.loses_session(entity_id)
    cases = await asyncio.gather(*(stage.ask(entity_id, what, f"five: {what}") for what in FIVE))
    await asyncio.gather(*(stage.until(case, State.reconnect_required) for case in cases))
    await stage.reconnects(cases[0])
    await asyncio.gather(*(stage.until(case, State.fetched) for case in cases))
    prompts = [(await stage.export(case))["request"].get("prompt_number", 0) for case in cases]
    stage.fact("five requests of one entity were unblocked by one prompt and one OTP", sum(prompts) == 1)


async def disturbed(stage: Stage) -> None:
    """Forged webhooks first, then the true ones in threes and in the wrong order."""
    await stage.scene("Forged, duplicated and reversed webhooks")
    entity_id = stage.customer("Ghada")
    stage.loses_session(entity_id)
    case = await stage.ask(entity_id, "accounts", "disturbed webhooks")
    reconnect_id, _ = await stage.prompt(case)
    before = await stage.export(case)
    answers = [
        await stage.forge("entity.reconnected", {"id": entity_id, "reconnect_id": reconnect_id}),
        await stage.forge("results.ready", {"id": before["request"]["results_id"]}),
    ]
    refused = answers == [401, 401] and await stage.export(case) == before
    stage.fact("forged webhooks were answered 401 and left no trace", refused)
    mark = stage.mark()
    stage.bank.disturb(Disturbance(types=frozenset({"entity.reconnected"}), copies=2, times=1))
    stage.bank.disturb(Disturbance(types=frozenset({"results.ready"}), copies=2, reverse=True, times=1))
    stage.types(reconnect_id)
    await stage.until(case, State.fetched)
    await stage.seen(lambda: len(stage.webhooks(mark)) >= 6, "all copies to be delivered")
    sent = stage.webhooks(mark)
    order = [hook.type for hook in sent]
    reversed_ = order.index("results.ready") < order.index("entity.reconnected")
    taken = len(sent) == 6 and all(hook.status == 200 for hook in sent)
    stage.fact("six webhooks, results.ready before entity.reconnected, were all answered 200", taken and reversed_)
    tags = [row["tag"] for row in (await stage.export(case))["history"]]
    once = tags.count("results_ready") == 1 and tags.count("entity_reconnected") == 1
    stage.fact("each of the two events is in the history once", once)


async def lost(stage: Stage) -> None:
    """Both webhooks are lost; Lean's list of sent events has them."""
    await stage.scene("Webhooks that never came")
    entity_id = stage.customer("Jamal")
    stage.loses_session(entity_id)
    case = await stage.ask(entity_id, "transactions", "lost webhooks")
    stage.bank.disturb(Disturbance(types=frozenset({"entity.reconnected"}), drop=True, times=1))
    stage.bank.disturb(Disturbance(types=frozenset({"results.ready"}), drop=True, times=1))
    reconnect_id, _ = await stage.prompt(case)
    stage.types(reconnect_id)
    await asyncio.sleep(BREATH)
    waits = (await stage.export(case))["request"]["state"] == State.awaiting_user
    news = 0
    if stage.sabotage != "reconcile":
        _, told = await stage.call("POST", "/reconcile")
        news = told["news"]
        stage.tell("backend", f"reconciled with Lean's Events API: {news} events were news")
    stage.fact("two lost webhooks were found in Lean's Events API, and no others", waits and news == 2)
    await stage.until(case, State.fetched)


async def killed(stage: Stage) -> None:
    """SIGKILL while one request awaits its user and another is being fetched."""
    await stage.scene("The backend is killed (SIGKILL), and started again on the same file")
    waiting_id, fetching_id = stage.customer("Khalid"), stage.customer("Lamia")
    stage.loses_session(waiting_id)
    waiting = await stage.ask(waiting_id, "identity", "killed: awaits its user")
    reconnect_id, _ = await stage.prompt(waiting)
    stage.bank.fault(Fault.pending(Progress.after(0.2), entity_id=fetching_id))
    stage.bank.fault(Fault.slow(6, on="results", entity_id=fetching_id))
    # Lean's answer is on its way when the power goes: that page is asked for a second time.
    fetching = await stage.ask(fetching_id, "transactions", "killed: being fetched", lost_pages=1)
    await stage.until(fetching, State.results_ready)
    await stage.seen(lambda: stage.bank.log.count("results", entity_id=fetching_id) >= 1, "the fetch to begin")
    held = (await stage.export(waiting))["request"]["state"] == State.awaiting_user
    status = await stage.backend.kill()
    stage.tell("demo", f"SIGKILL: the backend is dead (exit status {status})", style="bold red")
    stage.fact("the backend was killed by SIGKILL, in the middle of a fetch", held and status == -SIGKILL)
    mark = stage.mark()
    stage.types(reconnect_id)
    if stage.sabotage != "user":
        await stage.seen(lambda: len(stage.webhooks(mark)) >= 2, "webhooks to find nobody")
    await asyncio.sleep(BREATH)
    await stage.start_backend()
    missed = stage.backend.missed
    stage.tell("backend", f"reconciled at its start: {missed} events were missed")
    stage.fact("started again, it found the two webhooks that it had missed", missed == 2)
    await asyncio.gather(stage.until(waiting, State.fetched), stage.until(fetching, State.fetched))


async def bank_recovers(stage: Stage, case: Case) -> None:
    """Look at the request whose bank failed."""
    await stage.scene("What became of the bank's failure, and of the user who did not come back")
    await stage.until(case, State.fetched)
    calls = [c.status for c in stage.bank.log.calls if c.context.entity_id == case.entity_id]
    stage.fact("the bank's failure was retried, once", calls == ["FAILED", "OK"])


async def expires(stage: Stage, case: Case) -> None:
    """Wait for the end of the reconnect id; after it neither side lets the user in."""
    reconnect_id = (await stage.export(case))["request"]["reconnect_id"]
    await stage.until(case, State.expired, within=15.0)
    outcome = stage.types(reconnect_id)
    status, _ = await stage.call("POST", f"/requests/{case.request_id}/prompt")
    late = outcome is not None and outcome.status == "ERROR"
    stage.fact("who comes after the end is refused, by Lean and by the backend", late and status == 409)
