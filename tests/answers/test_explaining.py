"""Open questions are answered by the sentences of the passages that are nearest to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from ragcore.answers import Answerer
from ragcore.answers.composing import one_line
from ragcore.answers.explaining import SURE, explain
from ragcore.answers.reading import most_relevant
from ragcore.answers.sentences import words
from ragcore.models import LLM
from ragcore.settings import Settings
from ragcore.types import AnswerStyle, Hit, SearchResult

from ..shared_models import models_of

TANK = (
    "Water tank\n\nThe tank heats water with a coil. A pump moves the heated water to the taps. "
    "The canteen opens at noon on every day. The coil of the tank is fed by the solar panels."
)
PANELS = "The solar panels stand on the roof. They were cleaned by a crane last year."


def overlap(question: str, passages: Sequence[str]) -> np.ndarray:
    """As a reranker's logits: low where two texts share no word."""
    asked = set(words(question))
    return np.array([4.0 * len(asked & set(words(p))) - 5 for p in passages], np.float32)


def test_the_nearest_sentences_in_their_order(make_hit: Callable[..., Hit]) -> None:
    question = "How does the tank heat water?"
    hits = most_relevant(question, [make_hit(1, PANELS), make_hit(2, TANK)], overlap)
    spans = explain(question, hits, overlap, words=20)
    quotes = [hits[place].text[start:end] for place, start, end in spans]
    assert quotes == [
        "The tank heats water with a coil. A pump moves the heated water to the taps."
    ], "neighbors are one quote, a heading is none"
    assert [hits[place].id for place, _, _ in spans] == [2]
    longer = explain(question, hits, overlap, words=200)
    assert "The coil of the tank is fed by the solar panels." in hits[0].text[slice(*longer[0][1:])]
    twice = most_relevant(question, [make_hit(2, TANK), make_hit(3, TANK)], overlap)
    assert {place for place, _, _ in explain(question, twice, overlap, words=200)} == {0}


def test_nothing_where_no_passage_is_about_it(make_hit: Callable[..., Hit]) -> None:
    hits = most_relevant("Tell me about bees", [make_hit(1, TANK)], overlap)
    assert hits[0].why.rerank is not None
    assert hits[0].why.rerank < SURE
    assert explain("Tell me about bees", hits, overlap) == []
    assert explain("Tell me about bees", [], overlap) == []


@pytest.mark.starter_models
@pytest.mark.parametrize("question", ["How does the tank heat water?", "water tank"])
def test_the_starter_explains(
    starter_llm: LLM, make_hit: Callable[..., Hit], question: str
) -> None:
    found = SearchResult((make_hit(1, PANELS, page=2), make_hit(2, TANK, page=9)))
    asker = Answerer(starter_llm, lambda _: found, settings=Settings(), models=models_of())
    answer = asker.ask(question)
    assert (answer.kind, answer.composed) == ("explanation", True)
    assert "The tank heats water with a coil." in answer.text
    assert answer.citations[0].page == 9
    for citation in answer.citations:
        assert citation.quote in TANK + PANELS
        assert f"[{citation.n}]" in answer.text
    short = asker.ask(question, style=AnswerStyle(length=8))
    assert len(short.text.split()) < len(answer.text.split())
    assert asker.ask("Tell me about the football world cup.").abstained


def test_a_large_model_explains_itself(llm: LLM, make_hit: Callable[..., Hit]) -> None:
    found = SearchResult((make_hit(2, TANK),))
    asker = Answerer(llm, lambda _: found, settings=Settings(), models=models_of())
    assert asker.is_large(None) == (llm.context_length >= 4096)
    hit = replace(found.hits[0], text=TANK)
    asker = asker.searching(lambda _: SearchResult((hit,)))
    assert asker.ask("Tell me about the water tank.").kind in ("fact", "explanation")


@pytest.mark.parametrize(
    ("quote", "line"),
    [
        ("A framework [5, 6] and\nanother [7].", "A framework (5, 6) and another (7)."),
        ("See [3–5] and [a].", "See (3–5) and [a]."),
    ],
)
def test_references_of_the_source_do_not_look_like_citations(quote: str, line: str) -> None:
    assert one_line(quote) == line
