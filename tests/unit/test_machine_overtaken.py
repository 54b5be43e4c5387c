"""Answers of calls that another call overtook, or a webhook."""

from __future__ import annotations

from typing import Any

import pytest

from leanflow._effects import Reason
from leanflow._request import DataRequest, IdKind, State
from leanflow.events import Source
from leanflow.testing import examples as ex
from leanflow.testing.examples import declined, example_in, example_request, take

MOVED_ON = [State.reconnect_required, State.awaiting_user, State.reconnected, State.results_ready]


def taken_over(request: DataRequest) -> DataRequest:
    """The request after another worker claimed it for a call of its own."""
    return request.moved({"call_no": request.call_no + 1})


def test_an_overtaken_answer_with_data_is_taken() -> None:
    """An older call's data ends the request while nothing newer is known."""
    old = example_request()
    assert take(taken_over(old), ex.an_ok(old)).state is State.fetched


@pytest.mark.parametrize("make", [ex.a_pending, ex.a_reconnect])
def test_an_overtaken_answer_with_ids_is_taken(make: Any) -> None:
    """An older call's ids are the request's while it has none newer."""
    old = example_request()
    request = take(taken_over(old), make(old))
    assert request.results_id == "results-1"
    assert request.ids_call_no == 1


def test_an_overtaken_answer_after_newer_ids_is_stale_and_its_ids_are_kept() -> None:
    """Once a newer call brought ids the older one's are only remembered, so that their webhooks find an owner."""
    old = example_request()
    newer = taken_over(old)
    request = take(newer, ex.a_pending(newer, results_id="newer"))
    decision = declined(request, ex.a_reconnect(old, results_id="older", reconnect_id="r"))
    assert decision.reason is Reason.stale
    assert decision.ids == ((IdKind.results, "older"), (IdKind.reconnect, "r"))


def test_an_overtaken_refusal_is_stale_whatever_ids_it_names() -> None:
    """A refusal speaks for its own call only: the newer call may yet succeed. A FAILED envelope names a results id."""
    old = example_request()
    refusal = ex.a_refusal(old, "DATA_NOT_FOUND", results_id="refused")
    decision = declined(taken_over(old), refusal)
    assert decision.reason is Reason.stale
    assert decision.ids == ((IdKind.results, "refused"),)
    assert declined(taken_over(old), ex.a_silence(old)).reason is Reason.stale


@pytest.mark.parametrize("state", MOVED_ON)
def test_an_overtaken_answer_counts_only_in_requested(state: State) -> None:
    """Outside `requested` an older call's answer is stale, data too, even of a call after the one that brought ids."""
    request = taken_over(example_in(state))
    newer = taken_over(request)
    assert declined(newer, ex.an_ok(request)).reason is Reason.stale
    assert take(newer, ex.an_ok(newer)).state is State.fetched


def test_an_overtaken_call_speaks_once() -> None:
    """When the ids that the request has are of that very call, nothing more is taken from it."""
    old = example_request()
    request = taken_over(take(old, ex.a_pending(old)))
    assert declined(request, ex.an_ok(old)).reason is Reason.stale


def test_an_overtaken_wait_without_ids_is_stale() -> None:
    """It brings nothing that anything could be matched by."""
    old = example_request()
    assert declined(taken_over(old), ex.a_pending(old, results_id=None)).reason is Reason.stale


def test_an_answer_without_a_number_is_the_present_calls() -> None:
    """An event that the application vouches for need not know of calls."""
    request = take(taken_over(example_request()), ex.a_pending(example_request(), call_no=None))
    assert (request.results_id, request.ids_call_no) == ("results-1", 2)


@pytest.mark.parametrize("state", MOVED_ON)
def test_a_placements_answer_elsewhere_is_late_unless_it_is_data(state: State) -> None:
    """When a webhook was faster than the answer, the answer to the placement is late; data is never thrown away."""
    request = example_in(state)
    late = declined(request, ex.a_pending(request, source=Source.placement, results_id="second"))
    assert late.reason is Reason.late
    assert late.ids == ((IdKind.results, "second"),)
    assert take(request, ex.an_ok(request, source=Source.placement)).state is State.fetched


def test_an_answer_brings_only_ids_that_the_request_has_not() -> None:
    """Ids that it has are known to the store: neither stored nor looked for a second time."""
    request = example_request()
    waiting = take(request, ex.a_pending(request))
    again = declined(taken_over(waiting), ex.a_reconnect(waiting, results_id="results-1", reconnect_id="new"))
    assert again.ids == ((IdKind.reconnect, "new"),)
