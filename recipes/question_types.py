"""Makes the examples of recipes/classifier-texts.toml out of the data folder beside the project.

    python recipes/question_types.py

Writes runs/question-types/: questions labelled by what they ask for (who, what, when, where, why,
how, how many), by their first words: a category of form, not of topic. Those to learn from
are of train.jsonl.gz, those to measure with of dev.jsonl.gz, which shares no article with it; a
group is an article or story.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "text" / "qa"
TARGET = ROOT / "runs" / "question-types"
TRAIN, TEST = 140, 60  # questions a class
TYPES = (
    ("how many", r"how (many|much|long|old|far|often|large|big)\b"),
    ("how", r"how\b"),
    ("who", r"who\b|whom\b|whose\b"),
    ("when", r"when\b|what year\b|in what year\b|in which year\b"),
    ("where", r"where\b|in what (country|city|state|place)\b|in which (country|city)\b"),
    ("why", r"why\b"),
    ("what", r"what\b"),
)


def type_of(question: str) -> str | None:
    """The first type whose words a question begins with."""
    text = question.strip().casefold()
    return next((name for name, start in TYPES if re.match(start, text)), None)


def chosen(file: Path, count: int, seed: int) -> list[dict[str, str]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    random.Random(seed).shuffle(rows)
    taken: Counter[str] = Counter()
    remaining = []
    for row in rows:
        label = type_of(row["question"])
        if label and taken[label] < count:
            taken[label] += 1
            remaining.append({"text": row["question"], "label": label, "group": row["title"]})
    return remaining


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    for part, count, seed in (("train", TRAIN, 0), ("dev", TEST, 1)):
        rows = chosen(DATA / f"{part}.jsonl.gz", count, seed)
        name = "test" if part == "dev" else part
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (TARGET / f"{name}.jsonl").write_text(text, "utf-8")
        print(f"{name}: {len(rows)} questions, {dict(Counter(row['label'] for row in rows))}")


if __name__ == "__main__":
    main()
