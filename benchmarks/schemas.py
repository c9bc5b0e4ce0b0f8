"""Schema-constrained answers of the starter model: how many are valid?

Run: .venv/bin/python benchmarks/schemas.py [--count 1000] [--batch 20]
Twenty schemas (nested, enums, arrays, numbers, unions, patterns), random sampling with a seed an
answer, so that the model strays as far as it can. Prints one JSON document: of `whole`, valid must
equal answers; of `at_eight_tokens`, where most are cut, none may be broken.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

from ragcore.errors import RagcoreError
from ragcore.llm import Constraint, Sampling
from ragcore.llm.loader import load_llm
from ragcore.llm.transformers_llm import TransformersLLM
from ragcore.settings import Settings
from ragcore.types import Message


def record(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


TEXT = {"type": "string"}
SHORT = {"type": "string", "maxLength": 20}
WHOLE = {"type": "integer"}
ADDRESS = record(street=SHORT, city=SHORT, zip={"type": "string", "pattern": "^[0-9]{5}$"})
SCHEMAS: list[dict[str, Any]] = [
    record(name=TEXT),
    record(name=SHORT, age={"type": "integer", "minimum": 0, "maximum": 130}),
    record(name=SHORT, address=ADDRESS),
    record(people={"type": "array", "items": record(name=SHORT, age=WHOLE), "maxItems": 3}),
    record(level={"enum": ["low", "middle", "high"]}, sure={"type": "boolean"}),
    {"type": "array", "items": WHOLE, "minItems": 3, "maxItems": 6},
    {"type": "array", "items": TEXT},
    record(price={"type": "number", "minimum": 0, "maximum": 100}, currency={"enum": ["EUR"]}),
    record(date={"type": "string", "format": "date"}),
    record(date={"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}, event=SHORT),
    record(value={"anyOf": [WHOLE, SHORT, {"type": "null"}]}),
    record(a=record(b=record(c=record(d=WHOLE)))),
    record(kind={"const": "report"}, score={"type": "number"}),
    record(tags={"type": "array", "items": {"enum": ["x", "y", "z"]}, "minItems": 1}),
    {"type": "object", "properties": {"needed": SHORT, "extra": WHOLE}, "required": ["needed"],
     "additionalProperties": False},
    record(table={"type": "array", "items": {"type": "array", "items": {"type": "number"},
           "minItems": 2, "maxItems": 2}, "minItems": 1, "maxItems": 3}),
    {"$defs": {"node": record(name=SHORT, size=WHOLE)}, **record(
        left={"$ref": "#/$defs/node"}, right={"$ref": "#/$defs/node"})},
    record(answer={"type": ["string", "null"], "maxLength": 40}, n={"type": ["integer", "null"]}),
    record(yes={"type": "boolean"}, reason={"type": "string", "minLength": 5, "maxLength": 60}),
    record(matrix={"type": "array", "items": record(key=SHORT, values={
        "type": "array", "items": WHOLE, "maxItems": 4}), "minItems": 2, "maxItems": 2}),
]  # fmt: skip
ASK = [Message("user", "Describe the harbour of a small town and its people. Reply in JSON.")]


LIMIT = 400


def answers(llm: TransformersLLM, numbers: Sequence[int], limit: int) -> list[str | RagcoreError]:
    """One batch: for each number its schema, and a seed."""
    return llm.complete_all(
        [ASK] * len(numbers),
        [Sampling(max_tokens=limit, temperature=1.0, seed=number) for number in numbers],
        constraints=[Constraint(json_schema=SCHEMAS[n % len(SCHEMAS)]) for n in numbers],
        adapter="none",
    )


def problem(text: str | RagcoreError, schema: dict[str, Any]) -> str:
    """What is wrong with an answer; empty if nothing is."""
    if isinstance(text, RagcoreError):
        return f"cut: {text}"
    try:
        Draft202012Validator(schema).validate(json.loads(text))
    except (ValueError, ValidationError) as error:
        return f"broken: {str(error).splitlines()[0]}"
    return ""


def ask_all(llm: TransformersLLM, count: int, batch: int, limit: int) -> dict[str, Any]:
    """`count` answers; `cut` ones are errors that say so, `broken` ones must not be."""
    problems: list[str] = []
    characters = 0
    started = time.perf_counter()
    for first in range(0, count, batch):
        numbers = range(first, min(first + batch, count))
        for number, text in zip(numbers, answers(llm, numbers, limit), strict=True):
            kind = number % len(SCHEMAS)
            if wrong := problem(text, SCHEMAS[kind]):
                problems.append(f"schema {kind}: {wrong}")
            else:
                characters += len(str(text))
        print(f"{numbers[-1] + 1} asked, {len(problems)} not valid", file=sys.stderr, flush=True)
    return {
        "answers": count,
        "schemas": len(SCHEMAS),
        "valid": count - len(problems),
        "cut": sum(": cut: " in p for p in problems),
        "broken": sum(": broken: " in p for p in problems),
        "characters": characters,
        "seconds": round(time.perf_counter() - started, 1),
        "problems": problems[:10],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=20)
    options = parser.parse_args()
    llm = load_llm(Settings())
    assert isinstance(llm, TransformersLLM)
    llm.warm_up()
    result = {
        "whole": ask_all(llm, options.count, options.batch, LIMIT),
        "at_eight_tokens": ask_all(llm, len(SCHEMAS), options.batch, 8),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
