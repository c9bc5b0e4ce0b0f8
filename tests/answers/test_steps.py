"""Questions that take two steps: taken apart by their form, answered one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragcore.answers.steps import Plan, by_model, by_syntax, found_by, put_together, read_plan
from ragcore.errors import Cancelled
from ragcore.library import Library
from ragcore.models import LLM
from ragcore.settings import Settings
from ragcore.types import Answer, CancelToken, Citation

from ..shared_models import models_of


@pytest.mark.parametrize(
    ("question", "steps", "certain"),
    [
        ("Which of the two guides is newer and who wrote it?",
         ("Which of the two guides is newer?", "Who wrote {}?"), True),
        ("Who wrote AVRDUDE, and when was he born?", ("Who wrote AVRDUDE?", "When was {} born?"),
         True),
        ("What is the newest manual and what is its price?",
         ("What is the newest manual?", "What is {}'s price?"), True),
        ("Who wrote the program that reads the flash?",
         ("Which program reads the flash?", "Who wrote {}?"), False),
        ("Where is the office of the team that pays the salaries?",
         ("Which team pays the salaries?", "Where is the office of {}?"), False),
    ],
)  # fmt: skip
def test_a_question_is_taken_apart(question: str, steps: tuple[str, ...], certain: bool) -> None:
    assert by_syntax(question) == Plan(steps, certain)


@pytest.mark.parametrize(
    "question",
    [
        "Who wrote AVRDUDE?",
        "Which fields are mandatory and which are optional?",  # no "it": two questions
        "What is the difference between read.table and scan?",
        "When was the bridge that the Romans built destroyed?",  # the verb stands behind the clause
        "What does it do and who wrote it?",  # what it is nobody says
    ],
)
def test_others_are_left_whole(question: str) -> None:
    assert by_syntax(question) is None


def cited(text: str, n: int, *, composed: bool = False) -> Answer:
    citation = Citation(n, "Guide", 1, 2, "quote", 7, (0, 5))
    return Answer(text, (citation,), False, (), "", composed=composed)


def test_what_a_step_found_is_a_name() -> None:
    newest = "The newest document is Kettle guide: 2024-01-01, by the date that it has itself."
    assert found_by(Answer(newest, (), False, (), "", kind="collection")) == "Kettle guide"
    assert found_by(cited("AVRPROG [2].", 2)) == "AVRPROG"
    assert found_by(cited("A sentence [1]", 1, composed=True)) == ""
    assert found_by(cited("word " * 13 + "[1].", 1)) == ""
    assert found_by(Answer("I don't know.", (), True, (), "")) == ""


def test_citations_are_numbered_through() -> None:
    steps = [("One?", cited("First [3].", 3)), ("Two?", cited("Second [1].", 1))]
    answer = put_together("Both?", steps)
    assert answer.text == "First [1].\nSecond [2]."
    assert [c.n for c in answer.citations] == [1, 2]
    assert [step.question for step in answer.steps] == ["One?", "Two?"]
    assert answer.question == "Both?"


GUIDES = {"kettle": ("Kettle guide", "2023-05-01", "Ada Berg"),
          "toaster": ("Toaster guide", "2024-06-01", "Tom Lind"),
          "price": ("Price list", "2025-01-01", "Eve Holm")}  # fmt: skip


@pytest.fixture
def library(tmp_path: Path, tiny_profile: Path) -> Iterator[Library]:
    for name, (title, date, author) in GUIDES.items():
        text = f"---\ntitle: {title}\ndate: {date}\nauthor: {author}\n---\n\n# {title}\n\nHeats.\n"
        (tmp_path / f"{name}.md").write_text(text)
    settings = Settings(profile=str(tiny_profile), home=tmp_path / "home")
    with Library(settings, models=models_of(settings)) as library:
        library.ingest(sorted(tmp_path.glob("*.md")))
        yield library


def test_the_newer_guide_and_its_author(library: Library) -> None:
    answer = library.ask("Which of the two guides is newer and who wrote it?")
    first, second = answer.text.split("\n")[0], answer.text.split("\n")[-1]
    assert first == (
        "The newest document with “guides” in its title is Toaster guide: 2024-06-01, by the date "
        "that it has itself."
    )
    assert second == "Toaster guide names as its author: Tom Lind."
    assert [step.question for step in answer.steps] == [
        "Which of the two guides is newer?",
        "Who wrote Toaster guide?",
    ]
    assert answer.composed
    assert "search" in library.ask("What does the toaster heat?").timings  # a fact: the model's
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        library.ask("Which of the two guides is newer and who wrote it?", cancel=cancel)


def test_a_model_takes_apart_under_a_grammar(llm: LLM) -> None:
    text = '{"questions": ["Which port is open?", "Who opened {}?"]}'
    assert read_plan(text) == Plan(("Which port is open?", "Who opened {}?"), certain=False)
    assert read_plan('{"questions": ["Who opened it?"]}') is None
    assert read_plan('{"questions": ["Who?", "When?"]}') is None
    plan = by_model(llm, "Who opened the open port?", None)  # whatever a tiny model writes
    assert plan is None or len(plan.questions) > 1
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        by_model(llm, "Who opened the open port?", cancel)
