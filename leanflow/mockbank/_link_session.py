"""A visit of a user to the Link SDK or to a bank's own site: how it began, where it is, what its page shows of it."""

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
        success_redirect_url, fail_redirect_url: where the user goes from the site of a bank that authorises there.
    """

    method: str
    language: str = "en"
    success_redirect_url: str | None = None
    fail_redirect_url: str | None = None
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
        problem: why it ended as ``rejected``.
        callback: what the SDK calls back with, once it has ended; at a bank's own site nobody is called back.
    """

    link_id: str
    parameters: LinkParameters
    screen: str
    customer: Customer | None = None
    bank: Bank | None = None
    user: TestUser | None = None
    wrong: int = 0
    problem: str | None = None
    callback: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class LinkView:
    """What the hosted page shows.

    Attributes:
        link_id: names the visit.
        method: ``connect`` or ``reconnect``.
        screen: ``banks``, ``permissions``, ``credentials``, ``otp`` or ``redirect`` while it goes on; ``success``,
            ``error``, ``closed`` or ``redirected`` once it has ended; ``invalid`` if it never began, because it was
            called wrongly. At a bank's own site: ``bank_login``, ``bank_approval``; then ``approved``, ``refused``,
            or ``rejected`` by the bank.
        language: ``en`` or ``ar``.
        banks: what there is to choose from, at ``banks``.
        bank: the chosen one: identifier, name, arabic_name, main_color, usable.
        permissions: what a connection grants.
        problem: Lean's word for what went wrong in the last step, as ``INVALID_MFA``; None: nothing.
        attempts_left: after that problem, if tries are counted.
        callback: what the SDK calls back with, once it has ended. A hint for a backend, never proof.
        return_url: where a bank's own site sends the user at the end, if the application said.
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
    return_url: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return attrs.asdict(self, recurse=False)
