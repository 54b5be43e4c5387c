"""``python -m tests.openapi``: run schemathesis against a Mockbank on a port, print the table, exit 1 on a failure.

Without ``--spec`` it is held to its own description, else to the files of OpenAPI that are named.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from leanflow_adapters.mockbank import serve
from tests.openapi.amendments import AMENDMENTS, TOLD, Amendment, feed
from tests.openapi.report import OTHER_METHODS, Outcome, read, table
from tests.openapi.world import World, populated

_LEFT_OUT = {
    "missing_required_header": "no operation requires a header but the credentials, which ignored_auth looks after",
}
_EXCUSED = {
    ("GET /customers/v1/app-user-id/{app_user_id}", "negative_data_rejection"): "all that can stand in a path is text, "
    "so that nothing there is of the wrong type; and customers of such names have been made by the run itself",
}

_OURS = "/link/visits"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.openapi", description=__doc__)
    parser.add_argument("--spec", type=Path, nargs="+", help="files, or directories of them, in YAML or JSON")
    parser.add_argument("--region", choices=("uae", "ksa"), help="UAE with --spec; else KSA, which has all paths")
    parser.add_argument("--examples", type=int, help="random cases for each operation, beside those that follow from "
                        "the schema alone; 20 with --spec, else none")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="of schemathesis")
    parser.add_argument("--keep", type=Path, help="keep schemathesis' own output in this directory")
    asked = parser.parse_args()
    if asked.examples is None:
        asked.examples = 20 if asked.spec else 0
    return asked


def _documents(paths: list[Path]) -> dict[str, dict[str, Any]]:
    yaml = importlib.import_module("yaml")  # is there in this environment only, and reads JSON as well
    files = [
        file
        for path in paths
        for file in (sorted(each for each in path.iterdir() if each.suffix in (".yml", ".yaml", ".json"))
                     if path.is_dir() else [path])
    ]  # fmt: skip
    return {file.name: yaml.safe_load(file.read_text(encoding="utf-8")) for file in files}


def _operations(document: dict[str, Any]) -> list[str]:
    methods = ("get", "post", "put", "delete")
    return [f"{m.upper()} {path}" for path, item in document["paths"].items() for m in methods if m in item]


def _command(asked: argparse.Namespace, schema: Path, events: Path, url: str, token: str) -> list[str]:
    phases = "examples,coverage,fuzzing,stateful" if asked.examples else "coverage"
    return [
        sys.executable, "-m", "schemathesis.cli", "run", str(schema.resolve()), "--url", url, "--no-color",
        "--header", f"Authorization: Bearer {token}", "--generation-with-security-parameters", "false",
        "--phases", phases, "--max-examples", str(asked.examples or 1), "--seed", str(asked.seed),
        "--exclude-checks", ",".join(_LEFT_OUT), "--continue-on-failure", "--warnings", "off",
        "--generation-database", "none", "--suppress-health-check", "all",
        "--report", "ndjson", "--report-ndjson-path", str(events.resolve()),
    ]  # fmt: skip


async def _serve(world: World, asked: argparse.Namespace, schema: Path, events: Path) -> tuple[int, str]:
    """Serve the world while schemathesis runs; return its exit status and what it said."""
    token = world.bank.token("api", datetime.now(UTC))
    async with serve(world.bank) as server:
        process = await asyncio.create_subprocess_exec(
            *_command(asked, schema, events, server.base_url, token),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=schema.parent,
        )
        said, _ = await process.communicate()
    return process.returncode or 0, said.decode(errors="replace")


def _run(document: dict[str, Any], world: World, asked: argparse.Namespace, scratch: Path) -> dict[str, Outcome]:
    scratch.mkdir(parents=True, exist_ok=True)
    schema, events = scratch / "openapi.json", scratch / "events.ndjson"
    schema.write_text(json.dumps(document, default=str), encoding="utf-8")
    status, said = asyncio.run(_serve(world, asked, schema, events))
    if status not in (0, 1) or not events.exists():
        sys.exit(f"schemathesis itself failed ({status}):\n{said[-4000:]}")
    outcomes = read(events, _operations(document))
    if status == 1 and not any(one.failures for one in outcomes.values()):
        sys.exit(f"schemathesis failed without naming a check:\n{said[-4000:]}")
    return outcomes


def _excuse(outcomes: dict[str, Outcome]) -> list[str]:
    """Take out the failures that are none; return what is to be said about them."""
    said = []
    for (operation, check), why in _EXCUSED.items():
        one = outcomes.get(operation, Outcome())
        found = [failure for failure in one.failures if failure[0] == check]
        said += [f"excused {operation}: {check} ({one.failures.pop(each)}); because {why}" for each in found]
    return said


def _told(name: str, outcomes: dict[str, Outcome]) -> int:
    """Print one document's outcome; return how many cases failed."""
    excused = _excuse(outcomes)
    failures = sum(sum(one.failures.values()) for one in outcomes.values())
    cases = sum(one.modes.total() for one in outcomes.values())
    operations = len(outcomes.keys() - {OTHER_METHODS})
    print(f"\n{name}: {operations} operations, {cases} cases, {failures} failed checks\n{table(outcomes)}")
    checks = sorted({check for one in outcomes.values() for check in one.checks})
    print(f"checks: {', '.join(checks)}")
    unreached = [
        which
        for which, one in outcomes.items()
        if which != OTHER_METHODS and not any(200 <= (status or 0) < 300 for status in one.statuses)
    ]
    print(f"never answered with 2xx: {', '.join(unreached) or 'none'}")
    for each in excused:
        print(each)
    for which, one in outcomes.items():
        for (check, message), count in one.failures.most_common(5):
            print(f"FAILED {which}: {check} ({count}): {message}")
    return failures


def _amended(document: dict[str, Any], amendments: tuple[Amendment, ...]) -> list[str]:
    """Apply amendments; return what is to be said about those that changed something."""
    return [
        f"amended in {count} places: {one.what}; because {one.why}"
        for one in amendments
        if (count := one.apply(document))
    ]


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    asked = _arguments()
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # it tells of each header that no client may send
    region = asked.region or ("uae" if asked.spec else "ksa")
    documents = _documents(asked.spec) if asked.spec else {f"Mockbank's own description, {region.upper()}": None}
    failures = 0
    with tempfile.TemporaryDirectory(prefix="leanflow-openapi-") as temporary:
        for number, (name, given) in enumerate(documents.items()):
            world = populated(region, datetime.now(UTC))
            document = world.bank.openapi() if given is None else given
            if given is None:
                document["paths"] = {path: ops for path, ops in document["paths"].items() if _OURS not in path}
            told = _amended(document, TOLD if given is None else (*AMENDMENTS, *TOLD))
            feed(document, world)
            scratch = (asked.keep or Path(temporary)) / str(number)
            failures += _told(name, _run(document, world, asked, scratch))
            for each in told:
                print(each)
    for what, why in _LEFT_OUT.items():
        print(f"left out: {what}; because {why}")
    if not asked.spec:
        print(f"left out: {_OURS}; because the stand-in Link SDK alone talks to it, and judges its parameters itself")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
