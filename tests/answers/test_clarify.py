"""Which of several things is meant: asked back where the passages show several, and only there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ragcore.answers.clarify import Clarification, clarification
from ragcore.answers.kinds import recognize
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.types import Hit

from ..shared_models import models_of

CLINICS = [
    ("Hibbing VA Clinic | Health Care", "The clinic provides laboratory services."),
    ("Hayward VA Clinic | Health Care", "The clinic provides services for the heart."),
]
ROUTERS = [
    ("Falcon router manual", "The default port is 8080. Change it in the menu."),
    ("Osprey router manual", "The default port is 9000."),
    ("Price list", "Routers cost 80 euros."),
]


def asked(question: str, texts: Sequence[tuple[str, str]]) -> Clarification | None:
    hits = [
        Hit(n, "passage", 1.0, n, title, f"{n}.pdf", text, span=(0, len(text)), collection="c")
        for n, (title, text) in enumerate(texts, 1)
    ]
    return clarification(question, recognize(question).kind, lambda k: hits[:k])


def test_several_of_a_class_are_named() -> None:
    found = asked("What services does the clinic provide?", CLINICS)
    assert found is not None
    assert found.text == "Which clinic do you mean: Hibbing VA Clinic or Hayward VA Clinic?"
    assert [one.document_id for one in found.candidates] == [1, 2]
    assert (
        found.candidates[0].question == "What services does the clinic provide (Hibbing VA Clinic)?"
    )
    assert {hit.document_id for hit in found.hits} == {1, 2}


def test_the_same_words_in_several_documents_are_asked_back() -> None:
    found = asked("What is the default port?", ROUTERS)
    assert found is not None
    assert [one.text for one in found.candidates] == [title for title, _ in ROUTERS[:2]]


def test_a_pronoun_without_its_noun_is_asked_back() -> None:
    texts = [(title, f"To install the router, {n} screws.") for n, (title, _) in enumerate(ROUTERS)]
    found = asked("How do I install it?", texts[:2])
    assert found is not None
    assert found.candidates[0].question == "How do I install Falcon router manual?"


@pytest.mark.parametrize(
    ("question", "texts"),
    [
        ("What services does the Hibbing clinic provide?", CLINICS),  # names one
        ("What is the default port of the Falcon?", ROUTERS),
        ("What is the default port?", [ROUTERS[0], ("Copy of it", ROUTERS[0][1])]),  # they agree
        ("What is the default port?", [ROUTERS[0], ROUTERS[2]]),  # only one answers
        ("How do I change the default port?", ROUTERS),  # one document leads
        ("Summarize the manual.", ROUTERS),
        ("How do I install it?", [ROUTERS[0], ROUTERS[2]]),
    ],
)
def test_what_stands_for_itself_is_not(question: str, texts: list[tuple[str, str]]) -> None:
    assert asked(question, texts) is None


def test_nothing_is_searched_for_where_the_words_leave_nothing_open() -> None:
    def find(k: int) -> Sequence[Hit]:
        raise AssertionError("searched")

    for question in ("Who wrote AVRDUDE?", "What is the area of Finland?", "What is a mill?"):
        assert clarification(question, recognize(question).kind, find) is None


@pytest.fixture
def library(tmp_path: Path, tiny_profile: Path) -> Library:
    settings = Settings(profile=str(tiny_profile), home=tmp_path / "home")
    for title, text in ROUTERS:
        (tmp_path / f"{title}.md").write_text(f"# {title}\n\n{text}\n")
    library = Library(settings, models=models_of(settings))
    library.ingest(sorted(tmp_path.glob("*.md")))
    return library


def test_a_library_asks_back_and_answers_of_the_one_chosen(library: Library) -> None:
    answer = library.ask("What is the default port?")
    assert answer.abstained
    assert answer.text.startswith("Which one do you mean: ")
    assert {one.text for one in answer.candidates} == {title for title, _ in ROUTERS[:2]}
    assert {hit.document for hit in answer.nearest} == {title for title, _ in ROUTERS[:2]}
    one = answer.candidates[0]
    again = library.ask(one.question, documents=[one.document_id], collection=one.collection)
    assert not again.candidates
    library.close()
