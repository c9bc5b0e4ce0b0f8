from __future__ import annotations

from collections.abc import Callable

import pytest

from ragcore.answers import Answerer
from ragcore.answers.tables import spoken
from ragcore.models import LLM
from ragcore.settings import Settings
from ragcore.types import Hit, SearchResult

from ..shared_models import models_of

COUNTRIES = (
    "Table 1: countries\n"
    "Country\tPopulation (millions)\tArea (km2)\tCapital\n"
    "Austria\t8.9\t83,879\tVienna\n"
    "Czech Republic\t10.7\t78,866\tPrague\n"
    "Finland\t5.5\t338,424\tHelsinki\n"
    "Source: statistics"
)
PARTS = "Part | Description | Price\nBW-1 | Battery pack | 24.50\nBW-2 | Seal set | 4.80"


def test_the_row_asked_about_becomes_a_sentence() -> None:
    lines = spoken(COUNTRIES, "What is the area of Finland?").split("\n")
    assert lines[4] == "Finland: Population (millions) 5.5; Area (km2) 338,424; Capital Helsinki."
    assert lines[:4] == COUNTRIES.split("\n")[:4]
    assert lines[5] == "Source: statistics"
    text_of_row = spoken(PARTS, "How much is a new battery?")
    assert "BW-1: Description Battery pack; Price 24.50." in text_of_row
    assert "BW-2 | Seal set | 4.80" in text_of_row


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No table: Finland is north.",
        "1\t2\t3\n4\t5\t6",  # no names
        "Name\tArea\nFinland\t338,424",  # two columns
        "a\tb\tc",  # no rows
        "Finland\tis\tnorth\nand\tcold",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert spoken(text, "What is the area of Finland?") == text


@pytest.mark.full
@pytest.mark.starter_models
def test_the_model_reads_the_right_column(starter_llm: LLM, make_hit: Callable[..., Hit]) -> None:
    hit = make_hit(1, COUNTRIES)
    found = SearchResult((hit,))
    models = models_of()
    asker = Answerer(starter_llm, lambda _: found, settings=Settings(), models=models)
    answer = asker.ask("What is the area of Finland in square kilometres?")
    assert "338,424" in answer.text
    assert answer.citations[0].quote in COUNTRIES
    assert "Area (km2) 338,424" in answer.prompt
