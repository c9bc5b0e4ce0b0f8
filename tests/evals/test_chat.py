from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ragcore.errors import UsageError
from ragcore.evals.chat import Find, evaluate_chat, read_chains
from ragcore.settings import Settings
from ragcore.types import Hit, Message

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TURNS = [
    {"question": "When does the ferry leave?", "stands_alone": "When does the ferry leave?",
     "answer": "At nine", "evidence": "leaves at nine"},
    {"question": "What does it cost?", "stands_alone": "What does the ferry cost?",
     "answer": "Seven crowns", "evidence": "seven-crown ticket"},
    {"question": "Who built the pier?", "stands_alone": "Who built the pier?",
     "answer": "Ann", "evidence": "built by Ann"},
    {"question": "Is there a bar?", "stands_alone": "Is there a bar on the ferry?",
     "answer": "Yes", "evidence": "a bar"},
]  # fmt: skip


def test_shares_by_hand(tmp_path: Path, settings: Settings) -> None:
    file = tmp_path / "chains.jsonl"
    file.write_text(json.dumps({"turns": TURNS}) + "\n")
    seen: list[list[str]] = []

    def rewrite(question: str, history: Sequence[Message], find: Find) -> str:
        seen.append([m.content for m in history])
        return question.replace("it", "the ferry").replace("pier", "pier of the ferry")

    def find(text: str) -> list[Hit]:
        found = "Ferries need a seven crown ticket." if "ferry" in text else "Here is a bar!"
        return [Hit(1, "passage", 0.9, 1, "Ferries", "ferries.txt", found)]

    result = evaluate_chat(file, settings=settings, collection="x", rewrite=rewrite, find=find)
    assert result["found_as_asked"] == 0.5
    assert result["found_rewritten"] == 1.0
    assert result["found_by_hand"] == 0.5
    assert (result["rewritten"], result["lost"], result["missed"]) == (0.5, 0, [])
    assert (result["conversations"], result["follow_ups"]) == (1, 2)
    assert (result["changes_of_subject"], result["wrong_rewritings"]) == (1, 1.0)
    assert [wrong["question"] for wrong in result["wrong"]] == ["Who built the pier?"]
    assert seen[0] == ["When does the ferry leave?", "At nine [1]."]
    assert len(seen[1]) == 4


def test_our_own_conversations_are_whole() -> None:
    chains = read_chains(BENCHMARKS / "follow-ups.jsonl")
    assert len(chains) == 12
    assert {len(chain) for chain in chains} == {3}
    later = [t for c in read_chains(BENCHMARKS / "subject-changes.jsonl") for t in c[1:]]
    assert len(later) >= 60
    assert 0.4 < sum(turn.question == turn.stands_alone for turn in later) / len(later) < 0.6


@pytest.mark.parametrize("text", ["", '{"turns": [{"question": "a"}]}\n', '{"turns": []}\n'])
def test_bad_files_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(text)
    with pytest.raises(UsageError):
        read_chains(file)
