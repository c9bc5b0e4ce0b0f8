from __future__ import annotations

import pytest

from ragcore.llm.transformers_llm import TransformersLLM
from ragcore.models import Sampling
from ragcore.types import Message

ASK = [Message("user", "Repeat the word banana many times: banana banana banana")]


def tokens_of(llm: TransformersLLM, **sampling) -> list[int]:
    text = "".join(llm.stream(ASK, Sampling(max_tokens=40, **sampling)))
    return llm.tokenizer(text).input_ids


def ngrams(tokens: list[int], size: int) -> list[tuple[int, ...]]:
    return [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]


@pytest.mark.full
def test_no_repeat_ngram(real_llm: TransformersLLM) -> None:
    free = ngrams(tokens_of(real_llm), 3)
    assert len(set(free)) < len(free)  # greedy repeats itself here
    strict = ngrams(tokens_of(real_llm, no_repeat_ngram=3), 3)
    assert len(set(strict)) == len(strict)


@pytest.mark.full
def test_penalties_make_more_different_tokens(real_llm: TransformersLLM) -> None:
    free = len(set(tokens_of(real_llm)))
    assert len(set(tokens_of(real_llm, repetition_penalty=1.5))) > free
    assert len(set(tokens_of(real_llm, frequency_penalty=1.5))) > free
    assert len(set(tokens_of(real_llm, presence_penalty=20.0))) > free


@pytest.mark.full
def test_banned_and_boosted_words(real_llm: TransformersLLM) -> None:
    question = [Message("user", "What is the capital of France?")]

    def answer(**sampling) -> str:
        return "".join(real_llm.stream(question, Sampling(max_tokens=24, **sampling)))

    assert "Paris" in answer()
    assert "paris" not in answer(banned_words=("paris",)).lower()
    assert "London" in answer(boosted_words=(("London", 30.0),), banned_words=("paris",))
