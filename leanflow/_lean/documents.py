"""Read Lean's answers that are no events: lists of refreshes, the Events API, entities, customers, page counts.

Structured by cattrs into small frozen values, with strict hooks (cattrs alone would turn 12345 into "12345") and every
fault named by its path. cattrs is imported at first use, the converter built once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args, get_origin

import attrs

from leanflow._call import Answer
from leanflow._lean.codec import MAX_ID, array_items, identifier, json_loads
from leanflow._lean.times import parse_time
from leanflow._lean.webhooks import Webhook, event_of
from leanflow.errors import MalformedBody

if TYPE_CHECKING:
    import cattrs

__all__ = [
    "Consent",
    "Entity",
    "PageInfo",
    "RefreshInfo",
    "consent_lost",
    "parse_customer",
    "parse_entity",
    "parse_events_page",
    "parse_page_info",
    "parse_refreshes",
]

_LOST = frozenset({"REVOKED", "REJECTED", "EXPIRED", "SUSPENDED"})
_GONE = frozenset({"DELETED", "REMOVED"})
_NO_ENTITY = frozenset({404, 410})


@attrs.frozen(kw_only=True)
class PageInfo:
    """Where a page stands among its like. All counted from 0.

    Attributes:
        number: of this page.
        size: as asked for.
        total_elements: in all pages.
        total_pages: how many there are.
    """

    number: int = 0
    size: int | None = None
    total_elements: int | None = None
    total_pages: int = 1


@attrs.frozen(kw_only=True)
class RefreshInfo:
    """One refresh of an entity's data, as Lean lists it.

    Attributes:
        refresh_id: its id.
        entity_id: whose data.
        status: ``PENDING`` or ``FINISHED``; an open set.
        created_at: as Lean writes it.
    """

    refresh_id: str
    entity_id: str | None = None
    status: str | None = None
    created_at: str | None = None


@attrs.frozen(kw_only=True)
class Consent:
    """One consent of an entity.

    Attributes:
        consent_type: ``ACCOUNT_ACCESS`` or ``MULTI_PAYMENTS``; None: unstated.
        consent_status: Lean's: ``ACTIVE``, ``REVOKED``, ``REJECTED``.
        standard_consent_status: the bank's: ``AUTHORISED``, ``EXPIRED`` and more.
        expiration_date_time: as Lean writes it.
    """

    consent_type: str | None = None
    consent_status: str | None = None
    standard_consent_status: str | None = None
    expiration_date_time: str | None = None

    def lost(self, now: datetime) -> bool | None:
        """Return whether it no longer holds at `now`; None if it cannot be told.

        The end of its time is trusted first: the statuses have been seen to lag it by half a day.
        """
        ends = parse_time(self.expiration_date_time)
        if (ends is not None and now >= ends) or self.consent_status in _LOST:
            return True
        if self.standard_consent_status in _LOST:
            return None if self.consent_status == "ACTIVE" else True
        if self.consent_status == "ACTIVE" or self.standard_consent_status == "AUTHORISED":
            return False
        return None


@attrs.frozen(kw_only=True)
class Entity:
    """One entity: a customer's connection to a bank.

    Attributes:
        id: Lean's entity id.
        customer_id: whose it is.
        bank_identifier: at which bank.
        status: ``ACTIVE``, ``DELETED``, ``DISABLED`` or ``REMOVED``; only in some answers.
        consents: all it has had.
    """

    id: str
    customer_id: str | None = None
    bank_identifier: str | None = None
    status: str | None = None
    consents: tuple[Consent, ...] | None = None

    def consent_lost(self, now: datetime) -> bool:
        """Return whether it shows that no consent to its data holds at `now`."""
        if self.status in _GONE:
            return True
        verdicts = [c.lost(now) for c in self.consents or () if c.consent_type != "MULTI_PAYMENTS"]
        return bool(verdicts) and all(verdicts)


def parse_page_info(answer: Answer) -> PageInfo:
    """Return the page counts that an answer has at its top level or in ``data``; a single page if it has none.

    Raises:
        MalformedBody: it is no JSON object under HTTP 2xx, or the counts are no whole numbers.
    """
    body = _object(answer)
    data = body.get("data")
    if type(data) is dict and "page" in data:
        return _page_of(data, "$.data")
    return _page_of(body, "$")


def parse_refreshes(answer: Answer) -> tuple[RefreshInfo, ...]:
    """Return the refreshes that a GET of the list names, in Lean's order (the latest first).

    Raises:
        MalformedBody: it is not that list under HTTP 2xx; nothing is known then, and no refresh must be started.
    """
    listed: tuple[RefreshInfo, ...] = _structure(_object(answer).get("content"), tuple[RefreshInfo, ...], "$.content")
    return listed


def parse_events_page(
    answer: Answer, *, malformed: Callable[[MalformedBody], None] | None = None
) -> tuple[tuple[Webhook, ...], int]:
    """Return the webhooks that one page of the Events API tells of, and how many pages there are.

    The events are in Lean's order. Each has its own text as `raw`, and the key of its webhook if it has an event id.
    One that cannot be read is left out, because it must not hold up the others.

    Args:
        answer: of the Events API.
        malformed: called with what is wrong with each event that is left out.

    Raises:
        MalformedBody: the page as a whole cannot be read, or is not HTTP 2xx.
    """
    _check_success(answer)
    body, items = array_items(answer.body, "data")
    events: list[Webhook] = []
    for index, (item, raw) in enumerate(items):
        place = f"$.data[{index}]"
        try:
            events.append(event_of(_checked_object(item), raw))
        except MalformedBody as problem:
            if malformed is not None:
                malformed(MalformedBody(place + problem.path[1:], problem.expected))
    return tuple(events), _page_of(body, "$").total_pages


def parse_entity(answer: Answer) -> Entity:
    """Return the entity that a GET of it shows.

    Raises:
        MalformedBody: it is no entity under HTTP 2xx.
    """
    entity: Entity = _structure(_object(answer), Entity, "$")
    return entity


def consent_lost(answer: Answer, now: datetime) -> bool | None:
    """Return whether a GET of an entity shows its consent revoked or past its end at `now`.

    Returns:
        True: it shows that no consent holds. False: it does not show that: one holds, none is listed, the statuses are
        unknown or contradict each other, or there is no such entity (the data call itself will say so). None: the
        answer is another HTTP error; look again later.

    Raises:
        MalformedBody: it is HTTP 2xx and no entity.
    """
    if answer.status in _NO_ENTITY:
        return False
    if not _is_success(answer):
        return None
    return parse_entity(answer).consent_lost(now)


def parse_customer(answer: Answer) -> str:
    """Return the customer id of an answer that creates or shows one customer.

    Raises:
        MalformedBody: it is no customer under HTTP 2xx. (409 means that the customer is there: look it up.)
    """
    found = identifier(_object(answer), "customer_id")
    if found is None:
        raise MalformedBody("$.customer_id", "a string")
    return found


def _is_success(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _check_success(answer: Answer) -> None:
    if not _is_success(answer):
        raise MalformedBody("$", f"an answer under HTTP 2xx, not {answer.status}")


def _object(answer: Answer) -> dict[str, Any]:
    _check_success(answer)
    return _checked_object(json_loads(answer.body))


def _checked_object(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise MalformedBody("$", "an object")
    return value


def _page_of(body: dict[str, Any], path: str) -> PageInfo:
    page = body.get("page")
    if page is None:
        return PageInfo()
    info: PageInfo = _structure(page, PageInfo, f"{path}.page")
    return info


def _structure(value: Any, wanted: Any, path: str) -> Any:
    try:
        return _converter().structure(value, wanted)
    except Exception as fault:  # noqa: BLE001  (cattrs raises groups of whatever its hooks raise)
        problem = _first_problem(fault, path)
    raise problem  # outside the except clause: cattrs' errors hold the values


class _WrongTypeError(Exception):
    """A hook met something else than `expected`."""

    def __init__(self, expected: str) -> None:
        self.expected = expected
        super().__init__(expected)


def _first_problem(fault: Exception, path: str) -> MalformedBody:
    from cattrs import transform_error  # noqa: PLC0415  (its import is slow: only where it is needed)

    described = transform_error(fault, path=path, format_exception=_describe)
    expected, _, place = described[0].rpartition(" @ ")
    return MalformedBody(place or path, expected or "another shape")


def _describe(fault: BaseException, _wanted: type | None) -> str:
    if isinstance(fault, _WrongTypeError):
        return fault.expected
    if isinstance(fault, KeyError):
        return "a value (it is missing)"
    return "another type"


@functools.cache
def _converter() -> cattrs.Converter:
    """Return the one converter; building it generates code, so it is built once and when first needed."""
    import cattrs  # noqa: PLC0415  (its import is slow: only where it is needed)
    from cattrs.gen import make_dict_structure_fn  # noqa: PLC0415  (the same)

    converter = cattrs.Converter(detailed_validation=True)

    def structure_class(cls: type[Any]) -> Callable[[Any, Any], Any]:
        build = make_dict_structure_fn(cls, converter)

        def structure(value: Any, wanted: Any) -> Any:
            if type(value) is not dict:  # a list has members to look up too, as far as cattrs is concerned
                raise _WrongTypeError("an object")
            return build(value, wanted)

        return structure

    def is_tuple(wanted: Any) -> bool:
        return get_origin(wanted) is tuple

    def structure_tuple(value: Any, wanted: Any) -> Any:
        if type(value) is not list:  # an empty object would pass for an empty list
            raise _WrongTypeError("a list")
        element: Any = get_args(wanted)[0]
        listed: Any = list[element]
        return tuple(converter.structure(value, listed))

    converter.register_structure_hook(str, _strict_str)
    converter.register_structure_hook(int, _strict_int)
    converter.register_structure_hook_factory(attrs.has, structure_class)
    converter.register_structure_hook_func(is_tuple, structure_tuple)
    return converter


def _strict_str(value: Any, _wanted: Any) -> str:
    if type(value) is not str or not value or len(value) > MAX_ID or not value.isprintable():
        raise _WrongTypeError(f"a string of 1 to {MAX_ID} printable characters")
    return value


def _strict_int(value: Any, _wanted: Any) -> int:
    if type(value) is not int or value < 0:
        raise _WrongTypeError("a whole number from 0")
    return value
