"""A page that loads accounts through a reconnect, with everything around it: ``python -m examples.reconnect_page``.

Starts Mockbank (Lean, its banks and its Link SDK), connects a user whose bank wants to see them again, and the
backend. Against Lean's sandbox only the addresses and the credentials would be others.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from leanflow import LeanFlow
from leanflow.mockbank import Mockbank
from leanflow_adapters import open_store
from leanflow_adapters.clock import SystemClock
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.mockbank import MockbankServer, serve

from .backend import User, handlers, make_app

SDK = "/link/loader/prod/ae/latest/lean-link-loader.min.js"  # on Lean's host: https://cdn.leantech.me


@contextlib.asynccontextmanager
async def running(directory: Path, port: int = 0) -> AsyncIterator[tuple[str, MockbankServer]]:
    """Run it all; give the page's address and Mockbank."""
    clock = SystemClock()
    bank = Mockbank(now=clock.now())
    entity_id = bank.connect("user-17", username="mockbank_user_3")
    bank.expire_session(entity_id)
    async with serve(bank, clock=clock) as lean:
        flows = LeanFlow(
            store=open_store(f"sqlite:///{directory}/flows.db"),
            transport=LeanTransport(
                client_id=bank.app, client_secret=bank.client_secret, base_url=lean.base_url, auth_url=lean.auth_url
            ),
            webhook_secrets=[bank.webhook_secret],
            handlers=handlers,
            app=bank.app,
        )
        user = User(reference="user-17", entity_id=entity_id, customer_id=bank.customer_of(entity_id))
        app = make_app(flows, user, lean.base_url + SDK)
        runner = web.AppRunner(app, shutdown_timeout=1, handler_cancellation=True)  # a tab that went away is not served
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            lean.webhook_url = f"{url}/lean/webhooks"
            yield url, lean
        finally:
            await runner.cleanup()


async def main() -> None:
    """Run it until Ctrl-C."""
    with tempfile.TemporaryDirectory() as directory:
        async with running(Path(directory), port=8000) as (url, lean):
            print(f"The page:  {url}   (in Arabic: {url}/?lang=ar)   The bank's code is 1111.")
            print(f"Mockbank:  {lean.base_url}   Ctrl-C ends it.", flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
