"""Schema-constrained answers of the starter model: how many are valid?

Run: .venv/bin/python benchmarks/schemas.py [--count 1000]
Twenty schemas (nested, enums, arrays, numbers, unions, patterns), random sampling with a seed an
answer, so that the model strays as far as it can. Prints one JSON document; valid must equal
answers.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from jsonschema import Draft202012Validator

from ragcore.errors import RagcoreError
from ragcore.llm import Constraint, Sampling
from ragcore.llm.loader import load_llm
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    count = parser.parse_args().count
    llm = load_llm(Settings())
    llm.warm_up()
    valid = characters = 0
    problems: list[str] = []
    started = time.perf_counter()
    for number in range(count):
        schema = SCHEMAS[number % len(SCHEMAS)]
        sampling = Sampling(max_tokens=400, temperature=1.0, seed=number)
        constraint = Constraint(json_schema=schema)
        try:
            text = "".join(llm.stream(ASK, sampling, constraint=constraint, adapter="none"))
            Draft202012Validator(schema).validate(json.loads(text))
        except (RagcoreError, ValueError) as error:
            problems.append(f"schema {number % len(SCHEMAS)}: {error}")
            continue
        valid += 1
        characters += len(text)
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "answers": count,
                "schemas": len(SCHEMAS),
                "valid": valid,
                "characters": characters,
                "seconds": round(seconds, 1),
                "problems": problems[:10],
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
