"""Paths as tests, the coverage of transitions, and the timelines of failures: in runs of their own."""

from __future__ import annotations

from pathlib import Path

from tests.plugin.conftest import Run

AUTO = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")

PATHS = """
class Shop:
    def __init__(self):
        self.letters, self.kept = [], []
        self.handlers = Handlers()
        self.handlers.on(State.reconnect_required, name="write")(self.write)
        self.handlers.on(State.fetched, name="keep")(self.keep)

    async def write(self, change, flows):
        self.letters.append(change.key)

    async def keep(self, change, flows):
        self.kept.append(len((await flows.results(change.request.id)).items))

@pytest.fixture
def shop():
    return Shop()

@pytest.fixture
def leanflow_handlers(shop):
    return shop.handlers

@pytest.mark.leanflow_paths(to=State.fetched, covering="states")
async def test_kept(flows, leanflow_path, shop):
    await leanflow_path.play(flows)
    assert shop.kept == [1]
    wanted = sum(s.after.state == "reconnect_required" != s.before.state for s in leanflow_path.steps)
    assert len(shop.letters) == wanted
"""


def test_a_mark_makes_a_test_of_each_path(run: Run) -> None:
    """Each has the path's name, and drives the user's handlers through the `flows` of the plugin, Mockbank and all."""
    said = run("-vv", *AUTO, modules=[PATHS], passed=3)
    assert "test_kept[requested-reconnect_required-awaiting_user-" in said


def test_a_mark_that_cannot_be_is_told(run: Run) -> None:
    """A state that there is not, a word too many, a test that does not take the path."""
    takes = "@pytest.mark.leanflow_paths({})\ndef test_it({}): ...\n"
    for mark, takes_path, why in (
        ('to="done"', "leanflow_path", "leanflow_paths: to: must be of requested"),
        ("too=1", "leanflow_path", "unexpected keyword argument 'too'"),
        ('to="fetched"', "", "a test with the mark leanflow_paths takes leanflow_path"),
    ):
        said = run(*AUTO, modules=[takes.format(mark, takes_path)], errors=1)
        assert why in said


COVERED = """
async def test_a_failure(flows, mockbank):
    from leanflow.mockbank import Fault
    mockbank.fault(Fault.failed("DATA_NOT_FOUND"))
    request = await flows.request("accounts", entity_id=mockbank.connect(username="mockbank_user_1"))
    assert request.state is State.failed
"""


def test_what_a_suite_never_did_is_told(run: Run, tmp_path: Path) -> None:
    """In the terminal row by row, in a page with a diagram; paths alone take all of it."""
    page = tmp_path / "coverage.md"
    options = (*AUTO, "--leanflow-coverage", f"--leanflow-coverage-report={page}")
    said = run(*options, modules=[COVERED], passed=1)
    assert "1 of 102 transitions taken, 1 of 36 rows" in said
    lines = [line.split() for line in said.splitlines()]
    states = ["from", "requested,", "reconnect_required,", "awaiting_user,", "reconnected,", "results_ready"]
    assert ["answered_ok", "->", "fetched", *states] in lines
    assert ["answered_refused", "->", "failed", *states[:1], *states[2:]] in lines
    text = page.read_text(encoding="utf-8")
    assert "requested --> fetched: ✗ answered_ok" in text
    assert "requested --> failed: ✗ answered_reconnect | answered_refused | " in text
    assert "|  | `answered_refused` |  | `requested` | `failed` | 1 |" in text
    assert "| ✗ | `answered_ok` |  | `requested` | `fetched` | 0 |" in text


def test_paths_take_everything(run: Run) -> None:
    """A suite of one test with every path has nothing left to be told."""
    everything = "async def test_it(flows, leanflow_path):\n    await leanflow_path.play(flows)\n"
    said = run(*AUTO, "--leanflow-coverage", modules=[everything], passed=73)
    assert "102 of 102 transitions taken, 36 of 36 rows" in said
    assert "never taken" not in said


FAILING = """
async def test_fails(flows, mockbank, leanflow_clock):
    entity = mockbank.connect(username="mockbank_user_1")
    mockbank.expire_session(entity)
    request = await flows.request("accounts", entity_id=entity, reference="user-17")
    await flows.callback(request.id, {"status": "SUCCESS"}, prompt=9)
    assert request.state is State.fetched

async def test_passes(flows, mockbank):
    await flows.request("accounts", entity_id=mockbank.connect(username="mockbank_user_1"), reference="quiet")

def test_has_no_requests():
    assert False
"""


def test_a_failure_shows_the_timelines_of_its_requests(run: Run) -> None:
    """What moved each, what declined it, and what is next; nothing where nothing was touched."""
    said = run(*AUTO, modules=[FAILING], passed=1, failed=2)
    assert said.count("leanflow requests") == 1
    assert ", reference user-17: accounts of " in said
    assert "requested -> reconnect_required" in said
    assert "declined: stale" in said
    assert "next: probe at " in said
    assert "quiet" not in said


CROWD = """
async def test_fails(flows, mockbank):
    entity = mockbank.connect(username="mockbank_user_1")
    for number in range(12):
        request = await flows.request("accounts", entity_id=entity)
        raw = b'{"type": "entity.created", "payload": {"id": "e"}, "event_id": "1"}'
    assert False
"""


def test_many_requests_do_not_bury_the_failure(run: Run) -> None:
    """Ten timelines at most, and how many more there are."""
    said = run(*AUTO, modules=[CROWD], failed=1)
    assert said.count("now fetched") == 10
    assert "and 2 more requests" in said


DUPLICATE = """
async def test_fails(flows, mockbank, leanflow_clock):
    from leanflow import sign
    entity = mockbank.connect(username="mockbank_user_1")
    mockbank.expire_session(entity)
    request = await flows.request("accounts", entity_id=entity)
    raw = ('{"type": "results.ready", "event_id": "1", "payload": {"id": "%s"}}' % request.results_id).encode()
    for _ in range(2):
        await flows.receive({"lean-signature": sign(mockbank.webhook_secret, raw)}, raw)
    assert False
"""


def test_a_duplicate_is_shown_too(run: Run) -> None:
    """The history has no row for it; the timeline of a failing test does."""
    said = run(*AUTO, modules=[DUPLICATE], failed=1)
    assert "declined: duplicate" in said
