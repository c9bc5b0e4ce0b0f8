"""The fallback to a span reader, where what the model wrote is not in the passages."""

from __future__ import annotations

from pathlib import Path

from ragcore.answers import Answerer
from ragcore.models import LLM, Models
from ragcore.settings import Settings
from ragcore.types import Hit, SearchResult

from ..encoders.small_models import save_small_bert, save_span_reader
from .conftest import LEAVE, RULES


def test_a_span_answers_where_the_models_words_do_not_hold(
    llm: LLM, rules: Hit, leave: Hit, tmp_path: Path
) -> None:
    base = save_small_bert(tmp_path / "base", f"{RULES} {LEAVE}".lower().split())
    weights = save_span_reader(tmp_path / "reader", base)
    profile = tmp_path / "profile.toml"
    profile.write_text(
        f'name = "p"\n[span_reader]\nkind = "extractive"\nweights = "local:{weights}"\n'
    )
    models = Models(Settings(profile=str(profile)))
    answerer = Answerer(llm, lambda _: SearchResult((leave, rules)), models=models, threshold=0)
    question = "How many days of leave are there?"
    answer = answerer.ask(question)
    assert not answer.composed  # its quote is shown below it
    [citation] = answer.citations
    passage = {1: LEAVE, 2: RULES}[citation.n]
    assert citation.quote in passage
    assert answer.text.replace(f" [{citation.n}]", "").removesuffix(".") in passage
    assert citation.page == {1: 7, 2: 4}[citation.n]
    sure = answerer.ask(question, threshold=1)
    assert (sure.abstained, sure.composed) == (True, False)
    without = Answerer(llm, lambda _: SearchResult((leave, rules)), threshold=0)
    assert without.ask(question).abstained
