"""`leanflow mockbank`: its options, its scenario files, and its log."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner

from leanflow.mockbank import Disturbance, Fault, Mockbank
from leanflow_adapters.cli._app import app
from leanflow_adapters.cli._mockbank_log import LiveLog
from tests.support.bank import BankClient
from tests.support.processes import PATIENCE

COMMAND = (sys.executable, "-m", "leanflow_adapters.cli", "mockbank", "--port", "0")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "x"], "--port"),
        (["--port", "65536"], "--port"),
        (["--clock", "fast"], "hand"),
        (["--scale", "0"], "--scale"),
        (["--scale", "2", "--clock", "hand"], "--scale has no meaning with --clock hand"),
        (["--scale", "2", "--clock", "real"], "--scale has no meaning with --clock real"),
        (["--storm", "soon"], "--storm"),
        (["--weight", "2"], "--weight: needs a storm"),
        (["--weight", "-1", "--storm", "1"], "--weight"),
        (["--fault", "effect"], "no line of TOML"),
        (["--fault", "effect='bang'"], "'bang' is none of"),
        (["--fault", "effect='failed', entity_id='bob'"], "'bob' is none of those connected"),
        (["--disturb", "drop='yes'"], "drop: is 'yes'; must be true or false"),
        (["--pace", "model='results', progress='soon'"], "progress: is 'soon'"),
        (["--disturb", "drop=true, bank='NOPE'"], "disturbances[0].bank: 'NOPE' is none of LEANMB1"),
        (["--disturb", "drop=true, resource='NOPE'"], "resource: is 'NOPE'; must be one of identity"),
        (["--pace", "model='results', progress='held', bank='NOPE'"], "paces[0].bank: 'NOPE' is none of"),
        (["--set", "redirect_banks=['NOPE']"], "redirect_banks: 'NOPE' is none of LEANMB1"),
        (["--set", "colour='red'"], "colour: is no setting"),
        (["--set", "idle='soon'"], "idle: is 'soon'"),
        (["--region", "mars"], "--region"),
        (["--webhook-url", "localhost"], "http://"),
        (["--connect", "a", "--connect", "a"], "connect[1]"),
        (["--scenario", "nowhere.toml"], "nowhere.toml: cannot be read: No such file or directory"),
        (["--scenario", "."], ".: cannot be read: Is a directory"),
        (["--scenario", "bad.toml"], "bad.toml: faults[1].effect: 'bang' is none of"),
        (["--scenario", "binary.toml"], "is no text in UTF-8"),
    ],
)
def test_what_is_wrong_is_told_with_exit_status_2(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that names option, file and key; nothing is served."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text('faults = [{effect = "failed"}, {effect = "bang"}]')
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    done = CliRunner().invoke(app, ["mockbank", "--port", "0", *arguments])
    assert done.exit_code == 2, done.output
    assert words in done.output
    assert "Traceback" not in done.output


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command until the block ends."""
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def heard(process: subprocess.Popen[str], pattern: str) -> str:
    """Read until a line matches; return what its group caught."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if found := re.search(pattern, line):
            return found[1]
    pytest.fail(f"never said {pattern!r}:\n{''.join(lines)}")


def ask(url: str, app_id: str, body: dict[str, Any] | None = None) -> Any:
    """Make one call; return status and parsed body."""
    raw = None if body is None else json.dumps(body).encode()
    headers = {"lean-app-token": app_id}
    try:
        with urlopen(Request(url, raw, headers), timeout=PATIENCE) as answer:  # noqa: S310 - loopback
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_a_scenario_and_options_are_laid_over_each_other(tmp_path: Path) -> None:
    """The file says much, options add to it and win; the log shows calls, what struck, and ends when told to."""
    (tmp_path / "day.toml").write_text('faults = [{effect = "failed", times = "always"}]\n[settings]\nseed = 3\n')
    scenario = ["--scenario", str(tmp_path / "day.toml"), "--seed", "4", "--app", "shop", "--connect", "anna"]
    more = ["--fault", "effect='slow', seconds=0", "--clock", "hand", "--storm", "1", "--weight", "0"]
    with running(*scenario, *more) as process:
        url = heard(process, r"^base url +(\S+)")
        assert heard(process, r"^seed +(\d+)") == "4"
        assert heard(process, r"^clock +(.*)") == "moved by hand, at 2026-01-01 08:00:00"
        entity = heard(process, r"^entity id +(\S+)")
        assert heard(process, r"^armed 2 +(.*)") == '{ effect = "slow", seconds = 0 }'
        assert heard(process, r"^storm +(.*)") == "seed 1, weight 0"
        assert ask(f"{url}/data/v2/accounts?entity_id={entity}", "shop")[1]["status"] == "FAILED"
        assert heard(process, r"GET +/data/v2/accounts +(.*)").split() == [
            entity[:8], "200", "FAILED", "fault:", "slow+failed",
        ]  # fmt: skip
        told = ask(f"{url}/_mockbank/advance", "shop", {"seconds": 3600})[1]
        assert told == {"now": "2026-01-01T09:00:00+00:00"}
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0


def test_a_call_that_sleeps_does_not_keep_the_command_from_ending() -> None:
    """At SIGTERM it goes, whatever waits on its clock."""
    with running("--app", "shop", "--clock", "hand", "--fault", "effect='slow', seconds=3000, on='banks'") as process:
        url = heard(process, r"^base url +(\S+)")
        code = f"import urllib.request as u; u.urlopen(u.Request('{url}/banks/v1'))"
        with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as client:
            heard(process, r"(GET) +/banks/v1")
            process.terminate()
            process.communicate(timeout=PATIENCE)
            assert process.returncode == 0
            assert client.wait(timeout=PATIENCE) != 0


def test_the_log_tells_what_struck(capsys: pytest.CaptureFixture[str]) -> None:
    """Calls and webhooks in columns, each with the fault or the disturbance that struck it; each only once."""
    lean = BankClient()
    log = LiveLog(lean.bank.log, as_json=False)
    lean.bank.disturb(Disturbance(copies=1, nanoseconds=True, times=1))
    entity = lean.bank.connect()
    lean.webhooks(status=None)
    lean.bank.disturb(Disturbance(drop=True, times=1))
    lean.bank.emit("moon.risen", {})
    lean.later(seconds=1)
    lean.bank.fault(Fault.cut(on="data"))
    lean.exchange("GET", "/data/v2/accounts", entity_id=entity)
    log.catch_up()
    lean.later(minutes=1)
    lean.webhooks()
    log.catch_up()
    log.catch_up()
    lines = [re.sub(r" +", " ", line) for line in capsys.readouterr().out.splitlines()]
    hook = lean.bank.log.webhooks[0].event_id[:8]
    assert lines[0].endswith(f"sends entity.created {hook} no answer attempt 1 disturbed: copies+nanoseconds")
    assert lines[2].endswith("lost on its way disturbed: drop")
    assert lines[3].endswith(f"GET /data/v2/accounts {entity[:8]} cut fault: cut")
    assert lines[4].endswith(f"sends entity.created {hook} 200 attempt 2 disturbed: copies+nanoseconds")
    assert len(lines) == 6


def test_the_log_can_be_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One object per line, with the same facts."""
    bank = Mockbank()
    log = LiveLog(bank.log, as_json=True)
    bank.disturb(Disturbance(forgeries=1))
    bank.connect()
    for delivery in bank.deliveries_due(bank.now + timedelta(seconds=1)):
        bank.delivered(delivery.id, 401, bank.now)
    log.catch_up()
    forged, genuine = map(json.loads, capsys.readouterr().out.splitlines())
    assert (forged["webhook"], forged["forged"], forged["disturbed"]) == ("entity.created", True, "forgeries")
    assert (genuine["http_status"], genuine["forged"], genuine["attempt"]) == (401, False, 1)
