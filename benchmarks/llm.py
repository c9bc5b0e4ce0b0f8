"""The language model beside its own bare calls: switching, first token, cancelling.

    python benchmarks/llm.py [--repeat N] [--words N]

`switch_ms` is the time to change to another adapter and back, halved; `first_token_ratio` how
long the first piece of an answer takes, over `generate` of one token for the same new prompt in
the same model, taken in turns; `pieces_after_cancel` what still comes once a cancel is set.
Prints one JSON document; times are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from ragcore.errors import Cancelled
from ragcore.llm.transformers_llm import TransformersLLM
from ragcore.models import NO_ADAPTER, Models, Sampling
from ragcore.settings import Settings
from ragcore.types import CancelToken, Message


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def switch(llm: TransformersLLM) -> float:
    """Seconds to change the adapter, both being loaded."""
    names = (llm.default_adapter or NO_ADAPTER, NO_ADAPTER)

    def there_and_back() -> None:
        for name in names:
            with llm.acquire(name):
                pass

    there_and_back()
    return seconds(there_and_back) / len(names)


def prompt(number: int, words: int) -> list[Message]:
    """A prompt that begins with its number: nothing of another one's cache serves it."""
    text = " ".join(["the boat left the harbour at dawn"] * (words // 7 + 1))
    return [Message("user", f"Report {number}. {text}. When did the boat leave?")]


def first_piece(llm: TransformersLLM, messages: list[Message]) -> float:
    return seconds(lambda: next(llm.stream(messages, Sampling(max_tokens=2))))


def bare_token(llm: TransformersLLM, messages: list[Message]) -> float:
    ids = llm.tokenizer(llm.render(messages), return_tensors="pt", add_special_tokens=False)
    with llm.acquire() as model, torch.inference_mode():
        ids = ids.to(model.device)
        return seconds(lambda: model.generate(**ids, max_new_tokens=1, do_sample=False))


def after_cancel(llm: TransformersLLM) -> tuple[int, float]:
    """Pieces after a cancel in mid-answer, and the seconds until the answer has ended."""
    token = CancelToken()
    pieces = llm.stream(prompt(0, 30), Sampling(max_tokens=200, banned_words=("I",)), cancel=token)
    next(pieces)
    token.cancel()
    started, late = time.perf_counter(), 0
    try:
        for _ in pieces:
            late += 1
    except Cancelled:
        pass
    return late, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--words", type=int, default=400)
    options = parser.parse_args()
    llm = Models(Settings()).llm()
    assert isinstance(llm, TransformersLLM)
    llm.warm_up()
    first_piece(llm, prompt(0, options.words))
    ours, bare = [], []
    for number in range(options.repeat):
        ours.append(first_piece(llm, prompt(2 * number + 1, options.words)))
        bare.append(bare_token(llm, prompt(2 * number + 2, options.words)))
    cancels = [after_cancel(llm) for _ in range(options.repeat)]
    found = {
        "prompt_tokens": llm.count_tokens(llm.render(prompt(1, options.words))),
        "switch_ms": 1000 * statistics.median(switch(llm) for _ in range(options.repeat)),
        "first_token_ms": 1000 * statistics.median(ours),
        "generate_ms": 1000 * statistics.median(bare),
        "first_token_ratio": statistics.median(ours) / statistics.median(bare),
        "pieces_after_cancel": max(late for late, _ in cancels),
        "cancel_ms": 1000 * statistics.median(spent for _, spent in cancels),
    }
    print(json.dumps({name: round(value, 3) for name, value in found.items()}, indent=2))


if __name__ == "__main__":
    main()
