"""Which kind of answer a question asks for."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from ragcore.answers.kinds import KINDS, asks_twice, recognize

LABELED = Path(__file__).resolve().parents[2] / "benchmarks" / "kinds.jsonl"


def labeled() -> list[tuple[str, str]]:
    lines = LABELED.read_text("utf-8").splitlines()
    return [(entry["question"], entry["kind"]) for entry in map(json.loads, lines)]


def test_the_labeled_questions_are_recognized() -> None:
    questions = labeled()
    counts = Counter(kind for _, kind in questions)
    assert len(questions) >= 100
    assert set(counts) == set(KINDS)
    assert min(counts.values()) >= 10
    wrong = [(q, kind) for q, kind in questions if recognize(q).kind != kind]
    assert len(wrong) <= 0.02 * len(questions), wrong


@pytest.mark.parametrize(
    ("question", "kind", "topic"),
    [
        ("Please list all the colors of the lamp.", "list", "colors of the lamp"),
        ("Can you tell me how to reset the gauge?", "how_to", "reset the gauge"),
        ("How many documents mention “SQL injection”?", "collection", "SQL injection"),
        ("In which section is the warranty described?", "where", "the warranty"),
        ("What does the standard say about /var/log?", "where", "/var/log"),
        ("What does UPDI stand for?", "definition", "UPDI"),
    ],
)
def test_the_topic_is_left(question: str, kind: str, topic: str) -> None:
    asked = recognize(question)
    assert (asked.kind, asked.topic) == (kind, topic)


def test_the_sides_of_a_comparison() -> None:
    asked = recognize("Compare the handbook and the guide on parking.")
    assert (asked.sides, asked.topic) == (("handbook", "guide"), "parking")
    asked = recognize("What is the difference between a native and a non-native package?")
    assert asked.sides == ("native", "non-native package")


def test_values_and_meanings_of_events_are_no_terms() -> None:
    assert recognize("What is the area of Finland?").kind == "fact"
    assert recognize("What do three blinks of the lamp mean?").kind == "fact"


@pytest.mark.parametrize(
    ("question", "twice"),
    [
        ("How many training examples and how many dev examples are there?", True),
        ("When was it built and by whom?", True),
        ("Who founded the company, and in which year?", True),
        ("How many cats and dogs are there?", False),
        ("What do people say when they come and go?", False),
        ("Which of bread and butter is free?", False),
    ],
)
def test_a_question_for_two_things(question: str, twice: bool) -> None:
    assert asks_twice(question) is twice
