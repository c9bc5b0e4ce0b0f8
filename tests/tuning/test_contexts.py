from __future__ import annotations

import json
from pathlib import Path

from ragcore.datasets.contexts import held_out_contexts, training_contexts
from ragcore.datasets.neighbours import Neighbours


def test_neighbours_are_the_confusable_ones_and_never_copies() -> None:
    passages = [
        "The otter lives in the river and eats fish all day long in summer and winter.",
        "Otters of the river eat fish.",
        "The stock exchange fell on Monday.",
        "The otter lives in the river and eats fish all day long in summer and winter. More.",
    ]
    found = Neighbours(passages).nearest("What does the otter eat in the river?", 0, 3)
    assert found[0] == 1
    assert 3 not in found


def test_contexts_kept_for_calibration_are_not_learnt(tmp_path: Path) -> None:
    train, dev = tmp_path / "train.jsonl", tmp_path / "dev.jsonl"

    def write(path: Path, numbers: range) -> None:
        rows = (
            {"question": f"What is number {n}?", "answers": ["it"], "context": f"It is {n}."}
            for n in numbers
        )
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    write(train, range(30))
    write(dev, range(5))
    kept = held_out_contexts(train, dev, held_out=6)
    learnt = training_contexts(train, dev, held_out=6)
    assert (len(kept), len(learnt)) == (6, 19)
    assert kept == held_out_contexts(train, dev, held_out=6)
    assert not {c.text for c in kept} & {c.text for c in learnt}
    assert not {c.text for c in (*kept, *learnt)} & {f"It is {n}." for n in range(5)}
