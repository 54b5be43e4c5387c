"""The peer on Postgres: the same flow as a workflow of DBOS, in a process of its own.

``python -m benchmarks._postgres_dbos FLOWS CALLERS`` prints the seconds per flow.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from typing import Any
from uuid import uuid4

from dbos import DBOS

from benchmarks._ours import OK, many
from benchmarks._postgres import URL, do

__all__ = ["measure"]


@DBOS.step()
async def place(number: int) -> dict[str, Any]:
    """Place the call at Lean."""
    return {"status": "RECONNECT_REQUIRED", "results_id": f"r{number}"}


@DBOS.step()
async def fetch(results_id: str) -> str:
    """Fetch the results from Lean."""
    return (OK % results_id.encode()).decode()


@DBOS.workflow()
async def flow(number: int) -> str:
    """Request, RECONNECT_REQUIRED, prompt, entity.reconnected, results.ready, fetch."""
    placed = await place(number)
    await DBOS.set_event_async("prompt", placed)
    assert await DBOS.recv_async("reconnected", timeout_seconds=600) is not None
    assert await DBOS.recv_async("ready", timeout_seconds=600) is not None
    return await fetch(placed["results_id"])


async def whole_flow(number: int) -> None:
    """Be the application, the user and Lean for one flow."""
    handle = await DBOS.start_workflow_async(flow, number)
    prompt = await DBOS.get_event_async(handle.workflow_id, "prompt", timeout_seconds=600)
    assert prompt is not None
    await DBOS.send_async(handle.workflow_id, "yes", topic="reconnected")
    await DBOS.send_async(handle.workflow_id, "yes", topic="ready")
    assert await handle.get_result()


async def run(flows: int, callers: int) -> float:
    """Return the seconds per flow."""
    await many(min(callers, flows), callers, whole_flow)  # threads and connections are made
    start = time.perf_counter()
    await many(flows, callers, whole_flow)
    return (time.perf_counter() - start) / flows


def child(flows: int, callers: int) -> None:
    """Measure in this process."""
    schema = f"dbos_{uuid4().hex}"
    DBOS(
        config={
            "name": "peer",
            "system_database_url": URL.replace("postgresql://", "postgresql+psycopg://"),
            "dbos_system_schema": schema,
            "log_level": "ERROR",
            "enable_otlp": False,
        }
    )
    logging.getLogger("dbos").setLevel(logging.ERROR)
    try:
        DBOS.launch()
        print(f"seconds {asyncio.run(run(flows, callers))}")
        DBOS.destroy()
    finally:
        asyncio.run(do(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'))


def measure(flows: int, callers: int) -> float:
    """Return DBOS's seconds per flow."""
    out = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-W", "ignore", "-m", "benchmarks._postgres_dbos", str(flows), str(callers)],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(out.stdout.rpartition("seconds ")[2])


if __name__ == "__main__":
    child(int(sys.argv[1]), int(sys.argv[2]))
