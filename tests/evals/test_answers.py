from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragcore.errors import UsageError
from ragcore.evals.answers import Expected, question_file, read_expected, result, totals
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.types import Answer, Citation, Hit

from ..shared_models import models_of

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
HIT = Hit(1, "passage", 1.0, 7, "Staff handbook", "/files/handbook.pdf", "Dogs may come.", page=12)
CITED = Citation(1, "Staff handbook", 7, 12, "Dogs may come.", 1, (0, 14))


def answer(text: str, *, abstained: bool = False) -> Answer:
    return Answer(text, () if abstained else (CITED,), abstained, (HIT,), "")


def test_an_answer_is_compared_with_what_is_expected() -> None:
    question = "May dogs come?"
    right = Expected(question, "yes_no", ("Yes",), ("dogs may come",), "handbook.pdf", (11, 12))
    one = result(right, answer("Yes: “Dogs may come.” [1]"), 1.234)
    assert one["checks"] == {"kind": True, "words": True, "page": True}
    assert one["right"] is True
    other_file = Expected(question, document="guide.pdf", pages=(12,))
    assert result(other_file, answer("Yes [1]."), 1)["checks"] == {"page": False}
    all_of = Expected(question, contains=("dogs", "cats"))
    assert result(all_of, answer("Dogs may come [1]."), 1)["right"] is False
    declined = Expected(question, answers=())
    assert result(declined, answer("I don't know.", abstained=True), 1)["right"] is True
    assert result(declined, answer("Yes [1]."), 1)["right"] is False
    assert result(Expected(question), answer("Yes [1]."), 1)["right"] is None


def test_totals_count_what_was_checked() -> None:
    some = [
        result(Expected("May dogs come?", "yes_no"), answer("Yes [1]."), 2.0),
        result(Expected("Who is Ann?", "yes_no", ()), answer("A dog [1]."), 4.0),
        result(Expected("Who is Bob?"), answer("I don't know.", abstained=True), 9.0),
    ]
    found = totals(some)
    assert found["kinds"]["yes_no"] == {"questions": 1, "answered": 1, "checked": 1, "right": 1}
    del found["kinds"]
    assert found == {
        "questions": 3, "answered": 2, "declined": 1, "composed": 0, "checked": 2, "right": 1,
        "kind_right": 0.5, "declined_right": 0.0, "seconds_median": 4.0,
    }  # fmt: skip


def test_kinds_of_another_meaning_are_not_compared(tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    lines = [{"question": "Who?", "kind": "table"}, {"question": "Why?", "kind": "text"}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [one.kind for one in read_expected(file)] == ["", ""]
    file.write_text(json.dumps(lines[0]))
    assert [one.kind for one in read_expected(file)] == ["table"]
    file.write_text("{}\n")
    with pytest.raises(UsageError, match="line 1: needs a question"):
        read_expected(file)


@pytest.mark.parametrize("name", ["answers-pdf", "answers-sample"])
def test_the_benchmarks_questions_are_of_their_kinds(name: str) -> None:
    for one in read_expected(BENCHMARKS / f"{name}.jsonl"):
        assert result(one, answer("Yes [1]."), 0)["checks"]["kind"], one.question


def test_a_folder_is_ingested_and_asked(tmp_path: Path, tiny_profile: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "mill.md").write_text(
        "# Mill\n\nA mill is a machine that grinds grain.\n"
    )
    questions = tmp_path / "questions.jsonl"
    lines = [
        {"question": "What is a mill?", "kind": "definition", "answers": ["grinds grain"]},
        {"question": "How many documents mention grain?", "contains": ["1 of 1 document"]},
    ]
    questions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = Settings(profile=str(tiny_profile), home=tmp_path / "home")
    seen: list[str] = []
    with Library(settings, models=models_of(settings)) as library:
        found = library.evals.answers(
            tmp_path, on_result=lambda one: seen.append(one["question"]),
            details=tmp_path / "details.jsonl",
        )  # fmt: skip
        assert library.collections() == []  # the library asked for it has nothing of it
    assert (found["questions"], found["right"], found["words_right"]) == (2, 2, 1.0)
    assert seen == [line["question"] for line in lines]
    assert len((tmp_path / "details.jsonl").read_text().splitlines()) == 2


def test_a_folder_without_questions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name a file with --questions"):
        question_file(tmp_path, None)
