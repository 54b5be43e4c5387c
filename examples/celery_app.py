"""Bank accounts asked for by a Celery task: ``python -m examples.celery_app``.

It starts three kinds of process, and is the user itself: Celery's, which place requests; ``leanflow serve``, which
takes Lean's webhooks and does the work; Mockbank, unless Lean's keys are in the environment (LEAN_APP, LEAN_SECRET,
LEAN_WEBHOOK_SECRET). Celery's broker is the Redis on this machine, unless BROKER says otherwise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

from celery import Celery
from celery.signals import worker_process_shutdown

from leanflow import Change, Handlers, Resource, State
from leanflow.blocking import LeanFlow
from leanflow_adapters import open_store
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.mockbank import lean_or_mockbank

handlers = Handlers()


@handlers.on(State.fetched, resource=Resource.accounts, name="store-accounts")
def arrived(change: Change, flows: LeanFlow) -> None:
    """Use the data. Called at least once for each change: `change.key` tells a second time from the first."""
    results = flows.results(change.request.id)
    print(f"{len(results.items)} accounts for {change.request.reference}", flush=True)


def engine() -> LeanFlow:
    """Put the engine together. Nothing is opened before it is used: in Celery's children, after the fork."""
    env = os.environ
    name, url = env["LEAN_APP"], env.get("LEAN_URL")
    lean = LeanTransport(client_id=name, client_secret=env["LEAN_SECRET"], base_url=url, auth_url=url)
    store, secrets = open_store(env["STORE"]), [env["LEAN_WEBHOOK_SECRET"]]
    return LeanFlow(store=store, transport=lean, webhook_secrets=secrets, handlers=[handlers], app=name, workers=0)


def celery() -> Celery:
    """Put Celery together."""
    made = Celery(broker=os.environ.get("BROKER", "redis://127.0.0.1:6379/0"), set_as_current=False)
    made.conf.task_default_queue = os.environ.get("QUEUE", "leanflow-example")
    return made


if "LEAN_APP" in os.environ:
    flows, app = engine(), celery()

    @app.task(name="ask", acks_late=True)  # type: ignore[untyped-decorator]  # Celery has no types
    def ask(user: str, entity_id: str, customer_id: str, key: str) -> None:
        """Ask for a user's accounts. Celery may run it twice: by `key` the second time finds what the first made."""
        flows.request(Resource.accounts, entity_id=entity_id, customer_id=customer_id, reference=user, key=key)

    worker_process_shutdown.connect(lambda **_: flows.close(), weak=False)


@contextmanager
def started(*command: str) -> Iterator[None]:
    """Run a process of ours until the block ends."""
    process = subprocess.Popen([sys.executable, "-m", *command])  # noqa: S603 - as named below
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def main(port: str) -> None:
    """Place a request by a task, and be the user whom the bank wants."""
    celery_worker = ("celery", "-A", "examples.celery_app", "worker", "--pool", "prefork", "-c", "2", "-l", "ERROR")
    serving = ("leanflow_adapters.cli", "serve", "examples.celery_app:flows", "--workers", "1", "--port", port)
    with started(*serving), started(*celery_worker), engine() as own:
        celery().send_task("ask", ["user-17", os.environ["ENTITY_ID"], os.environ["CUSTOMER_ID"], "the first"])
        while not (found := list(own.find(reference="user-17"))):
            time.sleep(0.1)
        wanted = own.wait(found[0].id, timeout=60)
        print(f"the user is wanted: {wanted.state}", flush=True)
        log_in_at_the_bank(own.prompt(wanted.id).reconnect_id)
        print(f"and then: {own.wait(wanted.id, until={State.fetched}, timeout=60).state}", flush=True)
        while own.undelivered():  # until the handler has confirmed
            time.sleep(0.1)


def log_in_at_the_bank(reconnect_id: str) -> None:
    """Do what the user does in the browser, at Mockbank's page."""
    typed = json.dumps({"reconnect_id": reconnect_id, "otp": "1111"}).encode()
    url, headers = f"{os.environ['LEAN_URL']}/_mockbank/otp", {"content-type": "application/json"}
    urlopen(Request(url, typed, headers), timeout=20).close()  # noqa: S310 - loopback


if __name__ == "__main__":
    chosen = os.environ.get("PORT", "8000")
    with lean_or_mockbank(os.environ, f"http://127.0.0.1:{chosen}/lean/webhooks") as settings:
        os.environ.update(settings)
        main(chosen)
