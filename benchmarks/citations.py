"""Does the citation check distinguish support from its absence?

    python benchmarks/citations.py FILE.jsonl[.gz] [--limit N] [--sweep]

Claims are made from questions with known answers: the accepted answer as a sentence that cites
the gold passage (it holds), the same citing the passage that a search confuses with it and that
does not hold the answer, the accepted answer of another question of the file citing the gold
passage, and the right answer with its number changed. `precision` is the share of the claims
that pass the check and hold, `recall` the share of those that hold and pass; `moved_right` the
share of wrongly cited answers whose citation the check moves to the gold passage when both were
read. `--sweep` prints both for other limits of shared words and cosine.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from ragcore.answers import citations
from ragcore.answers.citations import Encode, check_citations
from ragcore.answers.reading import cached
from ragcore.datasets.neighbours import Neighbours
from ragcore.datasets.qa_scores import stands_in
from ragcore.evals.qa import EvalQuestion, read_questions
from ragcore.models import Models
from ragcore.settings import Settings
from ragcore.types import Hit


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence that cites the first of its passages; whether that holds it."""

    kind: str
    question: str
    sentence: str
    passages: tuple[str, ...]
    holds: bool


def claims(questions: list[EvalQuestion], limit: int, seed: int = 0) -> list[Claim]:
    rng = random.Random(seed)
    texts = list(dict.fromkeys(q.context for q in questions))
    place = {text: i for i, text in enumerate(texts)}
    neighbours = Neighbours(texts)
    known = [q for q in questions if q.answers]
    found = []
    for q in rng.sample(known, min(limit, len(known))):
        right = q.answers[0]
        near = [texts[i] for i in neighbours.nearest(q.question, place[q.context], 3)]
        found.append(Claim("right", q.question, right, (q.context,), True))
        wrong = next((t for t in near if not any(stands_in(a, t) for a in q.answers)), None)
        if wrong:
            found.append(Claim("other passage", q.question, right, (wrong,), False))
            found.append(Claim("misplaced", q.question, right, (wrong, q.context), False))
        other = rng.choice(known).answers[0]
        if not stands_in(other, q.context):
            found.append(Claim("other answer", q.question, other, (q.context,), False))
        if digits := re.search(r"\d+", right):
            changed = right.replace(digits[0], str(int(digits[0]) + 7), 1)
            if not stands_in(changed, q.context):
                found.append(Claim("other number", q.question, changed, (q.context,), False))
    return found


def passes(claim: Claim, encode: Encode) -> int | None:
    """Which of the claim's passages is cited after the check, from 1; None: it was dropped."""
    hits = [Hit(n, "passage", 1.0, n, "", "", text) for n, text in enumerate(claim.passages, 1)]
    checked = check_citations(f"{claim.sentence} [1].", claim.question, hits, encode=encode)
    return checked.citations[0].n if checked.citations else None


def measure(every: list[Claim], encode: Encode) -> dict[str, float]:
    cited = [(claim, passes(claim, encode)) for claim in every]
    plain = [(claim, n is not None) for claim, n in cited if claim.kind != "misplaced"]
    passed = [claim.holds for claim, ok in plain if ok]
    found = {
        "precision": sum(passed) / max(len(passed), 1),
        "recall": sum(ok for claim, ok in plain if claim.holds)
        / sum(claim.holds for claim, _ in plain),
        "moved_right": sum(n == 2 for claim, n in cited if claim.kind == "misplaced")
        / max(sum(claim.kind == "misplaced" for claim, _ in cited), 1),
    }
    for kind in sorted({claim.kind for claim, _ in plain}):
        those = [ok for claim, ok in plain if claim.kind == kind]
        found[f"passed, {kind} ({len(those)})"] = sum(those) / len(those)
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--sweep", action="store_true")
    options = parser.parse_args()
    every = claims(read_questions(options.file), options.limit)
    encoder = Models(Settings()).text_encoder()
    encode = cached(lambda texts: encoder.encode(texts))
    print(json.dumps({"claims": len(every), **measure(every, encode)}, indent=2))
    for shared in (0.0, 0.2, 0.3, 0.4, 0.6) if options.sweep else ():
        for cosine in (0.45, 0.55, 0.65):
            citations.SHARED, citations.COSINE = shared, cosine
            print(shared, cosine, json.dumps(measure(every, encode)), file=sys.stderr)


if __name__ == "__main__":
    main()
