"""The language model in this process: what switching, first tokens, cancels and company cost.

Run: .venv/bin/python benchmarks/llm.py [--rounds 5]
Everything is compared with a bare call of transformers' `generate` in the same run; of several
rounds, taken in turns, the quickest counts. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from ragcore.answers import Answerer
from ragcore.errors import Cancelled
from ragcore.llm import Sampling
from ragcore.llm.loader import load_llm
from ragcore.llm.transformers_llm import TransformersLLM
from ragcore.settings import Settings
from ragcore.types import CancelToken, Hit, Message, SearchResult

PASSAGE = (
    "The harbour of Holm was built in 1822 by the engineer Anna Berg. Ferries leave at nine and at "
    "five, and in summer also at noon. Dogs are allowed on deck and have to be kept on a lead. "
    "Bicycles cost three crowns. Tickets are sold in the white house beside the crane. "
)
QUESTION = "When do ferries leave in summer?"


def hits(count: int = 4) -> tuple[Hit, ...]:
    texts = [f"Notice {n}. {PASSAGE}" for n in range(count)]
    return tuple(
        Hit(n, "passage", 1.0, n, f"Notice {n}", "notice.txt", text, span=(0, len(text)))
        for n, text in enumerate(texts)
    )


def first_of(pieces: Iterator[Any]) -> float:
    """Seconds until the first piece; the rest is not made."""
    started = time.perf_counter()
    next(pieces)
    seconds = time.perf_counter() - started
    pieces.close()  # type: ignore[attr-defined]
    return seconds


def generate(llm: TransformersLLM, messages: list[Message], adapter: str) -> float:
    """Seconds of a bare `generate` of one token, tokenizer and template included."""
    import torch

    started = time.perf_counter()
    with llm.borrowed(adapter) as model, torch.inference_mode():
        ids = llm.tokenizer(llm.render(messages), return_tensors="pt").input_ids
        model.generate(ids.to(model.device), max_new_tokens=1, do_sample=False)
    return time.perf_counter() - started


def first_tokens(llm: TransformersLLM, rounds: int) -> dict[str, float]:
    """Our first token over that of `generate`, for the same prompt of four passages."""
    answerer = Answerer(llm, lambda _: SearchResult(hits()), settings=Settings())
    ways: dict[str, Callable[[list[Message]], float]] = {
        "generate": lambda m: generate(llm, m, "grounded-qa"),
        "stream": lambda m: first_of(llm.stream(m, Sampling(max_tokens=8), adapter="grounded-qa")),
    }
    prompt = answerer.ask(QUESTION).prompt
    best = dict.fromkeys([*ways, "ask"], float("inf"))
    for number in range(rounds):
        messages = [Message("user", f"{number}. {prompt}")]
        for name, way in ways.items():
            llm._cache.clear()
            best[name] = min(best[name], way(messages))
        llm._cache.clear()
        begun = time.perf_counter()
        for event in answerer.stream(f"{number}. {QUESTION}"):
            if event.kind == "text":
                best["ask"] = min(best["ask"], time.perf_counter() - begun)
                break
    return {
        "generate_ms": round(best["generate"] * 1000, 1),
        "stream_over_generate": round(best["stream"] / best["generate"], 3),
        "ask_over_generate": round(best["ask"] / best["generate"], 3),
    }


def switching(llm: TransformersLLM, rounds: int) -> dict[str, float]:
    """Milliseconds from one adapter to another, and to the bare model; loading once apart."""
    spent: dict[str, list[float]] = {"grounded-qa": [], "none": []}
    for _ in range(max(rounds, 5)):
        for name, times in spent.items():
            started = time.perf_counter()
            with llm.borrowed(name):
                times.append(time.perf_counter() - started)
    return {f"to_{name}_ms": round(sorted(t)[len(t) // 2] * 1000, 2) for name, t in spent.items()}


def cancelling(llm: TransformersLLM) -> dict[str, float]:
    """Model calls after a cancel, and until the answer stops over the time of one token."""
    calls: list[float] = []
    with llm.borrowed() as model:
        hook = model.register_forward_hook(lambda *_: calls.append(time.perf_counter()))
    cancel = CancelToken()
    pieces = llm.stream([Message("user", PASSAGE)], Sampling(max_tokens=64), cancel=cancel)
    for _ in range(16):
        next(pieces)
    token = (calls[-1] - calls[-13]) / 12
    before, started = len(calls), time.perf_counter()
    cancel.cancel()
    with suppress(Cancelled):
        next(pieces)
    seconds = time.perf_counter() - started
    hook.remove()
    return {"model_calls": len(calls) - before, "over_one_token": round(seconds / token, 3)}


def company(llm: TransformersLLM) -> dict[str, Any]:
    """Two answers at once against one after the other; both must be what they are alone."""
    asks = [[Message("user", f"{PASSAGE} {q}")] for q in (QUESTION, "Who built the harbour?")]
    sampling = Sampling(max_tokens=48, no_repeat_ngram=3)

    def text(number: int) -> str:
        return "".join(llm.stream(asks[number], sampling, adapter="none"))

    llm._cache.clear()
    started = time.perf_counter()
    alone = [text(0), text(1)]
    apart = time.perf_counter() - started
    llm._cache.clear()
    together, firsts = ["", ""], [0.0, 0.0]

    def person(number: int) -> None:
        begun = time.perf_counter()
        for piece in llm.stream(asks[number], sampling, adapter="none"):
            firsts[number] = firsts[number] or time.perf_counter() - begun
            together[number] += piece

    threads = [threading.Thread(target=person, args=(n,)) for n in (0, 1)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "same_answers": together == alone,
        "together_over_apart": round((time.perf_counter() - started) / apart, 3),
        "first_token_over_whole": round(max(firsts) / apart, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    llm = load_llm(Settings())
    assert isinstance(llm, TransformersLLM)
    llm.warm_up()
    result = {
        "first_token": first_tokens(llm, rounds),
        "switching": switching(llm, rounds),
        "after_a_cancel": cancelling(llm),
        "two_at_once": company(llm),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
