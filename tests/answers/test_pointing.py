"""Answers that a span reader points to: their words, the sentence cited, the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from ragcore.answers.pointing import beyond_spans, point
from ragcore.models import Span
from ragcore.types import Hit

TEXT = "Some words before. Ships pay\n  harbour dues of 240 euros, in advance. Boats pay nothing."


class NumberReader:
    """A rule as a reader: the first number of each passage with its unit, shorter ones first."""

    def warm_up(self) -> None:
        pass

    def read(
        self, question: str, passages: Sequence[str], titles: Sequence[str] = ()
    ) -> list[Span]:
        found = [re.search(r"\d+ \w+,?", text) for text in passages]
        spans = [
            Span(n, *match.span(), score=2.0 - len(match.group()) / 100, relevance=0.0)
            for n, match in enumerate(found)
            if match
        ]
        return sorted(spans, key=lambda span: -span.rank)


def hit(text: str, **fields: object) -> Hit:
    made = Hit(7, "passage", 1.0, 3, "Rules of the harbour", "rules.pdf", text)
    return replace(made, **fields)  # type: ignore[arg-type]


def test_words_and_the_sentence_they_stand_in() -> None:
    hits = [hit("Nothing to read here."), hit(TEXT, page=4, span=(1000, 1000 + len(TEXT)))]
    found = point("How much do ships pay?", hits, NumberReader())
    assert found is not None
    assert found.words == "240 euros"
    cited = found.citation
    assert cited.n == 2
    assert cited.quote == "Ships pay\n  harbour dues of 240 euros, in advance."
    assert cited.span == (1000 + TEXT.index("Ships"), 1000 + TEXT.index(" Boats"))
    assert cited.page == 4
    assert 0.8 < found.confidence < 0.9


def test_a_quote_over_a_page_break_begins_on_its_own_page() -> None:
    text = "The end of a page.\fShips pay 240 euros. Boats pay nothing."
    found = point("How much?", [hit(text, page=4, page_end=5)], NumberReader())
    assert found is not None
    assert found.citation.page == 5


def test_nothing_is_pointed_to_where_there_is_nothing() -> None:
    assert point("How much?", [hit("No number.")], NumberReader()) is None
    assert point("How much?", [], NumberReader()) is None


class PieceReader:
    """Points to one piece of text wherever it stands."""

    def __init__(self, piece: str) -> None:
        self.piece = piece

    def warm_up(self) -> None:
        pass

    def read(
        self, question: str, passages: Sequence[str], titles: Sequence[str] = ()
    ) -> list[Span]:
        found = [text.find(self.piece) for text in passages]
        return [Span(n, at, at + len(self.piece), 1.0, 0.0) for n, at in enumerate(found)]


@pytest.mark.parametrize(
    ("text", "piece", "words"),
    [
        ("Use read.fwf for such files.", "fwf", "read.fwf"),
        ("Its file is /run/crond.pid, a path.", "/run", "/run/crond.pid"),
        ("It costs $5.50 today.", "5", "$5.50"),
        ("See A5:2017-Broken Access Control.", "2017-Broken Access", "A5:2017-Broken Access"),
        ("Set it to 30 days. Then wait.", "30 days", "30 days"),
        ("The name ends in fwf. Then more.", "fwf", "fwf"),
        ("Ask for well-known ports: 80.", "known ports", "well-known ports"),
        ("A share of 25% is paid.", "25", "25%"),
        ("It is (about) 12 m high.", "about", "about"),
    ],
)
def test_identifiers_and_amounts_stay_whole(text: str, piece: str, words: str) -> None:
    found = point("What?", [hit(text)], PieceReader(piece))
    assert found is not None
    assert found.words == words


@pytest.mark.parametrize(
    ("question", "text", "beyond"),
    [
        ("How much do ships pay?", TEXT, False),
        ("Wie viel bezahlen Schiffe?", TEXT, True),
        ("Combien les navires paient-ils ?", TEXT, True),
        ("¿Cuánto pagan los barcos?", TEXT, True),
        (
            "What is the area of Finland?",
            "Country\tCapital\tArea\nFinland\tHelsinki\t338,424\nMalta\tValletta\t316",
            True,
        ),
        (
            "Who rules the sea?",
            "Country\tCapital\tArea\nFinland\tHelsinki\t338,424\nMalta\tValletta\t316",
            False,
        ),
    ],
)
def test_tables_and_other_languages_are_beyond_it(question: str, text: str, beyond: bool) -> None:
    assert beyond_spans(question, [hit(text)]) is beyond
