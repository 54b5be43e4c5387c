"""The drift report: the same short script on a real sandbox and on a fresh Mockbank, and where their shapes differ."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aiohttp

from leanflow.errors import InvalidRequest

from ._report import Report, report
from ._script import Plan
from ._shapes import Difference
from ._sides import Credentials, RealSide, SimulatedSide
from ._steps import play

__all__ = ["Credentials", "Difference", "Report", "compare"]


async def compare(
    credentials: Credentials,
    base_url: str,
    *,
    auth_url: str = "",
    apis: Collection[str] = ("v2", "v1"),
    entity_id: str = "",
    reconnect: Callable[[str], Awaitable[None]] | None = None,
    **settings: Any,
) -> Report:
    """Ask a sandbox and a fresh Mockbank the same, and compare the shapes of their answers.

    It only reads at the sandbox, but for one customer that it creates there.

    Args:
        credentials: for the sandbox.
        base_url: the sandbox's API.
        auth_url: its token endpoint's host; empty: Lean's own for `base_url`, or the same.
        apis: ``v1``, ``v2`` or both.
        entity_id: whose data is asked for; empty: of a live one that is found.
        reconnect: is given a reconnect id if the entity wants its user, and returns when the user has been there; None:
            there is nobody, and data is not compared then.
        settings: of the Mockbank, as ``region="ksa"``.

    Raises:
        CallFailed: the sandbox did not answer, or gave no token.
        InvalidRequest: an address to which nothing should be sent, or a wrong setting.
    """
    wanted = tuple(api for api in ("v2", "v1") if api in apis)
    if len(wanted) != len(set(apis)) or not wanted:
        raise InvalidRequest("apis", "must be of v1 and v2")
    now = datetime.now(UTC)
    plan = Plan(apis=wanted, app_user_id=f"leanflow-compare-{uuid4()}", today=now.date(), entity_id=entity_id)
    async with aiohttp.ClientSession() as session:
        there = await play(RealSide(session, credentials, base_url, auth_url, reconnect), plan)
    here = SimulatedSide(
        now, bank_type=there.bank_type, user_wanted=there.user_wanted, user_comes=there.user_came, **settings
    )
    own = Plan(apis=wanted, app_user_id=plan.app_user_id, today=plan.today, entity_id=here.entity_id)
    return report(there, await play(here, own))
