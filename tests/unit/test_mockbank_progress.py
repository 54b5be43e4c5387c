"""Progress: how results, reconnects' results and refreshes come to their ends, set at every level."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from leanflow.errors import InvalidRequest
from leanflow.mockbank import MODELS, Fault, Mockbank, Pace, Progress
from tests.support.bank import BankClient

WAYS = [Progress.at_once(), Progress.after(30), Progress.polls(2), Progress.held()]


def ends(lean: BankClient, path: str, release: str) -> str:
    """Return how something comes to its end: what GETs say at once, after half a minute, and when released."""

    def look() -> str:
        said = lean.ask("GET", path)[1]["status"]
        return "." if said == "PENDING" else "x" if said in ("OK", "FINISHED") else f"?{said}"

    seen = look() + look() + look()
    if "x" in seen:
        return seen
    lean.later(seconds=30)
    seen += look()
    if "x" in seen:
        return seen
    lean.bank.release(release, lean.now)
    return seen + look()


def result(lean: BankClient, entity: str) -> str:
    """Let a call be answered PENDING."""
    said = lean.accounts(entity, **{"async": "true"})
    assert said["status"] == "PENDING"
    results_id: str = said["results_id"]
    return ends(lean, f"/data/v2/results/{results_id}", results_id)


def reconnect(lean: BankClient, entity: str) -> str:
    """Let a user reconnect."""
    lean.bank.expire_session(entity, lean.now)
    asked = lean.accounts(entity)["results_id"]
    assert lean.bank.submit_otp(asked, "1111", lean.now).status == "SUCCESS"
    return ends(lean, f"/data/v2/results/{asked}", asked)


def refresh(lean: BankClient, entity: str) -> str:
    """Let the stored data be refreshed."""
    refresh_id = lean.ask("POST", "/data/v2/refreshes", {"entity_id": entity})[1]["refresh_id"]
    return ends(lean, f"/data/v2/refreshes/{refresh_id}", refresh_id)


DO: dict[str, Callable[[BankClient, str], str]] = {"results": result, "reconnects": reconnect, "refreshes": refresh}
SEEN = dict(zip(map(str, WAYS), ("xxx", "...x", "..x", "....x"), strict=True))


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_can_make_every_progress(model: str, way: Progress) -> None:
    """By a setting, by a pace, and by a pace of one entity alone: each ends as it is told to."""
    by_setting = BankClient(**{f"{model}_progress": way.told()})
    assert DO[model](by_setting, by_setting.bank.connect()) == SEEN[str(way)]
    by_pace = BankClient()
    by_pace.bank.pace(Pace(model=model, progress=way))
    assert DO[model](by_pace, by_pace.bank.connect()) == SEEN[str(way)]
    by_entity = BankClient(**{f"{model}_progress": "at_once"})
    here, there = by_entity.bank.connect("a"), by_entity.bank.connect("b")
    by_entity.bank.pace(Pace(model=model, progress=way, entity_id=here))
    assert DO[model](by_entity, there) == "xxx"
    assert DO[model](by_entity, here) == SEEN[str(way)]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_one_call_can_have_a_progress_of_its_own(way: Progress) -> None:
    """By a fault, whatever the pace is; the next call goes by the pace again."""
    lean = BankClient(results_progress="held")
    entity = lean.bank.connect()
    lean.bank.pace(Pace(model="refreshes", progress="held"))
    lean.bank.fault(Fault.pending(way))
    lean.bank.fault(Fault.pending(way, on="refresh"))
    assert (result(lean, entity), refresh(lean, entity)) == (SEEN[str(way)], SEEN[str(way)])
    lean.later(days=2)
    assert (result(lean, entity), refresh(lean, entity)) == ("....x", "....x")


def test_the_pace_set_last_counts_until_it_is_disarmed() -> None:
    """A resource's pace over the one for all; disarmed, the one before counts again."""
    lean = BankClient()
    entity = lean.bank.connect()
    lean.bank.pace(Pace(model="results", progress="held"))
    last = lean.bank.pace(Pace(model="results", progress="at_once", resource="accounts"))
    assert result(lean, entity) == "xxx"
    said = lean.ask("GET", "/data/v2/identity", entity_id=entity, **{"async": "true"})[1]
    assert lean.ask("GET", f"/data/v2/results/{said['results_id']}")[1]["status"] == "PENDING"
    assert lean.bank.disarm(last)
    assert not lean.bank.disarm(last)
    assert result(lean, entity) == "....x"
    lean.bank.calm()
    assert lean.bank.armed() == {}


@pytest.mark.parametrize("model", MODELS)
def test_a_pace_can_be_aimed_at_a_bank(model: str) -> None:
    """What is of its entities goes so, what is of others goes as before; a bank that there is not is refused."""
    lean = BankClient()
    here, there = lean.bank.connect("a", bank="LEANMB1"), lean.bank.connect("b", bank="MOCK_UAE")
    lean.bank.pace(Pace(model=model, progress="at_once"))
    lean.bank.pace(Pace(model=model, progress="held", bank="LEANMB1"))
    assert [DO[model](lean, entity) for entity in (here, there)] == ["....x", "xxx"]
    with pytest.raises(InvalidRequest, match="bank: 'NOPE' is none of"):
        lean.bank.pace(Pace(model=model, progress="held", bank="NOPE"))


def test_the_calm_releases_what_is_held() -> None:
    """A result by polls, a held one and a held refresh are done, and their webhooks are due."""
    lean = BankClient()
    entity = lean.bank.connect()
    for progress in (Progress.held(), Progress.polls(9)):
        lean.bank.fault(Fault.pending(progress))
        lean.accounts(entity)
    lean.bank.fault(Fault.pending(Progress.held(), on="refresh"))
    lean.ask("POST", "/data/v2/refreshes", {"entity_id": entity})
    lean.webhooks()
    lean.later(days=1)
    assert lean.webhooks() == []
    lean.bank.calm(lean.now)
    assert [one["type"] for one in lean.webhooks()] == ["results.ready", "results.ready", "entity.data.refresh.updated"]
    assert {one["status"] for one in lean.bank.state()["results"]} == {"OK"}


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_progress_reads_as_it_is_told(way: Progress) -> None:
    """`of` takes what `told` gives, and a pace's line makes the pace."""
    assert Progress.of(way.told()) == way
    pace = Pace(model="results", progress=way, resource="accounts", entity_id="x", bank="LEANMB1")
    assert Pace.parse(str(pace)) == pace
    assert Progress.after(timedelta(minutes=1)) == Progress.after(60)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Progress.after(-1),
        lambda: Progress.polls(0),
        lambda: Progress.polls(1.5),  # type: ignore[arg-type]  # wrong
        lambda: Progress.of("soon"),
        lambda: Progress.of({"after": "soon"}),
        lambda: Progress.of({"after": 1, "polls": 1}),
        lambda: Progress.of(3),
        lambda: Pace(model="weather", progress="held"),
        lambda: Pace.of({"model": "results"}),
        lambda: Pace.parse("model = 'results', progress = 'held', colour = 'red'"),
        lambda: Mockbank(results_progress="soon"),
    ],
)
def test_a_progress_that_makes_no_sense_is_refused(make: Callable[[], object]) -> None:
    """With InvalidRequest, wherever it is said."""
    with pytest.raises(InvalidRequest):
        make()
