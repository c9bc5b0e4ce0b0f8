"""The fields of a JSON Schema: what is looked for, each by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ragcore.errors import UsageError

FieldKind = Literal[
    "string", "number", "integer", "boolean", "date", "date-time", "time", "email", "choice"
]
MOST_FIELDS = 100
DEEPEST = 6  # levels of objects
ANSWER_TOKENS = 768  # of JSON, that a schema may ask for
_FORMATS = ("date", "date-time", "time", "email")
_SCALARS = ("string", "number", "integer", "boolean")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field with one value. `name` and `parents` are in words; `choices` are those of an enum."""

    path: str
    name: str
    kind: FieldKind
    nullable: bool
    parents: tuple[str, ...] = ()
    description: str = ""
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """An object."""

    path: str
    fields: Mapping[str, Node]
    required: frozenset[str]
    nullable: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """An array of scalars or of flat objects. As a name it has the array's own."""

    path: str
    name: str
    item: Leaf | Group
    nullable: bool
    least: int = 0
    parents: tuple[str, ...] = ()
    description: str = ""


Node: TypeAlias = Leaf | Group | Rows


def fields_of(schema: Mapping[str, Any]) -> Node:
    """The fields that the schema asks for.

    Raises UsageError for what cannot be answered field by field: values of several types, objects
    of any names, arrays in arrays, more than MOST_FIELDS fields or DEEPEST levels.
    """
    node = _Reader(schema).node(schema, "", (), 0, nullable=False)
    if sum(1 for _ in leaves(node)) > MOST_FIELDS:
        raise UsageError(f"the schema has more than {MOST_FIELDS} fields")
    return node


def leaves(node: Node) -> Iterator[Leaf]:
    """All fields with one value, those of an array's items included."""
    if isinstance(node, Leaf):
        yield node
    elif isinstance(node, Rows):
        yield from leaves(node.item)
    else:
        for inner in node.fields.values():
            yield from leaves(inner)


def has_rows(node: Node) -> bool:
    """Whether there is an array of objects."""
    if isinstance(node, Group):
        return any(has_rows(inner) for inner in node.fields.values())
    return isinstance(node, Rows) and isinstance(node.item, Group)


def in_words(name: str) -> str:
    """A field's name in words: "dueDate", "due_date" and "due-date" as "due date"."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return " ".join(re.sub(r"[^\w]|_", " ", spaced).lower().split())


class _Reader:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def node(
        self,
        schema: Any,
        path: str,
        names: tuple[str, ...],
        depth: int,
        *,
        nullable: bool,
        about: str = "",
    ) -> Node:
        where = f"the schema's field {path}" if path else "the schema"
        if depth > DEEPEST:
            raise UsageError(f"{where} is nested deeper than {DEEPEST} levels or refers to itself")
        schema, nullable = self._plain(schema, where, nullable)
        about = str(schema.get("description") or about).strip()
        name = in_words(str(schema.get("title") or "")) or (names[-1] if names else "")
        kinds, choices, nullable = _kinds(schema, nullable)
        if len(kinds) != 1:
            raise UsageError(
                f"{where} must have one type of {', '.join((*_SCALARS, 'object', 'array'))}, or an "
                "enum of values"
            )
        (kind,) = kinds
        if kind == "object":
            return self._group(schema, path, names, depth, nullable, where)
        if kind == "array":
            items = schema.get("items")
            if not isinstance(items, Mapping) or "prefixItems" in schema:
                raise UsageError(f"{where} must say what its items are (items, one schema)")
            item = self.node(items, f"{path}[]", names, depth + 1, nullable=False, about=about)
            if isinstance(item, Rows) or (
                isinstance(item, Group)
                and not all(isinstance(x, Leaf) for x in item.fields.values())
            ):
                raise UsageError(f"{where} must be an array of scalars or of flat objects")
            least = int(schema.get("minItems", 0))
            return Rows(path, name, item, nullable, least, names[:-1], about)
        form = schema.get("format")
        if kind == "string" and form in _FORMATS:
            kind = form
        return Leaf(path, name, kind, nullable, names[:-1], about, choices)

    def _group(
        self,
        schema: Mapping[str, Any],
        path: str,
        names: tuple[str, ...],
        depth: int,
        nullable: bool,
        where: str,
    ) -> Group:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            raise UsageError(f"{where} is an object without properties: name its fields")
        fields = {
            key: self.node(
                inner,
                f"{path}.{key}" if path else key,
                (*names, in_words(key) or key),
                depth + 1,
                nullable=False,
            )
            for key, inner in properties.items()
        }
        required = frozenset(schema.get("required", ()))
        if unknown := sorted(required - set(fields)):
            raise UsageError(f"{where} requires {unknown[0]!r}, which is not among its properties")
        return Group(path, fields, required, nullable)

    def _plain(self, schema: Any, where: str, nullable: bool) -> tuple[Mapping[str, Any], bool]:
        """The schema with references followed, and alternatives to null taken out."""
        for _ in range(DEEPEST * 3):
            if not isinstance(schema, Mapping):
                raise UsageError(f"{where} does not say what it is: give it a type")
            if "$ref" in schema:
                rest = {key: value for key, value in schema.items() if key != "$ref"}
                schema = {**self._target(str(schema["$ref"]), where), **rest}
                continue
            several = next((key for key in ("anyOf", "oneOf", "allOf") if key in schema), None)
            if several is None:
                return schema, nullable
            inner = [one for one in schema[several] if one != {"type": "null"}]
            nullable = nullable or len(inner) < len(schema[several])
            if len(inner) != 1 or not isinstance(inner[0], Mapping):
                raise UsageError(f"{where} may be of several forms ({several}): choose one")
            rest = {key: value for key, value in schema.items() if key != several}
            schema = {**inner[0], **rest}
        raise UsageError(f"{where} refers to itself")

    def _target(self, reference: str, where: str) -> Mapping[str, Any]:
        found: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
            part = part.replace("~1", "/").replace("~0", "~")
            found = found.get(part) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            raise UsageError(f"{where} refers to {reference[:100]}, which is not in the schema")
        return found


def _kinds(
    schema: Mapping[str, Any], nullable: bool
) -> tuple[set[FieldKind | Literal["object", "array"]], tuple[Any, ...], bool]:
    """The types of a value without null, its choices, and whether it may be null."""
    given = schema.get("type")
    kinds: set[Any] = {given} if isinstance(given, str) else set(given or ())
    nullable = nullable or "null" in kinds
    kinds -= {"null"}
    if "const" in schema or "enum" in schema:
        values = [schema["const"]] if "const" in schema else list(schema["enum"])
        nullable = nullable or (None in values and not given)
        choices = tuple(value for value in values if value is not None)
        scalar = all(isinstance(value, str | int | float) for value in choices)
        if choices and scalar and all(isinstance(value, bool) for value in choices):
            return {"boolean"}, choices, nullable
        return ({"choice"} if choices and scalar else set()), choices, nullable
    if not kinds:
        kinds = {"object"} if "properties" in schema else {"array"} if "items" in schema else kinds
    return kinds, (), nullable


def check_form(schema: Mapping[str, Any]) -> None:
    """Raises UsageError for a schema that cannot be answered field by field.

    Also for one that is invalid, is beyond the limits of size, nesting and repetition, or refers
    out of itself.
    """
    from ragcore.llm import check_schema

    check_schema(schema, ANSWER_TOKENS)
    fields_of(schema)
