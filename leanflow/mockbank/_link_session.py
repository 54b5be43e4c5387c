"""One visit of a user to the Link SDK: what it was opened with, where it is, and what the hosted page shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ._settings import TestUser
from ._state import Customer
from .countries._country import Bank

__all__ = ["Link", "LinkParameters", "LinkView"]


@attrs.frozen(kw_only=True)
class LinkParameters:
    """What `Lean.connect` or `Lean.reconnect` was called with, checked. What changes nothing here is not kept.

    Attributes:
        method: ``connect`` or ``reconnect``.
        language: ``en`` or ``ar``.
    """

    method: str
    language: str = "en"
    customer_id: str = ""
    permissions: tuple[str, ...] = ()
    bank_identifier: str | None = None
    reconnect_id: str = ""
    access_token: str | None = attrs.field(default=None, repr=False)


@attrs.define(kw_only=True)
class Link:
    """One visit.

    Attributes:
        screen: see `LinkView.screen`.
        wrong: attempts that failed at the present screen; a reconnect counts its wrong codes itself.
        callback: what the SDK calls back with, once it has ended.
    """

    link_id: str
    parameters: LinkParameters
    screen: str
    customer: Customer | None = None
    bank: Bank | None = None
    user: TestUser | None = None
    wrong: int = 0
    callback: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class LinkView:
    """What the hosted page shows.

    Attributes:
        link_id: names the visit.
        method: ``connect`` or ``reconnect``.
        screen: ``banks``, ``permissions``, ``credentials`` or ``otp`` while it goes on; ``success``, ``error`` or
            ``closed`` once it has ended; ``invalid`` if it never began, because it was called wrongly.
        language: ``en`` or ``ar``.
        banks: what there is to choose from, at ``banks``.
        bank: the chosen one: identifier, name, arabic_name, main_color, usable.
        permissions: what a connection grants.
        problem: Lean's word for what went wrong in the last step, as ``INVALID_MFA``; None: nothing.
        attempts_left: after that problem, if tries are counted.
        callback: what the SDK calls back with, once it has ended. A hint for a backend, never proof.
    """

    link_id: str
    method: str
    screen: str
    language: str = "en"
    banks: tuple[Mapping[str, Any], ...] = ()
    bank: Mapping[str, Any] | None = None
    permissions: tuple[str, ...] = ()
    problem: str | None = None
    attempts_left: int | None = None
    callback: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return attrs.asdict(self, recurse=False)
