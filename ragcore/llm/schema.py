"""JSON Schemas that a caller supplies: what is accepted, and the check of an answer by one.

A schema is checked before a model is asked. References lead to places in the schema itself:
nothing is fetched and no file is opened. Nesting, size and repetition are limited, because a
small schema can describe a grammar, or cause a check, that never ends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ragcore.errors import RagcoreError, UsageError
from ragcore.extras import require_extra
from ragcore.llm.patterns import check_pattern, matches

MAX_DEPTH = 32  # levels of subschemas below the outermost
MAX_SUBSCHEMAS = 500
MAX_VALUES = 1_000  # of all enums together
MAX_CHARACTERS = 65_536  # of the schema as JSON
CHECK_SECONDS = 5.0
_CHARS_A_TOKEN = 4
_ENDLESS = 10**12  # tokens of a value that cannot end

_ONE = (
    "additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items",
    "not", "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
_LIST = ("allOf", "anyOf", "items", "oneOf", "prefixItems")
_NAMED = ("$defs", "definitions", "dependencies", "dependentSchemas", "properties")
# Keywords whose subschemas describe the same value as the schema that they stand in.
_SAME_VALUE = {"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"}
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def check_schema(schema: Mapping[str, Any], max_tokens: int | None = None) -> None:
    """Raises UsageError unless `schema` is a JSON Schema (draft 2020-12) within the limits.

    `max_tokens`: tokens that an answer may have; a schema whose smallest value is longer is
    refused.
    """
    require_extra("grammar", "answers of a given form")
    from jsonschema import Draft202012Validator, SchemaError

    _check_size(schema)
    try:
        Draft202012Validator.check_schema(dict(schema))
        _Walk(schema).check(max_tokens)
    except SchemaError as error:
        where = "/".join(str(part) for part in error.absolute_path)
        raise UsageError(
            f"not a JSON Schema{f' at {where}' if where else ''}: {error.message[:300]}"
        ) from None
    except RecursionError:
        raise UsageError("the schema, or its references, are nested too deeply") from None


def verify_json(text: str, schema: Mapping[str, Any]) -> None:
    """Raises RagcoreError unless `text` is a whole JSON document that follows the schema."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise RagcoreError(
            "the answer was cut before its JSON was complete; raise max_tokens"
        ) from None
    try:
        error = next(_validator(schema).iter_errors(value), None)
    except RecursionError:
        raise RagcoreError("the answer is nested too deeply to be checked") from None
    if error is not None:
        raise RagcoreError(f"the answer does not follow the schema: {error.message[:500]}")


def _check_size(schema: Mapping[str, Any]) -> None:
    """Raises UsageError above the limits of nesting and size, whatever the contents mean."""
    waiting: list[tuple[Any, int]] = [(schema, 0)]
    parts = 0
    while waiting:
        node, depth = waiting.pop()
        parts += 1
        if depth > 3 * (MAX_DEPTH + 1):  # properties and lists stand between two subschemas
            raise UsageError(f"the schema is nested deeper than {MAX_DEPTH} levels")
        if parts > MAX_CHARACTERS // 2:
            raise UsageError("the schema has too many parts")
        if isinstance(node, Mapping):
            waiting.extend((value, depth + 1) for value in node.values())
        elif isinstance(node, list | tuple):
            waiting.extend((value, depth + 1) for value in node)
    try:
        length = len(json.dumps(schema))
    except (TypeError, ValueError):
        raise UsageError("the schema is not JSON") from None
    if length > MAX_CHARACTERS:
        raise UsageError(
            f"the schema has {length:,} characters, at most {MAX_CHARACTERS:,} are allowed"
        )


class _Walk:
    """Every subschema of a schema, references followed."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        from referencing import Registry
        from referencing.jsonschema import DRAFT202012

        self._root = dict(schema)
        registry: Registry[Any] = Registry()  # one that retrieves nothing
        self._lookup = registry.resolver_with_root(DRAFT202012.create_resource(self._root)).lookup
        self._levels: dict[int, int] = {}  # of subschemas for the same value, by id of the node
        self._tokens: dict[int, int] = {}
        self._open: set[int] = set()

    def check(self, max_tokens: int | None) -> None:
        for node in self._check_nodes():
            self._level(node, 0)
        if max_tokens is not None and (least := self._least(self._root)) > max_tokens:
            least_size = f"about {least:,} tokens" if least < _ENDLESS else "an endless answer"
            raise UsageError(
                f"the schema asks for {least_size} at least, an answer may have {max_tokens:,}: "
                "lower minItems and minLength"
            )

    def _check_nodes(self) -> list[Mapping[str, Any]]:
        """All subschemas, each within the limits."""
        seen: set[int] = set()
        nodes: list[Mapping[str, Any]] = []
        waiting: list[tuple[Any, int]] = [(self._root, 0)]
        values = 0
        while waiting:
            node, depth = waiting.pop()
            if not isinstance(node, Mapping) or id(node) in seen:
                continue
            seen.add(id(node))
            nodes.append(node)
            if depth > MAX_DEPTH:
                raise UsageError(f"the schema is nested deeper than {MAX_DEPTH} levels")
            if len(seen) > MAX_SUBSCHEMAS:
                raise UsageError(f"the schema has more than {MAX_SUBSCHEMAS} subschemas")
            values += len(node.get("enum", ()))
            if values > MAX_VALUES:
                raise UsageError(f"the schema lists more than {MAX_VALUES:,} values in enum")
            self._check_keywords(node)
            waiting.extend((child, depth + 1) for _, child in _children(node))
            # What a reference leads to may stand where no keyword of JSON Schema does.
            waiting.extend((target, depth + 1) for target in self._targets(node))
        return nodes

    def _check_keywords(self, node: Mapping[str, Any]) -> None:
        if "$id" in node and node is not self._root:
            raise UsageError("$id is allowed at the top of a schema only")
        if "patternProperties" in node:
            raise UsageError("patternProperties is not supported: name the properties")
        if isinstance(pattern := node.get("pattern"), str):
            check_pattern(pattern)

    def _targets(self, node: Mapping[str, Any]) -> Iterator[Any]:
        from referencing.exceptions import Unresolvable

        for keyword in _REFERENCES:
            reference = node.get(keyword)
            if reference is None:
                continue
            if not isinstance(reference, str) or not reference.startswith("#"):
                raise UsageError(
                    f"{keyword} {str(reference)[:80]!r}: a reference begins with # and leads to a "
                    "place in the schema itself; nothing else is fetched or opened"
                )
            try:
                target = self._lookup(reference).contents
            except (Unresolvable, ValueError, TypeError, LookupError, AttributeError):
                raise UsageError(f"{keyword} {reference[:80]!r} leads nowhere") from None
            if not isinstance(target, Mapping | bool):
                raise UsageError(f"{keyword} {reference[:80]!r} does not lead to a schema")
            yield target

    def _same_value(self, node: Mapping[str, Any]) -> Iterator[Any]:
        yield from (child for keyword, child in _children(node) if keyword in _SAME_VALUE)
        yield from self._targets(node)

    def _level(self, node: Any, depth: int) -> int:
        """Levels of subschemas for one and the same value.

        Raises UsageError for references in a circle, or in too long a chain, that never reach a
        part of the value.
        """
        if not isinstance(node, Mapping):
            return 0
        key = id(node)
        if key in self._open:
            raise UsageError("the schema refers to itself in a circle without any content")
        if depth > MAX_DEPTH or self._levels.get(key, 0) + depth > MAX_DEPTH:
            raise UsageError(f"references are nested deeper than {MAX_DEPTH} levels")
        if key not in self._levels:
            self._open.add(key)
            below = [self._level(child, depth + 1) for child in self._same_value(node)]
            self._open.discard(key)
            self._levels[key] = 1 + max(below, default=0)
        return self._levels[key]

    def _least(self, node: Any) -> int:
        """Tokens that the repetitions of the shortest value need, at a low estimate."""
        if not isinstance(node, Mapping):
            return 0
        key = id(node)
        if key in self._open:
            return _ENDLESS  # a value that must contain one of its own kind
        if key not in self._tokens:
            self._open.add(key)
            try:
                self._tokens[key] = min(_ENDLESS, self._least_of(node))
            finally:
                self._open.discard(key)
        return self._tokens[key]

    def _least_of(self, node: Mapping[str, Any]) -> int:
        least = max((self._least(target) for target in self._targets(node)), default=0)
        for one in node.get("allOf", ()):
            least = max(least, self._least(one))
        for keyword in ("anyOf", "oneOf"):
            if node.get(keyword):
                least = max(least, min(self._least(one) for one in node[keyword]))
        if "enum" in node or "const" in node:
            return least
        return max(least, min((self._least_kind(node, one) for one in _kinds(node)), default=0))

    def _least_kind(self, node: Mapping[str, Any], kind: str) -> int:
        if kind == "string":
            return int(node.get("minLength", 0)) // _CHARS_A_TOKEN
        if kind == "object":
            properties = node.get("properties", {})
            needed = sum(self._least(properties.get(name)) for name in node.get("required", ()))
            return max(needed, int(node.get("minProperties", 0)))
        if kind != "array":
            return 0
        count = int(node.get("minItems", 0))
        listed = [max(1, self._least(one)) for one in node.get("prefixItems", ())[:count]]
        more = count - len(listed)
        return sum(listed) + (more * max(1, self._least(node.get("items"))) if more else 0)


def _kinds(node: Mapping[str, Any]) -> list[str]:
    """The types that a value may have; where none is named, those that its keywords are about."""
    kind = node.get("type")
    if isinstance(kind, str):
        return [kind]
    if isinstance(kind, list):
        return [str(one) for one in kind]
    about = {"minLength": "string", "minItems": "array", "required": "object"}
    return [name for keyword, name in about.items() if keyword in node]


def _children(node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The subschemas that stand in a schema, with their keywords."""
    for keyword, value in node.items():
        if keyword in _NAMED and isinstance(value, Mapping):
            yield from ((keyword, child) for child in value.values())
        elif keyword in _LIST and isinstance(value, list):
            yield from ((keyword, child) for child in value)
        elif keyword in _ONE:
            yield keyword, value


def _validator(schema: Mapping[str, Any]) -> Any:
    """A validator that resolves references inside the schema only and gives up after a while."""
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend
    from referencing import Registry

    end = time.monotonic() + CHECK_SECONDS

    def timed(keyword: Callable[..., Any]) -> Callable[..., Any]:
        def check(*args: Any) -> Any:
            if time.monotonic() > end:
                raise RagcoreError(
                    f"checking the answer took longer than {CHECK_SECONDS:g} s: simplify the schema"
                )
            return keyword(*args)

        return check

    def pattern(_validator: Any, wanted: str, value: Any, _schema: Any) -> Iterator[Any]:
        if isinstance(value, str) and not matches(wanted, value, whole=False):
            yield ValidationError(f"{value[:100]!r} does not match {wanted[:100]!r}")

    keywords = {name: timed(call) for name, call in Draft202012Validator.VALIDATORS.items()}
    kind = extend(Draft202012Validator, {**keywords, "pattern": pattern})
    return kind(dict(schema), registry=Registry())
