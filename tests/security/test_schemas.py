"""JSON Schemas and patterns that a caller supplies: bounded, and nothing fetched or opened."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ragcore.errors import RagcoreError, UsageError
from ragcore.llm.grammar import check_constraint, limited, verify
from ragcore.llm.schema import MAX_DEPTH, check_schema, verify_json
from ragcore.models import Constraint

TEXT = {"type": "string"}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = TEXT
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def holding(reference: str) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": {"$ref": reference}}, "required": ["a"]}


def test_references_lead_into_the_schema_itself_only(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    local = tmp_path / "evil.json"
    local.write_text('{"type": "string"}')
    for reference in (
        "http://127.0.0.1:9/x", "https://json-schema.org/draft/2020-12/schema", "other.json",
        "file:///dev/zero", "file:///etc/passwd", pipe.as_uri(), local.as_uri(), "//host/x", "",
    ):  # fmt: skip
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            with pytest.raises(UsageError, match="begins with #"):
                check_schema({"properties": {"a": {keyword: reference}}})


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/x/y", "x": {"y": {"$ref": "file:///etc/passwd"}}},  # at no keyword
        {"properties": {"enum": {"$ref": "file:///etc/passwd"}}},  # a property's name
        {"allOf": [{"not": {"items": {"$ref": "file:///etc/passwd"}}}]},
        {"$defs": {"a": {"contentSchema": {"$ref": "file:///etc/passwd"}}}},
        {"properties": {"a": {"$id": "file:///etc/", "$ref": "#x"}}},
    ],
)
def test_no_place_hides_a_reference(schema: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"begins with #|at the top"):
        check_schema(schema)


def test_what_was_not_checked_is_not_fetched_either(tmp_path: Path) -> None:
    local = tmp_path / "local.json"
    local.write_text('{"type": "string"}')
    for reference in (local.as_uri(), "file:///dev/zero"):
        began = time.monotonic()
        with pytest.raises(Exception, match=r"Unresolvable|resolv"):
            verify_json("{}", {"$ref": reference})
        assert time.monotonic() - began < 5


def test_references_into_the_schema_still_work() -> None:
    tree = {
        "$defs": {"node": {"type": "object", "properties": {
            "name": TEXT, "parts": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}},
        "$ref": "#/$defs/node",
    }  # fmt: skip
    check_schema(tree, 100)
    verify_json('{"name": "a", "parts": [{"name": "b"}]}', tree)
    with pytest.raises(RagcoreError, match="does not follow"):
        verify_json('{"parts": [{"name": 7}]}', tree)
    check_schema({"type": "object", "properties": {"$ref": TEXT}})


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "#/nowhere"}, "leads nowhere"),
        ({"$ref": "#"}, "in a circle"),
        (
            {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}},
            "circle",
        ),
        ({"x": 7, "$ref": "#/x"}, "does not lead to a schema"),
        (nested(MAX_DEPTH + 1), "nested deeper"),
        (nested(400), "nested deeper"),
        ({"enum": [f"v{i}" for i in range(1001)]}, "values in enum"),
        ({"properties": {f"p{i}": dict(TEXT) for i in range(600)}}, "more than 500"),
        ({"description": "x" * 70_000}, "at most 65,536"),
        ({"type": "string", "minLength": 10**9}, "tokens at least"),
        ({"minLength": 10**9}, "tokens at least"),
        ({"type": "array", "minItems": 10**9}, "tokens at least"),
        ({"type": "array", "minItems": 769, "items": {"type": "null"}}, "tokens at least"),
        ({"type": "array", "minItems": 40, "items": {"type": "array", "minItems": 40}}, "at least"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "endless"),
        ({"type": "string", "pattern": "a" * 501}, "at most 500"),
        ({"type": "string", "pattern": "^((a{1,1000}){1,1000}){1,1000}$"}, "expands"),
        ({"patternProperties": {"^(a+)+$": TEXT}}, "patternProperties"),
        ({"type": "objekt"}, "not a JSON Schema at type"),
    ],
)
def test_schemas_beyond_the_limits_are_refused(schema: dict[str, Any], words: str) -> None:
    began = time.monotonic()
    with pytest.raises(UsageError, match=words):
        check_schema(schema, 768)
    assert time.monotonic() - began < 5


def test_the_deepest_schema_is_accepted() -> None:
    check_schema(nested(MAX_DEPTH), 768)
    with pytest.raises(UsageError, match="nested deeper"):
        check_schema({"type": "array", "items": nested(MAX_DEPTH)}, 768)


def test_a_long_chain_of_references_is_refused() -> None:
    chain = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(40)} | {"d40": TEXT}
    with pytest.raises(UsageError, match="nested"):
        check_schema({"$defs": chain, "$ref": "#/$defs/d0"})


def test_a_check_that_would_never_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragcore.llm.schema.CHECK_SECONDS", 0.3)
    doubling = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(25)}
    schema = {"$defs": {**doubling, "d25": TEXT}, "$ref": "#/$defs/d0"}
    began = time.monotonic()
    with pytest.raises(RagcoreError, match="took longer"):
        verify_json('"x"', schema)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "check",
    [
        lambda text: verify(text, Constraint(regex="(a|aa)+$")),
        lambda text: verify_json(json.dumps(text), {"type": "string", "pattern": "^(a|aa)+$"}),
    ],
)
def test_a_backtracking_pattern_has_a_time_limit(check: Callable[[str], None]) -> None:
    began = time.monotonic()
    with pytest.raises(RagcoreError):  # no match, or given up: never minutes
        check("a" * 60 + "!")
    assert time.monotonic() - began < 10


def test_patterns_still_match() -> None:
    verify("2026-01-31", Constraint(regex=r"\d{4}-\d{2}-\d{2}"))
    schema = {"type": "string", "pattern": "^[a-c]{2}"}
    verify_json('"abz"', schema)
    with pytest.raises(RagcoreError, match="does not match"):
        verify_json('"xbz"', schema)


def test_choices_are_bounded() -> None:
    with pytest.raises(UsageError, match="at most 1,000"):
        check_constraint(Constraint(choices=tuple(f"c{i}" for i in range(1001))))
    with pytest.raises(UsageError, match="characters together"):
        check_constraint(Constraint(choices=("x" * 70_000,)))


def test_limits_larger_than_an_answer_shrink_the_grammar() -> None:
    schema = {"type": "array", "maxItems": 10**9, "items": {"type": "string", "maxLength": 10**9}}
    found = limited(schema, 100)
    assert found["maxItems"] == 100
    assert found["items"]["maxLength"] == 800
