"""The parts of the documentation that are read off the code: signatures, fields, defaults, the diagram, the commands.

They stand between ``<!-- generated: name -->`` and ``<!-- end -->``. A test holds them to the code; after the code has
changed ``python -m tests.docs.generated`` writes them anew.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import click

import leanflow
from leanflow import blocking, cloudevents, commands, errors, ports, testing
from leanflow._health import Health, SinkLag
from leanflow._transaction import Transaction
from leanflow.mockbank import Disturbance, Fault, Mockbank, Pace, Progress, Scenario, Storm, control
from leanflow.observing import Observer
from leanflow.testing import FakeClock, examples, strategies, travel
from leanflow.testing.conformance import Inbox, Published
from leanflow.testing.simulation import Moment, Run, SimulationFailed, shortest, simulate
from leanflow_adapters import open_store
from leanflow_adapters._bus import SetAside, Subscription
from leanflow_adapters.cli._app import COMMANDS, app
from leanflow_adapters.crypto import EncryptedStore
from leanflow_adapters.http import LeanTransport
from leanflow_adapters.memory import MemoryBus, MemoryStore
from leanflow_adapters.mockbank import MockbankTransport, deliver, load_scenario, serve
from leanflow_adapters.nats import NatsBus
from leanflow_adapters.otel import Telemetry
from leanflow_adapters.pytest_plugin import _fixtures
from leanflow_adapters.redis_streams import RedisStreamsBus
from leanflow_adapters.sqlite import SQLiteStore
from leanflow_adapters.web import aiohttp, asgi, litestar, quart, starlette
from tests.docs.documents import DOCUMENTS
from tests.docs.messages import DOCUMENT, MESSAGES, document
from tests.docs.mockbank import MOCKBANK
from tests.docs.signatures import first_line, indent, stub, stub_of_class, stub_of_function

__all__ = ["SECTIONS", "current"]

_SECTION = re.compile(r"(<!-- generated: ([\w.:-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_UNITS = (("day", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def current(text: str) -> str:
    """Return a page's text with its generated parts as they must be."""
    return _SECTION.sub(lambda found: f"{found[1]}{SECTIONS[found[2]]()}\n{found[3]}", text)


# --- docstrings --------------------------------------------------------------------------------------------------


def _attributes(cls: type) -> dict[str, str]:
    """Return what a class's docstring says of its attributes."""
    _, _, tail = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in tail.split("\n\n")[0].splitlines():
        match = re.match(r"    (\w+): (.*)", line)
        if match:
            name, found[match[1]] = match[1], match[2]
        elif name:
            found[name] += " " + line.strip()
    return found


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


def _markdown_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (header, *rows)]
    lines.insert(1, "|" + "---|" * lines[0].count(" | ") + "---|")
    return "\n".join(lines)


# --- fields ------------------------------------------------------------------------------------------------------


def _fields(cls: type) -> str:
    told = _attributes(cls)
    names = [field.name.lstrip("_") for field in attrs.fields(cls)]
    assert set(names) == set(told), f"{cls.__name__}: {set(names) ^ set(told)} is not in its docstring"
    return _markdown_table(("field", "what it is"), ((f"`{name}`", _cell(told[name])) for name in names))


def _members_of(cls: Any) -> str:
    """List an enum's members with the comments beside them."""
    lines = {m[1]: m[2] for m in re.finditer(r'^    (\w+) = "\w+"(?:  # (.*))?$', inspect.getsource(cls), re.MULTILINE)}
    return _markdown_table(("member", "meaning"), ((f"`{name}`", lines[name] or "") for name in cls.__members__))


def _words(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return f"`{value}`"
    if isinstance(value, timedelta):
        return _span(value)
    if isinstance(value, tuple):
        return ", ".join(map(_span, value))
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else str(value)


def _span(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit, size in _UNITS:
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{seconds} s"


def _policy() -> str:
    told = _attributes(leanflow.Policy)
    rows = (
        (f"`{field.name}`", _words(field.default), _cell(told[field.name])) for field in attrs.fields(leanflow.Policy)
    )
    return _markdown_table(("field", "default", "what it is, and why so"), rows)


# --- errors, commands, ports -------------------------------------------------------------------------------------


def _error_tree() -> str:
    tree = re.search(r"::\n\n(.*?)\n\n\S", inspect.getdoc(errors) or "", re.DOTALL)
    assert tree is not None
    return "```plain\n" + inspect.cleandoc(tree[1]) + "\n```"


def _error_table() -> str:
    rows = []
    for name in errors.__all__:
        cls = getattr(errors, name)
        names = [each for each in inspect.signature(cls.__init__).parameters if each not in {"self", "args", "kwargs"}]
        retryable = "yes" if cls.retryable else "no"
        rows.append((f"`{name}`", _cell(first_line(cls)), ", ".join(f"`{each}`" for each in names), retryable))
    return _markdown_table(("error", "means", "attributes", "retryable"), rows)


def _help(*names: str) -> Callable[[], str]:
    def text() -> str:
        command: click.Command | None = app
        for name in names:
            assert isinstance(command, click.Group)
            command = command.get_command(click.Context(command), name)
        assert command is not None
        info = f"leanflow {' '.join(names)}"
        # a command keeps the help option that it was first asked for: whoever ran it before, it must be the same
        helps = app.context_settings["help_option_names"]
        context = click.Context(
            command, info_name=info, terminal_width=100, max_content_width=100, help_option_names=helps
        )
        return f"```plain\n{command.get_help(context)}\n```"

    return text


def _sections() -> Mapping[str, Callable[[], str]]:
    sections: dict[str, Callable[[], str]] = {
        "mermaid": lambda: f"```mermaid\n{leanflow.mermaid()}```",
        "policy": _policy,
        "errors:tree": _error_tree,
        "errors:table": _error_table,
        "api:LeanFlow": lambda: stub(leanflow.LeanFlow),
        "api:Transaction": _transaction,
        "api:Handlers": lambda: stub(leanflow.Handlers),
        "api:pure": lambda: stub(leanflow.decide, leanflow.next_action, leanflow.mermaid),
        "api:wire": lambda: stub(leanflow.parse_answer, leanflow.parse_webhook, leanflow.sign, leanflow.verify),
        "api:commands": lambda: stub(commands.Commands, commands.parse_command),
        "api:observing": lambda: stub(Observer) + "\n\n```py\n" + _head(Telemetry) + "\n```",
        "api:testing": lambda: stub(FakeClock, travel),
        "api:blocking": _blocking,
        "api:testing-fixtures": _fixture_table,
        "api:testing-callables": lambda: (
            "```py\n"
            + "\n\n\n".join(map(_called, (testing.Travel, testing.FlowsAt, testing.ChangeAt, testing.Signer)))
            + "\n```"
        ),
        "api:testing-engines": lambda: (
            "```py\n" + "\n\n\n".join(map(_head, (testing.WatchedFlow, testing.OnDemandFlow))) + "\n```"
        ),
        "api:testing-strategies": _strategy_table,
        "api:testing-paths": lambda: stub(testing.paths, testing.Path, testing.transitions, testing.impossible),
        "api:testing-matrix": lambda: stub(testing.matrix, testing.assert_matrix, testing.Matrix),
        "api:testing-replay": lambda: stub(testing.replay, testing.assert_replays),
        "api:testing-timeline": lambda: stub(testing.timeline),
        "api:testing-examples": lambda: stub(
            *(getattr(examples, name) for name in examples.__all__ if name != "START")
        ),
        "api:simulation": lambda: stub(simulate, Run, Moment, SimulationFailed, shortest),
        "api:stores": lambda: (
            "```py\n" + "\n\n\n".join((stub_of_function(open_store), *map(_head, (SQLiteStore, MemoryStore)))) + "\n```"
        ),
        "api:encrypted": lambda: "```py\n" + _head(EncryptedStore) + "\n```",
        "api:bus": lambda: stub(MemoryBus),
        "api:buses": lambda: stub(NatsBus, RedisStreamsBus),
        "api:subscription": lambda: stub(Subscription, SetAside),
        "api:cloudevents": lambda: stub(
            cloudevents.CloudEvent, cloudevents.structured, cloudevents.binary, cloudevents.headers, cloudevents.read
        ),
        "api:transport": lambda: stub(LeanTransport),
        "api:web": lambda: stub(
            aiohttp.add_webhook, aiohttp.webhook_handler, aiohttp.webhook_app, aiohttp.front_end_app, aiohttp.lifespan
        ),
        "api:web-asgi": lambda: stub(asgi.webhook_app, asgi.front_end_app, asgi.lifespan),
        "api:web-starlette": lambda: stub(starlette.add_webhook, starlette.add_front_end),
        "api:web-litestar": lambda: stub(litestar.webhook_route, litestar.front_end_route),
        "api:web-quart": lambda: stub(quart.add_webhook, quart.front_end_blueprint, quart.lifespan),
        "api:mockbank": lambda: stub(Mockbank),
        "api:mockbank-values": lambda: stub(Fault, Disturbance, Progress, Pace, Storm, Scenario, control),
        "api:mockbank-shells": lambda: stub(MockbankTransport, serve, deliver, load_scenario),
        "enum:Remedy": lambda: _members_of(leanflow.Remedy),
    }
    for cls in (
        leanflow.DataRequest, leanflow.Failure, leanflow.Change, leanflow.Results, leanflow.Call, leanflow.Answer,
        leanflow.Reply, leanflow.ReconnectPrompt, leanflow.ConnectPrompt, leanflow.Accepted, leanflow.Declined, Health,
        SinkLag, ports.Erased, ports.Reencrypted, ports.HistoryEntry, ports.OutboxRow,
        testing.Step, testing.PathMoment, testing.Transition,
        testing.Case, testing.Difference, testing.SignedWebhook, strategies.Delivery, strategies.History,
        Inbox, Published, asgi.Streams,
    ):  # fmt: skip
        sections[f"fields:{cls.__name__}"] = partial(_fields, cls)
    for name in COMMANDS:
        sections[f"cli:{name}"] = _help(name)
    sections |= MOCKBANK | MESSAGES
    sections["cli:mockbank-compare"] = _help("mockbank", "compare")
    return sections


def _blocking() -> str:
    own = [blocking.LeanFlow.over.__func__, blocking.LeanFlow.run, blocking.LeanFlow.close, blocking.LeanFlow.using]  # type: ignore[attr-defined]  # what a classmethod is made of
    head = "class LeanFlow:  # the arguments and methods of leanflow.LeanFlow, without await; and"
    return f"```py\n{head}\n" + "\n\n".join(indent(stub_of_function(each)) for each in own) + "\n```"


def _fixture_table() -> str:
    """Return the plugin's fixtures, in its order, with all of their docstrings."""
    rows = [
        (f"`{name}`", _cell(" ".join((inspect.getdoc(value) or "").split())))
        for name, value in vars(_fixtures).items()
        if type(value).__name__ == "FixtureFunctionDefinition"
    ]
    return _markdown_table(("fixture", "what"), rows)


def _strategy_table() -> str:
    made = [name for name in strategies.__all__ if name.islower()]
    rows = [
        (
            f"`{name}({', '.join(inspect.signature(getattr(strategies, name)).parameters)})`",
            _cell(first_line(getattr(strategies, name))),
        )
        for name in made
    ]
    return _markdown_table(("strategy", "what"), rows)


def _called(cls: type) -> str:
    """Return what a class is and how its instances are called: a fixture hands them out."""
    return f'class {cls.__name__}:\n    """{first_line(cls)}"""\n\n{indent(stub_of_function(cls.__call__))}'


def _head(cls: type) -> str:
    return stub_of_class(cls, methods=False)


def _transaction() -> str:
    head = "class Transaction:  # and everything of LeanFlow from `request` to `apply`"
    head += f'\n    """{first_line(Transaction)}"""'
    return f"```py\n{head}\n\n{indent(stub_of_function(Transaction.confirm))}\n```"


SECTIONS = _sections()


def main() -> None:
    """Write all generated parts anew."""
    DOCUMENT.write_text(document(), encoding="utf-8")
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        fresh = current(text)
        if fresh != text:
            Path(path).write_text(fresh, encoding="utf-8")
            print(f"wrote {path}")


if __name__ == "__main__":
    main()
