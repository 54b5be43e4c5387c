"""What is changed in Lean's specification before Mockbank is held to it, each change with its reason.

Nothing is hidden: `make openapi` prints every change that applied. There are two kinds. Where the specification
contradicts itself, or Lean's own pages, it is mended. Where it cannot say what values exist, it is told.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from tests.openapi.world import World

__all__ = ["AMENDMENTS", "TOLD", "Amendment", "feed"]

Document = dict[str, Any]
Operation = tuple[str, str, Document]

_METHODS = ("get", "post", "put", "delete")
_ERROR = {
    "description": "Lean's error envelope",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["timestamp", "status", "message", "metadata"],
                "properties": {"timestamp": {"type": "string"}, "status": {"type": "string"}},
            }
        }
    },
}
_INT32 = 2**31 - 1
_METAS = ["{}", '{"foo": "val"}']
_DAYS = {"start_date": ["2024-02-29", "2025-01-01"], "end_date": ["2025-01-01", "2025-06-30"]}
_MOMENTS = {"from": ["2024-01-01T00:00:00Z"], "to": ["2030-01-01T00:00:00.123456789+03:00"]}


@attrs.frozen
class Amendment:
    """A change, and why.

    Attributes:
        what: the change, in a line.
        why: the contradiction or the lack in the specification.
        apply: makes it; returns in how many places.
    """

    what: str
    why: str
    apply: Callable[[Document], int]


def _operations(document: Document) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield method, path, item[method]


def _resolved(document: Document, node: Document) -> Document:
    while "$ref" in node:
        found: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def _own_parameters(document: Document, operation: Document) -> list[Document]:
    """Return the operation's parameters, made its own: what is shared stays as it is."""
    own = [copy.deepcopy(_resolved(document, one)) for one in operation.get("parameters", [])]
    operation["parameters"] = own
    return own


def _each_parameter(document: Document, change: Callable[[str, str, Document], bool]) -> int:
    count = 0
    for method, path, operation in _operations(document):
        count += sum(change(method, path, one) for one in _own_parameters(document, operation))
    return count


# --- mended -------------------------------------------------------------------------------------------------------


def _entity_required(document: Document) -> int:
    def change(method: str, path: str, one: Document) -> bool:
        wanted = method == "get" and path.startswith("/data/v2") and not path.endswith("_id}")
        if not wanted or one["name"] != "entity_id" or one["required"]:
            return False
        one["required"] = True
        return True

    return _each_parameter(document, change)


def _bounded_pages(document: Document) -> int:
    def change(_: str, __: str, one: Document) -> bool:
        if one["name"] in ("page", "page_number"):
            bounds = {"minimum": 0, "maximum": _INT32}
        elif one["name"] in ("size", "page_size"):
            bounds = {"minimum": 1, "maximum": 100}
        else:
            return False
        changed = any(name not in one["schema"] for name in bounds)
        one["schema"] |= bounds
        return changed

    return _each_parameter(document, change)


def _meta_object(document: Document) -> int:
    def change(_: str, __: str, one: Document) -> bool:
        if one["name"] != "meta":
            return False
        one["schema"] = {"type": "string", "enum": _METAS}
        return True

    return _each_parameter(document, change)


def _ordered_times(document: Document) -> int:
    def change(_: str, __: str, one: Document) -> bool:
        values = {**_DAYS, **_MOMENTS}.get(one["name"])
        if values is None:
            return False
        one["schema"] = {"type": "string", "enum": values}
        return True

    return _each_parameter(document, change)


def _null_data(document: Document) -> int:
    count = 0
    for _, path, operation in _operations(document):
        media = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
        if not path.startswith("/data/v2") or "refreshes" in path:
            continue
        for part in _parts(document, media.get("schema", {})):
            data = part.get("properties", {}).get("data")
            if data is not None and "anyOf" not in data:
                part["properties"]["data"] = {"anyOf": [data, {"type": "null"}]}
                count += 1
    return count


def _parts(document: Document, schema: Document) -> Iterator[Document]:
    found = _resolved(document, schema)
    yield found
    for one in found.get("allOf", []):
        yield from _parts(document, one)


def _results_without_data(document: Document) -> int:
    operation = document["paths"].get("/data/v2/results/{results_id}", {}).get("get")
    if operation is None:
        return 0
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    schema["required"].remove("data")
    return 1


def _statuses(document: Document) -> int:
    count = 0
    for method, path, operation in _operations(document):
        wanted = ["400", "401", "403", "404", "405"]
        if path.startswith("/data/v2") and "results" not in path:
            wanted.append("429")
        if (method, path) == ("post", "/customers/v1/"):
            wanted.append("409")
        for status in wanted:
            if status not in operation["responses"]:
                operation["responses"][status] = _ERROR
                count += 1
    return count


def _account_types(document: Document) -> int:
    bank = document.get("components", {}).get("schemas", {}).get("Bank")
    if bank is None:
        return 0
    each = bank["properties"]["supported_account_types"]
    bank["properties"]["supported_account_types"] = {"type": "array", "items": each}
    return 1


def _spaced_times(document: Document) -> int:
    listed = document.get("components", {}).get("schemas", {}).get("EntityResponse")
    if listed is None:
        return 0
    text = {"type": "string"}
    entity = dict(document["components"]["schemas"]["Entity"])
    entity["properties"] = {**entity["properties"], "created_at": text}
    own = listed["allOf"][1]
    own["properties"]["updated_at"] = text
    listed["allOf"] = [entity, own]
    return 2


def _misspelt_examples(document: Document) -> int:
    count = 0
    for _, _, operation in _operations(document):
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        for example in schema.get("examples", []):
            if "government_identifier" in example:
                example["government_identifiers"] = example.pop("government_identifier")
                count += 1
    return count


def _reason(document: Document) -> int:
    operation = document["paths"].get("/customers/v1/{customer_id}/entities/{entity_id}", {}).get("delete")
    if operation is None:
        return 0
    operation["requestBody"]["required"] = True
    operation["parameters"] = [one for one in operation["parameters"] if one.get("name") != "reason"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]["reason"]
    body.pop("nullable", None)
    return 1


def _bodies_required(document: Document) -> int:
    count = 0
    for _, _, operation in _operations(document):
        body = operation.get("requestBody", {})
        schema = _resolved(document, body.get("content", {}).get("application/json", {}).get("schema", {}))
        if schema.get("required") and not body.get("required"):
            body["required"] = True
            count += 1
    return count


def _short_names(document: Document) -> int:
    def change(_: str, __: str, one: Document) -> bool:
        if one["name"] != "app_user_id":
            return False
        one["schema"] = {**one["schema"], "minLength": 1, "maxLength": 255}
        return True

    return _each_parameter(document, change)


AMENDMENTS = (
    Amendment(
        "app_user_id in a path has 1 to 255 characters",
        "that of a new customer has; one that is longer than an HTTP server's line never reaches the API",
        _short_names,
    ),
    Amendment(
        "entity_id is required in data calls and in the list of refreshes",
        "the specification calls it optional; a data call without it says nothing about whose data is wanted",
        _entity_required,
    ),
    Amendment(
        "page numbers and sizes are bounded",
        "customers, events and the page number have no bounds, though answers repeat them as int32, the entities' list "
        "gives 1 to 100, and a page before the first one is none",
        _bounded_pages,
    ),
    Amendment(
        "data may be null in data calls and results",
        "the schemas say object, the specification's own examples of FAILED and PENDING have null",
        _null_data,
    ),
    Amendment(
        "data may be absent in results",
        "required by the schema, absent in the specification's own example of FAILED, of which results has the status",
        _results_without_data,
    ),
    Amendment(
        "every operation may answer 400, 401, 403, 404 and 405, data calls and refreshes also 429, customers 409",
        "Lean's page on general errors lists them for all; the specification gives them here and there",
        _statuses,
    ),
    Amendment(
        "supported_account_types of a bank is a list",
        "the schema says one text, the example beside it has a list",
        _account_types,
    ),
    Amendment(
        "created_at and updated_at in the list of all entities may have a space and no zone",
        "the schema says date-time, the example beside it has a space and no zone",
        _spaced_times,
    ),
    Amendment(
        "examples of customers say government_identifiers",
        "the examples have the singular, the schema (which requires it in PUT) the plural",
        _misspelt_examples,
    ),
    Amendment(
        "bodies with required members are required",
        "the members are, the body as such is not: OpenAPI's default",
        _bodies_required,
    ),
)


# --- told ---------------------------------------------------------------------------------------------------------

TOLD = (
    Amendment(
        "the reason for deleting an entity stands in the body",
        "it may stand in body or query (UAE, KSA) and must in one: a schema cannot say so; there it may be null, too",
        _reason,
    ),
    Amendment(
        "meta is the JSON text of an object",
        "a schema cannot say so: any text is allowed, but it is given back as an object of texts",
        _meta_object,
    ),
    Amendment(
        "from, to, start_date and end_date are pairs in order and in the past",
        "that rule stands in prose and in annotations (PastOrPresent), which generators do not read",
        _ordered_times,
    ),
)


def feed(document: Document, world: World) -> int:
    """Tell which ids and credentials exist, beside other ids that are possible; return in how many places."""
    count = 0
    for method, path, operation in _operations(document):
        values = world.values(method, path)
        for one in _own_parameters(document, operation):
            if one["name"] in values:
                own = {**one["schema"]}
                one["schema"] = _told(one["name"], own, values)
                if one["name"] == "entity_id" and one["in"] == "query":
                    one["schema"] = {"anyOf": [one["schema"], own]}
                one.pop("example", None)
                count += 1
        for media in operation.get("requestBody", {}).get("content", {}).values():
            schema = media["schema"] = dict(_resolved(document, media["schema"]))
            told = schema.get("properties", {}).keys() & values.keys()
            schema["properties"] = {
                name: _told(name, its, values) if name in told else its for name, its in schema["properties"].items()
            }
            count += len(told)
    return count


_OTHERS_TOO = ("app_user_id", "refresh_id", "results_id")


def _told(name: str, schema: Document, values: Mapping[str, list[Any]]) -> Document:
    if schema.get("type") == "array":
        return {**schema, "minItems": 1, "items": {"enum": values[name]}}
    known = {"enum": values[name]}
    return {"anyOf": [known, schema]} if name in _OTHERS_TOO else known
