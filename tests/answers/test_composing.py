"""Answers composed of quotes, on a small library with the starter's text encoder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ragcore.answers.composing import decided
from ragcore.answers.composing.deciding import agrees
from ragcore.errors import UsageError
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.types import Answer

from ..shared_models import models_of

GUIDE = """# Kettle K4 guide

This guide describes the kettle K4 and how it is cleaned.

## Descaling

A descaler is a mild acid that dissolves lime. Descale the kettle once a month. To descale the
kettle:

1. Fill it with water and one spoon of citric acid.
2. Boil the water and wait ten minutes.
3. Rinse the kettle three times.

## Lamp colors

The lamp has the following colors:

- Blue: the water is cold.
- Amber: the water is warm.
- Red: the water boils.

## Warranty

The warranty is two years. It does not cover lime. The kettle must not be put into a dishwasher.
"""
TOASTER = """# Toaster T2 guide

This guide describes the toaster T2. The toaster has two slots. The warranty is three years, and it
covers the springs. The toaster must not be put under water.
"""
STOCK = "Part,Color,Price in euros\nLid,black,12.50\nHandle,black,8.00\nFilter,white,4.50\n"


@pytest.fixture(scope="module")
def library(starter_models: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    root = tmp_path_factory.mktemp("kinds")
    files = root / "files"
    files.mkdir()
    (files / "kettle.md").write_text(GUIDE, "utf-8")
    (files / "toaster.md").write_text(TOASTER, "utf-8")
    (files / "parts.csv").write_text(STOCK, "utf-8")
    other = root / "notes.md"
    other.write_text("# Notes\n\nThe samovar is older than any kettle.\n", "utf-8")
    settings = Settings(home=root / "home", profile="starter", workers=1)
    with Library(settings, models=models_of(settings)) as library:
        assert not library.ingest([files]).failed
        assert not library.ingest([other], collection="other").failed
        yield library


def quotes_stand(library: Library, answer: Answer) -> bool:
    """Whether every quote is word for word at its span, and every number is cited."""
    for one in answer.citations:
        assert one.span is not None
        text = library.documents.page(one.document_id, 1).text
        if text[slice(*one.span)] != one.quote or f"[{one.n}]" not in answer.text:
            return False
    return bool(answer.citations)


def test_a_list_is_complete_and_in_order(library: Library) -> None:
    answer = library.ask("What are the colors of the lamp?")
    assert (answer.kind, answer.composed, answer.abstained) == ("list", True, False)
    places = [answer.text.index(word) for word in ("Blue", "Amber", "Red")]
    assert places == sorted(places)
    assert len(answer.citations) == 4  # the introduction, too
    assert quotes_stand(library, answer)
    assert {hit.id for hit in answer.hits} == {one.passage_id for one in answer.citations}


def test_steps_are_in_order(library: Library) -> None:
    answer = library.ask("How do I descale the kettle?")
    assert answer.kind == "how_to"
    assert "To descale the kettle: [1]" in answer.text
    places = [answer.text.index(word) for word in ("Fill it", "Boil the water", "Rinse")]
    assert places == sorted(places)
    assert quotes_stand(library, answer)


def test_a_definition_is_a_sentence_of_the_text(library: Library) -> None:
    answer = library.ask("What is a descaler?")
    assert answer.text == "A descaler is a mild acid that dissolves lime. [1]"
    assert quotes_stand(library, answer)


def test_where_it_says_so(library: Library) -> None:
    answer = library.ask("Where does it say that the kettle must not be put into a dishwasher?")
    assert "section “Warranty”" in answer.text
    assert answer.citations[0].quote.endswith("dishwasher.")


def test_summary_of_one_document_and_of_all(library: Library) -> None:
    one = library.ask("Summarize the kettle guide.", length=20)
    assert {citation.document for citation in one.citations} == {"Kettle K4 guide"}
    assert "Descaling; Lamp colors; Warranty" in one.text
    assert quotes_stand(library, one)
    longer = library.ask("Summarize the kettle guide.", length=200)
    assert len(longer.citations) > len(one.citations)
    every = library.ask("What are these documents about?")
    assert {c.document for c in every.citations} == {"Kettle K4 guide", "Toaster T2 guide"}


def test_two_documents_side_by_side(library: Library) -> None:
    answer = library.ask("Compare the kettle guide and the toaster guide on the warranty.")
    assert answer.text.index("two years") < answer.text.index("Toaster T2 guide:")
    assert answer.text.index("three years") > answer.text.index("Toaster T2 guide:")


def test_counts_are_those_of_the_texts(library: Library) -> None:
    answer = library.ask("How many documents mention the warranty?")
    assert answer.text.startswith("2 of 3 documents mention “warranty”, 3 times in all:")
    none = library.ask("Which documents mention a samovar?")
    assert none.text.startswith("0 of 3 documents")
    assert library.ask("How many documents are there?").text.startswith("3 documents:")
    both = library.ask("Which documents mention both lime and the warranty?")
    assert both.text.startswith("1 of 3 documents mentions both “lime” and “warranty”:")
    assert library.ask("Which documents are longer than 3 pages?").text.startswith("0 documents")


def test_numbers_over_a_table(library: Library) -> None:
    total = library.ask("What is the total price of the black parts?")
    assert "over 2 rows is 20.5 " in total.text
    assert 'sum("Price in euros")' in total.text
    assert [c.quote for c in total.citations][1:] == [
        "Lid | black | 12.50",
        "Handle | black | 8.00",
    ]
    assert "is 12.5 " in library.ask("Which part is the most expensive?").text
    assert library.ask("How many parts cost less than 10 euros?").text.startswith("2 rows")


@pytest.mark.parametrize(
    ("said", "question", "quote", "holds"),
    [
        ("No [1].", "May I play chess?", "Games are not permitted during working hours.", True),
        (
            "No [1].",
            "Must /usr be shareable?",
            "/usr is shareable, read-only data of all hosts.",
            False,
        ),
        ("No [1].", "Can it write fuse bits?", "The old boot loader does not support them.", False),
        ("Yes [1].", "May we sell copies of it?", "Licensed material means the whole work.", False),
        ("Yes [1].", "Can it program an EEPROM?", "It can program the Flash and EEPROM.", True),
        ("Yes [1].", "Can it read Excel files?", "Many ask how to read Excel files.", False),
        ("Nine [1].", "Does it open at nine?", "The shop opens at nine on every day.", True),
    ],
)
def test_a_yes_or_no_is_borne_out(said: str, question: str, quote: str, holds: bool) -> None:
    assert agrees(said, question, [quote]) is holds


def test_a_quote_decides_where_the_model_turned_it_around() -> None:
    question = "Are we allowed to play foosball during working hours?"
    quote = "Recreational activities are not permitted during working hours."
    assert decided("No [1].", question, [quote]) == "No [1]."
    assert decided("Yes, they are [1].", question, [quote]) == "No, they are [1]."
    assert decided(
        "No [1].", "Is the office open on Friday?", ["The office is open on Friday."]
    ) == ("Yes [1].")
    assert decided("No [1].", "Is the office open on Sunday?", ["Coffee is free."]) is None
    assert decided("At nine [1].", question, [quote]) == "At nine [1]."


def test_what_no_table_explains_is_not_computed(library: Library) -> None:
    answer = library.ask("What is the average salary of the staff?")
    assert not answer.composed


def test_an_abstention_shows_what_comes_nearest(library: Library) -> None:
    answer = library.ask("How do I bake a chocolate cake?")
    assert answer.abstained
    assert answer.citations == ()
    assert len(answer.nearest) == 3


def test_the_scope_is_one_document_or_several_collections(library: Library) -> None:
    only = library.ask("Which documents mention the warranty?", documents=["toaster.md"])
    assert only.text.startswith("1 of 1 document ")
    both = library.ask("How many documents are there?", collection=["default", "other"])
    every = library.ask("How many documents are there?", collection="*")
    assert both.text == every.text
    assert both.text.startswith("4 documents:")


@pytest.mark.parametrize(("name", "said"), [("guide", "fits several"), ("lamp.md", "no document")])
def test_a_document_that_is_not_one(library: Library, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        library.ask("Which documents mention the warranty?", documents=[name])
