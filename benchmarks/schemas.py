"""Schema-constrained answers of the starter model: how many are valid?

Run: .venv/bin/python benchmarks/schemas.py [--count 1000]
Twenty schemas (nested, enums, arrays, numbers, unions, patterns), random sampling with a seed an
answer, so that the model strays as far as it can. Prints one JSON document; valid must equal
answers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

from ragcore.errors import RagcoreError
from ragcore.llm.transformers_llm import TransformersLLM
from ragcore.models import NO_ADAPTER, Constraint, Models, Sampling
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


def check(text: str | RagcoreError, schema: dict[str, Any]) -> str | None:
    """What is wrong with an answer, or None."""
    if isinstance(text, RagcoreError):
        return str(text)
    try:
        Draft202012Validator(schema).validate(json.loads(text))
    except ValueError as error:
        return f"{error}: {text[:80]}"
    except ValidationError as error:
        return str(error.message)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=20)
    options = parser.parse_args()
    llm = Models(Settings()).llm()
    assert isinstance(llm, TransformersLLM)  # batches are what a model in this process does
    valid = characters = 0
    problems: list[str] = []
    started = time.perf_counter()
    for start in range(0, options.count, options.batch):
        numbers = range(start, min(start + options.batch, options.count))
        schemas = [SCHEMAS[number % len(SCHEMAS)] for number in numbers]
        answers = llm.complete_all(
            [ASK] * len(schemas),
            [Sampling(max_tokens=400, temperature=1.0, seed=number) for number in numbers],
            constraints=[Constraint(json_schema=schema) for schema in schemas],
            adapter=NO_ADAPTER,
        )
        for number, text, schema in zip(numbers, answers, schemas, strict=True):
            if (wrong := check(text, schema)) is not None:
                problems.append(f"schema {number % len(SCHEMAS)}: {wrong}")
                continue
            valid += 1
            characters += len(str(text))
        print(f"{numbers.stop} of {options.count}, {valid} valid", file=sys.stderr)
    found = {
        "answers": options.count,
        "schemas": len(SCHEMAS),
        "valid": valid,
        "characters": characters,
        "seconds": round(time.perf_counter() - started, 1),
        "problems": problems[:10],
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
