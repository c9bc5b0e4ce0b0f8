from __future__ import annotations

import json
import re

import pytest
from jsonschema import Draft202012Validator

from ragcore.errors import RagcoreError, UsageError
from ragcore.llm.grammar import limited
from ragcore.llm.transformers_llm import TransformersLLM
from ragcore.models import Constraint, Sampling
from ragcore.types import Message

ASK = [Message("user", "Describe a person. Reply in JSON.")]

NESTED = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "address": {
            "type": "object",
            "properties": {"street": {"type": "string"}, "zip": {"type": "string", "maxLength": 8}},
            "required": ["street", "zip"],
            "additionalProperties": False,
        },
    },
    "required": ["name", "age", "address"],
    "additionalProperties": False,
}
ENUM = {
    "type": "object",
    "properties": {"level": {"enum": ["low", "middle", "high"]}, "ok": {"type": "boolean"}},
    "required": ["level", "ok"],
    "additionalProperties": False,
}
ARRAY = {"type": "array", "items": {"type": "number"}, "minItems": 2}
OPTIONAL = {
    "type": "object",
    "properties": {"a": {"type": ["string", "null"]}, "b": {"anyOf": [ARRAY, {"type": "null"}]}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


# The random model knows no JSON at all: only the grammar can make its output valid.
@pytest.mark.parametrize("schema", [NESTED, ENUM, ARRAY, OPTIONAL])
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.full) for seed in (2, 3))]
)
def test_any_model_gives_valid_json(tiny_llm: TransformersLLM, schema: dict, seed: int) -> None:
    sampling = Sampling(max_tokens=400, temperature=1.0, seed=seed)
    text = "".join(tiny_llm.stream(ASK, sampling, constraint=Constraint(json_schema=schema)))
    assert Draft202012Validator(schema).is_valid(json.loads(text)), text


def test_no_control_character_gets_into_a_string(tiny_llm: TransformersLLM) -> None:
    short = {"type": "string", "maxLength": 20}
    schema = {"type": "object", "properties": {"a": short, "b": short, "c": short},
              "required": ["a", "b", "c"], "additionalProperties": False}  # fmt: skip
    for seed in range(20):
        sampling = Sampling(max_tokens=200, temperature=2.0, seed=seed)
        text = "".join(tiny_llm.stream(ASK, sampling, constraint=Constraint(json_schema=schema)))
        assert set(json.loads(text)) == {"a", "b", "c"}  # json refuses control characters


def test_cut_json_is_a_clear_error(tiny_llm: TransformersLLM) -> None:
    with pytest.raises(RagcoreError, match="max_tokens"):
        list(
            tiny_llm.stream(ASK, Sampling(max_tokens=5), constraint=Constraint(json_schema=NESTED))
        )


def test_regular_expression_and_choices(tiny_llm: TransformersLLM) -> None:
    warm = Sampling(max_tokens=20, temperature=1.0, seed=1)
    date = "".join(tiny_llm.stream(ASK, warm, constraint=Constraint(regex=r"\d{4}-\d{2}-\d{2}")))
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", date)
    choice = Constraint(choices=("red", 'say "no"', "Grün"))
    assert "".join(tiny_llm.stream(ASK, warm, constraint=choice)) in (choice.choices or ())


@pytest.mark.full
def test_real_model_fills_a_schema(real_llm: TransformersLLM) -> None:
    schema = {
        "type": "object",
        "properties": {"capital": {"type": "string"}},
        "required": ["capital"],
        "additionalProperties": False,
    }
    messages = [Message("user", "What is the capital of France? Reply in JSON.")]
    text = "".join(real_llm.stream(messages, constraint=Constraint(json_schema=schema)))
    assert "Paris" in json.loads(text)["capital"]


@pytest.mark.parametrize(
    ("constraint", "word"),
    [
        (Constraint(), "exactly one"),
        (Constraint(regex="a", choices=("a",)), "exactly one"),
        (Constraint(choices=()), "choices"),
        (Constraint(json_schema={"type": "objekt"}), "not a JSON Schema at type"),
        (Constraint(regex="(unclosed"), "cannot be made a grammar"),
    ],
)
def test_bad_constraints_are_refused(
    tiny_llm: TransformersLLM, constraint: Constraint, word: str
) -> None:
    with pytest.raises(UsageError, match=word):
        list(tiny_llm.stream(ASK, constraint=constraint))


def test_limits_are_added_only_where_there_are_none() -> None:
    schema = {
        "type": "object",
        "properties": {
            "free": {"type": "string"},
            "short": {"type": "string", "maxLength": 3},
            "kind": {"type": "string", "enum": ["type"]},
            "list": {"type": "array", "items": {"type": "string"}},
        },
    }
    properties = limited(schema)["properties"]
    assert properties["free"]["maxLength"] == 300
    assert properties["short"]["maxLength"] == 3
    assert "maxLength" not in properties["kind"]
    assert properties["list"]["maxItems"] == 12
    assert properties["list"]["items"]["maxLength"] == 300
    assert "maxLength" not in schema["properties"]["free"]


def test_a_batch_holds_each_ones_own_constraint(tiny_llm: TransformersLLM) -> None:
    """As one after another: its own seed, penalty and limit; a cut one is an error, not JSON."""
    long = [Message("user", "word " * 40), *ASK]
    wanted = [Constraint(json_schema=NESTED), Constraint(json_schema=ENUM), None,
              Constraint(regex=r"\d{4}-\d{2}"), Constraint(json_schema=NESTED)]  # fmt: skip
    how = [Sampling(max_tokens=5 if n == 4 else 300 if n == 0 else 40, temperature=1.0, seed=n,
                    repetition_penalty=1.3) for n in range(5)]  # fmt: skip
    prompts = [ASK, long, ASK, long, ASK]
    found = tiny_llm.complete_all(prompts, how, constraints=wanted)
    Draft202012Validator(NESTED).validate(json.loads(str(found[0])))
    Draft202012Validator(ENUM).validate(json.loads(str(found[1])))
    assert re.fullmatch(r"\d{4}-\d{2}", str(found[3]))
    assert isinstance(found[4], RagcoreError)
    assert "max_tokens" in str(found[4])
    greedy = Sampling(max_tokens=12)
    alone = ["".join(tiny_llm.stream(prompt, greedy)) for prompt in (ASK, long)]
    assert tiny_llm.complete_all([ASK, long], [greedy, greedy]) == alone
