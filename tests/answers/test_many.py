from __future__ import annotations

from collections.abc import Callable

import pytest

from ragcore.answers import Answerer
from ragcore.answers.many import answer_many
from ragcore.errors import Cancelled
from ragcore.models import LLM
from ragcore.settings import Settings
from ragcore.types import CancelToken, Hit, SearchResult

from ..shared_models import models_of

QUESTIONS = (
    "Are we allowed to play foosball during working hours?",
    "How many days of paid leave do employees get?",
    "Where is the games room?",
    "Who won the chess championship?",
    "When do working hours begin?",
)


@pytest.fixture
def answerer(llm: LLM) -> Answerer:
    return Answerer(llm, lambda _: SearchResult(()), settings=Settings(), models=models_of())


def test_a_batch_answers_as_one_after_another(
    answerer: Answerer, rules: Hit, leave: Hit, make_hit: Callable[..., Hit]
) -> None:
    long = make_hit(3, "The lift is inspected every spring. " * 12)
    asked = [(q, (leave, rules, long)[: 1 + n % 3]) for n, q in enumerate(QUESTIONS)]
    asked.append(("What is nowhere?", ()))
    together = dict(answer_many(answerer, asked, batch=3))
    assert sorted(together) == list(range(6))
    assert together[5].abstained
    for index, (question, hits) in enumerate(asked[:5]):
        found = SearchResult(tuple(hits))
        alone = answerer.searching(lambda _, f=found: f).ask(question, k=len(hits))
        assert together[index].text == alone.text
        assert together[index].citations == alone.citations
        sure = together[index].timings.get("confidence", 0)
        assert sure == pytest.approx(alone.timings.get("confidence", 0), abs=0.05)


def test_a_batch_can_be_cancelled(answerer: Answerer, rules: Hit) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        list(answer_many(answerer, [(QUESTIONS[0], (rules,))] * 2, cancel=cancel))
