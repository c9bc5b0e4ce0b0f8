"""Follow-up questions: recognized, resolved by evidence, and left alone on a change of subject."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ragcore.answers.phrases import phrases
from ragcore.answers.rewrite import Reference, reference, stand_alone, together
from ragcore.answers.sentences import words
from ragcore.types import Hit, Message

PASSAGES = (
    "The battery of the gauge lasts five years. It must be replaced within two weeks of a warning.",
    "A new battery for the gauge costs 24 euros.",
    "Paid leave: full-time employees have 28 days. Paid leave is asked for in the calendar.",
    "Part-time employees have 14 days of paid leave.",
    "The probation period ends after six months. The period of notice after the probation period "
    "is one month.",
    "The museum is closed in August.",
    "Tickets for the ferry cost seven crowns.",
)


class Rambling:
    """A model whose rewriting is never usable."""

    def stream(self, *_: object, **__: object) -> list[str]:
        return ["Certainly! Here is the rewritten question you asked for:"]


class Writing:
    """A model that writes one given rewriting."""

    def __init__(self, text: str) -> None:
        self.text = text

    def stream(self, *_: object, **__: object) -> list[str]:
        return [self.text]


def find(text: str) -> Sequence[Hit]:
    """The three passages that hold the most words of the text."""
    wanted = set(words(text))
    shares = [len(wanted & set(words(passage))) for passage in PASSAGES]
    order = sorted(range(len(PASSAGES)), key=lambda n: -shares[n])[:3]
    return [
        Hit(n, "passage", shares[n] / max(1, len(wanted)), n, "Notes", "notes.txt", PASSAGES[n])
        for n in order
    ]


def resolved(question: str, *asked: str, llm: object = None) -> str:
    history = [Message("user", earlier) for earlier in asked]
    return stand_alone(llm or Rambling(), question, history, find=find)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("question", "asked", "expected"),
    [
        (
            "When must it be replaced?",
            ["How long does the battery of the gauge last?"],
            "When must the battery of the gauge be replaced?",
        ),
        (
            "When must it be replaced?",
            ["How long does the battery of the gauge last?", "How much does a new one cost?"],
            "When must the battery of the gauge be replaced?",
        ),
        (
            "And after it?",
            ["When does the probation period end?", "What is the period of notice during it?"],
            "And after the probation period (period of notice)?",
        ),
        (
            "What about part-time employees?",
            ["How many days of leave do full-time employees have?"],
            "How many days of leave do part-time employees have?",
        ),
        ("When is it closed?", ["Where is the museum?"], "When is the museum closed?"),
        (
            "What does it cost?",
            ["When does the ferry leave?"],
            "What does the ferry cost?",
        ),
    ],
)
def test_what_a_follow_up_refers_to_is_put_in(
    question: str, asked: list[str], expected: str
) -> None:
    assert resolved(question, *asked) == expected


@pytest.mark.parametrize(
    "question",
    [
        "How many days of paid leave do part-time employees have?",
        "Is there a museum?",
        "Is it possible to take the ferry in August?",
        "How long does it take until the probation period ends?",
        "What does a new battery for the gauge cost this year?",
        "Which rules say that employees have paid leave?",
    ],
)
def test_a_change_of_subject_is_left_as_it_is(question: str) -> None:
    assert resolved(question, "How long does the battery of the gauge last?") == question


def test_an_older_question_is_never_put_in_front() -> None:
    asked = ("How long does the battery of the gauge last?", "How much does a new one cost?")
    for question in ("Where can I buy mine?", "Why?", "Who says so?"):
        assert asked[0] not in resolved(question, *asked)
        assert asked[1] not in resolved(question, *asked)


def test_a_faithful_rewriting_of_the_model_is_taken_and_another_is_not() -> None:
    asked = "Where is the museum?"
    good = Writing("When is the museum closed?")
    assert resolved("When is it closed?", asked, llm=good) == good.text
    invented = Writing("When is the castle closed?")
    assert "castle" not in resolved("When is it closed?", asked, llm=invented)


def test_without_history_or_search_nothing_is_guessed() -> None:
    assert resolved("When is it closed?") == "When is it closed?"
    history = [Message("user", "Where is the museum?")]
    llm = Rambling()
    assert "the museum" in stand_alone(llm, "When is it closed?", history)  # type: ignore[arg-type]
    short = "Opening hours?"
    assert stand_alone(llm, short, history) == short  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Why?", Reference.CLEAR),
        ("Who has to agree to that?", Reference.CLEAR),
        ("How much is a new one?", Reference.CLEAR),
        ("What should a tenant do when they leave?", Reference.POSSIBLE),
        ("How long may the battery last in winter?", Reference.NONE),
        ("Are there three kinds of battery in stock?", Reference.NONE),
        ("What did the committee decide this year about leave?", Reference.NONE),
    ],
)
def test_references_are_recognized(question: str, expected: Reference) -> None:
    assert reference(question) is expected


def test_phrases_have_their_places() -> None:
    text = (
        "Who approves journeys abroad, and does the head of the department pay in Port Aldermoor?"
    )
    found = phrases(text)
    assert [p.text for p in found] == [
        "journeys abroad",
        "head of the department",
        "Port Aldermoor",
    ]
    assert all(text[p.start : p.end] == p.text for p in found)
    assert [p.full for p in found][1] == "the head of the department"
    assert [p.name for p in found] == [False, False, True]


def test_words_count_only_together_in_one_passage() -> None:
    hits = find("museum ferry")
    assert together(set(words("museum August")), hits) == 1.0
    assert together(set(words("museum crowns")), hits) == 0.5
    assert together(set(), hits) == 0.0
