"""Bank data out of the raw pages that were fetched.

Pages stay as Lean sent them until somebody asks; then numbers with a fraction become Decimal, never float.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

import attrs

from leanflow._lean.codec import json_loads
from leanflow._request import Resource
from leanflow.errors import MalformedBody
from leanflow.events import Page

__all__ = ["Results", "json_loads", "parse_page"]

# The member that holds the list (Lean docs, Data API). v2's identity is a list of identities, v1's the one object.
_LISTS: Mapping[Resource, str] = MappingProxyType(
    {
        Resource.identity: "identities",
        Resource.accounts: "accounts",
        Resource.balances: "balances",
        Resource.transactions: "transactions",
        Resource.identities: "identities",
        Resource.beneficiaries: "beneficiaries",
        Resource.direct_debits: "direct_debits",
        Resource.scheduled_payments: "scheduled_payments",
        Resource.standing_orders: "standing_orders",
    }
)
# In v1 these come as one object in the payload itself.
_SINGLE = frozenset({Resource.identity, Resource.balances})


@attrs.frozen(kw_only=True)
class Results:
    """What a request brought.

    Attributes:
        items: across all pages, in Lean's order; plain dicts, numbers with a fraction as Decimal.
        pages: as fetched, first to last.
    """

    items: tuple[dict[str, Any], ...] = attrs.field(default=(), repr=False)
    pages: tuple[Page, ...] = ()

    @classmethod
    def from_pages(cls, resource: Resource, pages: Sequence[Page]) -> Self:
        """Return the data of these pages.

        Args:
            resource: what was asked for.
            pages: first to last, v1 or v2.

        Raises:
            MalformedBody: a page is not what that resource's pages must be.
        """
        items = tuple(item for page in pages for item in parse_page(resource, page))
        return cls(items=items, pages=tuple(pages))


def parse_page(resource: Resource, page: Page) -> tuple[dict[str, Any], ...]:
    """Return the items of one page: v2's ``data`` or v1's ``payload``; of a refresh, the document itself.

    A page without its list is only taken for an empty one if it says itself that there is nothing.

    Raises:
        MalformedBody: it is not what that resource's pages must be.
    """
    body = json_loads(page.raw)
    if type(body) is not dict:
        raise MalformedBody("$", "an object")
    if resource is Resource.refresh:
        return (body,)
    path, data = "$.data", body.get("data")
    if data is None:
        path, data = "$.payload", body.get("payload")
    if type(data) is not dict:
        raise MalformedBody(path, "an object")
    name = _LISTS[resource]
    items = data.get(name)
    if items is None:
        if resource in _SINGLE and path == "$.payload":
            return (data,)
        if _says_empty(data):
            return ()
    return _objects(items, f"{path}.{name}")


def _objects(items: Any, path: str) -> tuple[dict[str, Any], ...]:
    if type(items) is not list:
        raise MalformedBody(path, "a list")
    for index, item in enumerate(items):
        if type(item) is not dict:
            raise MalformedBody(f"{path}[{index}]", "an object")
    return tuple(items)


def _says_empty(data: dict[str, Any]) -> bool:
    page = data.get("page")
    total = page.get("total_elements") if type(page) is dict else None
    return type(total) is int and total == 0
