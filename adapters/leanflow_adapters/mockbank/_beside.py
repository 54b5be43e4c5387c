"""Lean for a backend that is tried out: its own if it has keys, else a Mockbank beside it."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

from leanflow.mockbank import Mockbank
from leanflow_adapters.clock import SystemClock

from ._server import serve

__all__ = ["lean_or_mockbank"]

_LOADER = "/link/loader/prod/ae/latest/lean-link-loader.min.js"
_CDN = "https://cdn.leantech.me"


@contextmanager
def lean_or_mockbank(env: Mapping[str, str], webhooks: str, *, reference: str = "user-17") -> Iterator[dict[str, str]]:
    """Yield the settings of a backend, for trying it out: those of `env`, or a Mockbank's if there are no keys.

    Mockbank runs in a thread, with one user whose bank wants to see them again. Its settings: ``LEAN_APP``,
    ``LEAN_SECRET``, ``LEAN_WEBHOOK_SECRET``, ``LEAN_URL`` (where it listens; without it Lean's own hosts are meant),
    ``LEAN_SDK`` (the Link SDK's address), ``ENTITY_ID``, ``CUSTOMER_ID``, and ``STORE`` (a file that is gone
    afterwards). What `env` says itself, stays.

    Args:
        env: as `os.environ`.
        webhooks: where the backend takes Lean's webhooks.
        reference: the application's own id of the user.
    """
    if "LEAN_APP" in env:
        yield {"LEAN_SDK": _CDN + _LOADER, "STORE": "sqlite:///flows.db", **env}
        return
    ready: threading.Event = threading.Event()
    found: dict[str, str] = {}
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        async with _bank(webhooks, reference) as settings:
            found.update(settings)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), name="mockbank", daemon=True)
    with tempfile.TemporaryDirectory(prefix="leanflow-") as directory:
        thread.start()
        try:
            while not ready.wait(0.1):
                if not thread.is_alive():
                    raise RuntimeError("Mockbank did not start; what went wrong is said above")
            page = "{0.scheme}://{0.netloc}/".format(urlsplit(webhooks))
            sys.stdout.write(f"No LEAN_APP in the environment: Mockbank plays Lean at {found['LEAN_URL']}\n")
            sys.stdout.write(f"Open {page} and load the accounts. The bank wants its user: the code is 1111.\n")
            sys.stdout.flush()
            yield {"STORE": f"sqlite:///{directory}/flows.db", **found, **env}
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()


@asynccontextmanager
async def _bank(webhooks: str, reference: str) -> AsyncIterator[dict[str, str]]:
    """Run a Mockbank with one user whose session at the bank has ended; yield the settings of a backend."""
    clock = SystemClock()
    bank = Mockbank(now=clock.now())
    entity_id = bank.connect(reference, username="mockbank_user_3")
    bank.expire_session(entity_id)
    async with serve(bank, clock=clock) as server:
        server.webhook_url = webhooks
        yield {
            "LEAN_APP": bank.app,
            "LEAN_SECRET": bank.client_secret,
            "LEAN_WEBHOOK_SECRET": bank.webhook_secret,
            "LEAN_URL": server.base_url,
            "LEAN_SDK": server.base_url + _LOADER,
            "ENTITY_ID": entity_id,
            "CUSTOMER_ID": bank.customer_of(entity_id),
        }
