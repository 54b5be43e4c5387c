"""Bank data by messages alone: an application writes commands to NATS, and leanflow answers, and tells what came of it.

Run it with ``python examples/commands.py`` beside a NATS server with JetStream (NATS_URL). Lean is a Mockbank.
"""

from __future__ import annotations

import asyncio
import os

import nats
from nats.aio.client import Client

from leanflow import LeanFlow, State, cloudevents
from leanflow.commands import Command, CommandReply, Commands, Prompt, Request
from leanflow.mockbank import Mockbank
from leanflow_adapters import open_store
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.mockbank import MockbankTransport, deliver
from leanflow_adapters.nats import NatsBus


async def ask(client: Client, subject: str, command: Command) -> CommandReply:
    """Write a command and wait for the reply. Whoever hears none sends the same again: its key makes it one."""
    inbox = client.new_inbox()
    replies = await client.subscribe(inbox, max_msgs=1)
    await client.jetstream().publish(subject, command.to_bytes(), headers={"reply-to": inbox})
    return CommandReply.from_bytes((await replies.next_msg(timeout=30)).data)


async def application(client: Client, name: str, entity_id: str, bank: Mockbank) -> None:
    """Be the application: it knows subjects and JSON, and nothing of Lean."""
    announced = await client.subscribe(f"{name}.announced")
    wanted = Request(key="case-9", resource="accounts", entity_id=entity_id, reference="user-17")
    request = (await ask(client, f"{name}.commands", wanted)).request
    assert request is not None
    print(f"asked: {request.state}")
    reply = await ask(client, f"{name}.commands", Prompt(key="case-9/1", request_id=request.id))
    assert reply.prompt is not None
    print(f"prompt {reply.prompt.number}: Lean.reconnect({', '.join(sorted(reply.prompt.reconnect))})")
    bank.submit_otp(reply.prompt.reconnect["reconnect_id"], "1111")  # the user, in the browser
    message = await announced.next_msg(timeout=30)
    change = cloudevents.read(dict(message.headers or {}), message.data).change
    print(f"announced: {change.request.reference} is {change.to_state}", flush=True)


async def lean(bank: Mockbank, flows: LeanFlow, clock: SystemClock) -> None:
    """Be Lean: send the webhooks when they are due."""
    while True:
        await deliver(bank, flows.receive, clock.now())
        await clock.sleep(0.1)


async def main(url: str, name: str = "bank") -> None:
    """Run leanflow with its commands, Lean, and the application."""
    clock = SystemClock()
    bank = Mockbank(now=clock.now())
    entity_id = bank.connect("user-17")
    bank.expire_session(entity_id)  # the bank wants the user again
    told = f"{name}.announced"
    bus = NatsBus(
        servers=url, stream=f"{name}-announced", topic=told, subjects=[told], only={State.fetched}, create=True
    )
    flows = LeanFlow(
        store=open_store("memory:"),
        transport=MockbankTransport(bank, clock),
        webhook_secrets=[bank.webhook_secret],
        app=bank.app,
        bus=bus,
    )
    commands = bus.subscribe(
        f"{name}.commands", Commands(flows).receive, durable=f"{name}-leanflow", stream=f"{name}-commands"
    )
    async with flows, commands, await nats.connect(url) as client:
        sending = asyncio.create_task(lean(bank, flows, clock))
        await application(client, name, entity_id, bank)
        sending.cancel()


if __name__ == "__main__":
    asyncio.run(main(os.environ.get("NATS_URL", "nats://127.0.0.1:4222")))
