"""Signatures as the documentation shows them, as `py` blocks: the source's own, with the docstring's first line."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import leanflow

__all__ = ["first_line", "indent", "stub", "stub_of_class", "stub_of_function"]

_WIDE = 100
_FOR_THE_ENGINE = ("taken_up", "let_go")
"""Methods without an underscore that only the engine calls."""


def first_line(thing: Any) -> str:
    """Return the first paragraph of a docstring."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def _node(function: Any) -> ast.FunctionDef | ast.AsyncFunctionDef:
    """Return a function as its source has it."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    (node,) = ast.parse(source).body
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    return node


def signature(function: Any) -> str:
    node = _node(function)
    marks = "".join(f"@{ast.unparse(each)}\n" for each in node.decorator_list if "overload" not in ast.unparse(each))
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    tail = "" if node.returns is None else f" -> {_quoted(ast.unparse(node.returns))}"
    defaults = {p.name: p.default for p in inspect.signature(inspect.unwrap(function)).parameters.values()}
    parts = _parameters(node.args, defaults)
    line = f"{word} {node.name}({', '.join(parts)}){tail}:"
    if len(line) > _WIDE:
        line = f"{word} {node.name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){tail}:"
    return marks + line


def _parameters(args: ast.arguments, defaults: Mapping[str, Any]) -> list[str]:
    positional = [*args.posonlyargs, *args.args]
    without = len(positional) - len(args.defaults)
    parts = [
        _parameter(arg, None if number < without else args.defaults[number - without], defaults)
        for number, arg in enumerate(positional)
    ]
    if args.posonlyargs:
        parts.insert(len(args.posonlyargs), "/")
    if args.vararg is not None:
        parts.append(f"*{_parameter(args.vararg, None, {})}")
    elif args.kwonlyargs:
        parts.append("*")
    parts += [
        _parameter(arg, default, defaults) for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
    ]
    if args.kwarg is not None:
        parts.append(f"**{_parameter(args.kwarg, None, {})}")
    return parts


def _parameter(arg: ast.arg, default: ast.expr | None, values: Mapping[str, Any]) -> str:
    text = arg.arg if arg.annotation is None else f"{arg.arg}: {_quoted(ast.unparse(arg.annotation))}"
    if default is None:
        return text
    written = _quoted(ast.unparse(default))
    value = values[arg.arg]
    if isinstance(default, ast.Name) and isinstance(value, (str, int, float)):
        written = _quoted(repr(value))
    elif isinstance(value, datetime):
        written = f"datetime({value.year}, {value.month}, {value.day}, {value.hour}, tzinfo=UTC)"
    elif isinstance(value, leanflow.Policy):
        written = "Policy()"
    return f"{text} = {written}" if arg.annotation is not None else f"{text}={written}"


def _quoted(text: str) -> str:
    return text.replace("'", '"')


def stub(*things: Any) -> str:
    """Return one block with the signatures of classes and functions."""
    return (
        "```py\n"
        + "\n\n\n".join(stub_of_class(each) if isinstance(each, type) else stub_of_function(each) for each in things)
        + "\n```"
    )


def stub_of_function(function: Any) -> str:
    """Return a function's signature and first line."""
    return f'{signature(function)}\n    """{first_line(function)}"""'


def stub_of_class(cls: type, *, methods: bool = True) -> str:
    """Return a class's first line and constructor, and those of its public methods."""
    parts = [f'class {cls.__name__}:\n    """{first_line(cls)}"""']
    init = cls.__dict__.get("__init__")
    if init is not None and "attrs" not in (init.__code__.co_filename):
        parts.append(indent(f"{signature(init).removesuffix(' -> None:').removesuffix(':')}: ..."))
    for member in _members(cls) if methods else ():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        parts.append(indent(stub_of_function(function)))
    return "\n\n".join(parts)


def _members(cls: type) -> Iterator[Any]:
    """Yield public methods and properties in the order of the source, those of our own bases first."""
    seen: set[str] = set(_FOR_THE_ENGINE)
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith(("leanflow", "leanflow_adapters")):
            continue
        for name in base.__dict__:
            member = inspect.getattr_static(cls, name)
            is_method = inspect.isfunction(member) or isinstance(member, (property, classmethod))
            if not name.startswith("_") and is_method and name not in seen:
                seen.add(name)
                yield member


def indent(text: str) -> str:
    """Return a text four columns further in; empty lines stay empty."""
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines())
