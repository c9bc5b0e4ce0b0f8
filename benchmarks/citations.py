"""How well citations are verified, on pairs of a claim and a passage with known support.

Run: .venv/bin/python benchmarks/citations.py [--contexts 150] [--fit]
A question's answer, as a short sentence and with the question's words, is a claim that its own
passage supports. Unsupported are: the same claim against the passage that BM25 confuses most with
it and that does not hold the answer; the claim with another number; the claim with another
question's answer that the passage does not hold. Prints precision and recall of "supported" on
dev, each signal by itself and as `ask` joins them; --fit prints thresholds on training pairs.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ragcore.answers import citations
from ragcore.answers.citations import Encode, Rerank, check
from ragcore.evals.qa_scores import normalised
from ragcore.settings import Settings
from ragcore.tuning.grounded_qa import Context, read_contexts
from ragcore.tuning.neighbours import Neighbours
from ragcore.types import Hit

DATA = Path(__file__).resolve().parents[1] / "../shared/data/text/qa"


@dataclass(frozen=True, slots=True)
class Pair:
    """`supported`: whether `passage` holds what `claim` says in answer to `question`."""

    kind: str
    question: str
    claim: str
    passage: str
    supported: bool


def pairs(contexts: Sequence[Context], count: int, seed: int = 0) -> Iterator[Pair]:
    """Of `count` contexts, two questions each."""
    rng = random.Random(seed)
    near = Neighbours([f"{c.title} {c.text}" for c in contexts])
    everything = [a[0] for c in contexts for _, a in c.questions if a]
    for index in rng.sample(range(len(contexts)), min(count, len(contexts))):
        own = contexts[index]
        answered = [(q, a) for q, a in own.questions if a and holds(own.text, a[0])]
        for question, answers in rng.sample(answered, min(2, len(answered))):
            answer = answers[0]
            wrong = next(
                (contexts[i].text for i in near.nearest(question, index, 8)
                 if not any(holds(contexts[i].text, a) for a in answers)), None,
            )  # fmt: skip
            other = next(a for a in iter(lambda: rng.choice(everything), None)
                         if not holds(own.text, a))  # fmt: skip
            changed = re.sub(r"\d+", lambda m: str(int(m[0]) + rng.randint(1, 9)), answer)
            for kind, form in (("short", short), ("long", long)):
                claim = form(question, answer)
                yield Pair(f"{kind}, own passage", question, claim, own.text, True)
                if wrong is not None:
                    yield Pair(f"{kind}, near passage", question, claim, wrong, False)
                if changed != answer and not holds(own.text, changed):
                    yield Pair(f"{kind}, other number", question, form(question, changed), own.text,
                               False)  # fmt: skip
                yield Pair(f"{kind}, other answer", question, form(question, other), own.text,
                           False)  # fmt: skip


def holds(text: str, answer: str) -> bool:
    return f" {normalised(answer)} " in f" {normalised(text)} "


def short(_question: str, answer: str) -> str:
    return f"{answer[:1].upper()}{answer[1:].rstrip(' .')} [1]."


def long(question: str, answer: str) -> str:
    """The answer with the question's words: "The mill was built by: Anna Berg [1]." """
    rest = re.sub(r"^\s*(who|what|when|where|why|how|which)\b\s*", "", question, flags=re.I)
    return f"{rest[:1].upper()}{rest[1:].rstrip(' ?')}: {answer.rstrip(' .')} [1]."


def accepted(pair: Pair, encode: Encode | None = None, rerank: Rerank | None = None) -> bool:
    span = (0, len(pair.passage))
    hit = Hit(1, "passage", 1.0, 1, "d", "d.txt", pair.passage, span=span)
    found = check(pair.claim, pair.question, [hit], encode=encode, rerank=rerank)
    return bool(found.citations)


def scores(found: Sequence[Pair], judge: Callable[[Pair], bool]) -> dict[str, object]:
    said = [(pair, judge(pair)) for pair in found]
    right = sum(pair.supported and yes for pair, yes in said)
    kinds: dict[str, list[bool]] = {}
    for pair, yes in said:
        kinds.setdefault(pair.kind, []).append(yes)
    return {
        "precision": round(right / max(1, sum(yes for _, yes in said)), 4),
        "recall": round(right / max(1, sum(pair.supported for pair, _ in said)), 4),
        "accepted": {k: round(sum(v) / len(v), 3) for k, v in sorted(kinds.items())},
    }


def remembering(encode: Encode) -> Encode:
    """`encode` that keeps the vectors of texts it has seen."""
    import numpy as np

    kept: dict[str, object] = {}

    def call(texts: Sequence[str]) -> object:
        new = [t for t in dict.fromkeys(texts) if t not in kept]
        if new:
            kept.update(zip(new, encode(new), strict=True))
        return np.stack([kept[t] for t in texts])

    return call  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contexts", type=int, default=150)
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    from ragcore.encoders.loader import evaluated_reranker, text_encoder

    encode = remembering(text_encoder(Settings()).encode)
    part = "train" if options.fit else "dev"
    contexts = read_contexts(DATA / f"{part}.jsonl.gz")[: 4000 if options.fit else None]
    found = list(pairs(contexts, options.contexts))
    result: dict[str, object] = {"part": part, "pairs": len(found),
                                 "supported": sum(p.supported for p in found)}  # fmt: skip
    if options.fit:
        for overlap in (0.5, 0.6, 0.7, 0.8):
            for cosine in (0.55, 0.65, 0.75, 0.85, 1.01):
                citations.OVERLAP, citations.COSINE = overlap, cosine
                result[f"overlap {overlap}, cosine {cosine}"] = scores(
                    found, lambda p: accepted(p, encode)
                )
    else:
        rerank = evaluated_reranker(Settings()).scores
        result["words"] = scores(found, accepted)
        result["words, embedding"] = scores(found, lambda p: accepted(p, encode))
        result["words, embedding, reranker"] = scores(found, lambda p: accepted(p, encode, rerank))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
