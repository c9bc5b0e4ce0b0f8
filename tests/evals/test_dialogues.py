from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragcore.errors import UsageError
from ragcore.evals.dialogues import evaluate_dialogues, read_tasks, rouge1_recall
from ragcore.models import Models
from ragcore.settings import Settings

TASK = {
    "turns": [
        {"speaker": "user", "text": "When does the library open?"},
        {"speaker": "agent", "text": "At nine."},
        {"speaker": "user", "text": "And when does it close?"},
    ],
    "contexts": [{"text": "The library opens at nine. It closes at six.", "title": "Rules"}],
    "targets": [{"speaker": "agent", "text": "It closes at six."}],
    "answerability": "answerable",
}


def written(tmp_path: Path, *rows: object) -> Path:
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_task_is_the_last_question_with_what_was_said_before(tmp_path: Path) -> None:
    (task,) = read_tasks(written(tmp_path, TASK))
    assert task.question == "And when does it close?"
    assert [(m.role, m.content) for m in task.history] == [
        ("user", "When does the library open?"),
        ("assistant", "At nine."),
    ]
    assert [(h.document, h.text) for h in task.hits] == [("Rules", TASK["contexts"][0]["text"])]
    assert task.targets == ("It closes at six.",)


def test_recall_counts_words() -> None:
    assert rouge1_recall("It closes at six [1].", "At six.") == 1
    assert rouge1_recall("At six", "It closes at six at night.") == pytest.approx(2 / 6)
    assert rouge1_recall("", "six") == rouge1_recall("six", "") == 0


def test_what_was_declined_is_counted_by_kind(tmp_path: Path, tiny_profile: Path) -> None:
    """A model of random weights cites nothing, so everything is declined."""
    settings = Settings(home=tmp_path, profile=str(tiny_profile))
    without = {**TASK, "contexts": [], "answerability": "unanswerable", "targets": ["No."]}
    result = evaluate_dialogues(
        written(tmp_path, TASK, without), settings=settings, models=Models(settings)
    )
    assert result["declined_answerable"] == 1
    assert result["declined_unanswerable"] == 1
    assert "rouge1_recall" not in result
    assert result["tasks"] == 2


@pytest.mark.parametrize(
    "change", [{"turns": []}, {"turns": TASK["turns"][:2]}, {"contexts": 3}, {"targets": None}]
)
def test_other_layouts_name_the_line(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="line 2: needs turns"):
        read_tasks(written(tmp_path, TASK, {**TASK, **change}))
