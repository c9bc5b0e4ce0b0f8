from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragcore.answers.citations import Rerank, check_citations, numbers, without_marks
from ragcore.answers.sentences import sentences, words
from ragcore.types import Hit

from ..shared_models import models_of

FOOSBALL = "Are we allowed to play foosball?"


def quoted(hits: list[Hit], text: str, question: str = FOOSBALL, **how):
    return check_citations(text, question, hits, **how)


def test_a_citation_that_holds_is_kept_with_its_exact_quote(leave: Hit, rules: Hit) -> None:
    checked = quoted(
        [leave, rules], "No, recreational activities are not permitted during working hours [2]."
    )
    assert checked.text == (
        "No, recreational activities are not permitted during working hours [2]."
    )
    (citation,) = checked.citations
    assert citation.quote == "Recreational activities are not permitted during working hours."
    assert (citation.n, citation.page, citation.document_id) == (2, 4, 1)
    start, end = citation.span or (0, 0)
    assert rules.text[start - 1000 : end - 1000] == citation.quote


def test_a_citation_of_the_wrong_passage_is_moved(leave: Hit, rules: Hit) -> None:
    checked = quoted([leave, rules], "Recreational activities are not permitted [1].")
    assert [c.n for c in checked.citations] == [2]
    assert checked.text == "Recreational activities are not permitted [2]."


def test_a_missing_citation_is_found(leave: Hit, rules: Hit) -> None:
    checked = quoted([leave, rules], "25 days of paid leave", "How much leave is there?")
    assert checked.text == "25 days of paid leave [1]."


def test_what_nothing_supports_is_dropped(leave: Hit, rules: Hit) -> None:
    checked = quoted(
        [leave, rules],
        "Employees get 25 days of paid leave [1]. The director owns three yachts [2].",
    )
    assert checked.text == "Employees get 25 days of paid leave [1]."
    assert checked.dropped == ("The director owns three yachts.",)
    nothing = quoted([leave, rules], "The moon is made of cheese [1].")
    assert nothing.citations == ()
    assert nothing.text == ""


def test_a_wrong_number_is_not_supported(leave: Hit) -> None:
    assert quoted([leave], "Employees get 30 days of paid leave a year [1].").citations == ()
    assert quoted([leave], "Employees get 25 days of paid leave a year [1].").citations


def test_a_yes_that_leaves_out_the_not_is_not_supported(rules: Hit) -> None:
    wrong = "Yes, recreational activities are permitted during working hours [1]."
    assert quoted([rules], wrong).citations == ()


def test_numbers_beyond_the_documents_are_ignored(leave: Hit) -> None:
    checked = quoted([leave], "Employees get 25 days of paid leave [7].")
    assert [c.n for c in checked.citations] == [1]


@pytest.mark.starter_models
def test_embeddings_support_a_paraphrase(leave: Hit, rules: Hit, starter_weights) -> None:
    encoder = models_of().text_encoder()
    text = "Staff receive about five weeks of holidays annually [1]."
    assert quoted([leave, rules], text, "How much vacation?").citations == ()
    checked = quoted([leave, rules], text, "How much vacation?", encode=encoder.encode)
    assert [c.quote for c in checked.citations] == ["Employees get 25 days of paid leave a year."]
    unrelated = "Bananas are rich in potassium [1]."
    assert not quoted([leave], unrelated, "Are bananas good?", encode=encoder.encode).citations


def test_a_question_near_the_passage_does_not_support_any_answer(
    leave: Hit, starter_weights: object
) -> None:
    encode = models_of().text_encoder().encode
    question = "Through which office do employees request their days of paid leave a year?"
    wrong = "The harbour master [1]."
    near = encode([f"{question} The harbour master.", leave.text])
    assert near[0] @ near[1] > 0.55, "the pair is near all the same"
    assert quoted([leave], wrong, question, encode=encode).citations == ()
    assert quoted([leave], "The personnel office [1].", question, encode=encode).citations


def test_a_quote_has_the_pages_that_it_stands_on(leave: Hit) -> None:
    text = "Harbour rules begin.\fPilots wait at the\fouter buoy.\fShips leave at noon."
    source = replace(leave, text=text, page=4, page_end=7, span=(0, len(text)))
    for said, pages in {
        "Harbour rules begin": (4, 4),
        "Pilots wait at the outer buoy": (5, 6),
        "Ships leave at noon": (7, 7),
    }.items():
        (citation,) = quoted([source], f"{said} [1].").citations
        assert (citation.page, citation.page_end) == pages
    unpaged = replace(source, page=None, page_end=None)
    (citation,) = quoted([unpaged], "Ships leave at noon [1].").citations
    assert (citation.page, citation.page_end) == (None, None)


def test_a_page_number_is_no_part_of_a_quote(leave: Hit) -> None:
    text = "2\fTable 1: Countries\nFinland 338,424\f3"
    source = replace(leave, text=text, page=2, page_end=4, span=(10, 10 + len(text)))
    (citation,) = quoted([source], "Finland 338,424 [1].").citations
    assert citation.quote == "Table 1: Countries\nFinland 338,424"
    assert (citation.page, citation.page_end) == (3, 3)
    assert citation.span == (12, 12 + len(citation.quote))


def test_a_name_is_whole(leave: Hit) -> None:
    source = replace(
        leave, text="For example, the crond PID file is named /run/crond.pid. Bees fly."
    )
    question = "What is the name of the PID file of crond?"
    assert quoted([source], "crond.pid [1].", question).text == "/run/crond.pid [1]."
    both = replace(leave, text="The PID file crond.pid is /run/crond.pid, or /var/crond.pid.")
    assert quoted([both], "crond.pid [1].", question).text == "crond.pid [1]."
    two = replace(leave, text="The PID file is /run/crond.pid, and it was /var/crond.pid.")
    assert quoted([two], "crond.pid [1].", question).text == "crond.pid [1]."


def test_an_identifier_keeps_its_case(leave: Hit) -> None:
    source = replace(leave, text="The function read.fwf reads fixed width files. Bees fly.")
    checked = quoted([source], "Read.fwf reads fixed width files [1].", "What reads them?")
    assert checked.text == "read.fwf reads fixed width files [1]."
    assert quoted([source], "Bees fly [1].", "Who flies?").text == "Bees fly [1]."


def test_a_passage_without_a_span_has_quotes_without_one(leave: Hit) -> None:
    checked = quoted([replace(leave, span=None)], "25 days of paid leave [1].")
    assert checked.citations[0].span is None


def test_marks() -> None:
    assert numbers("One [2]. Two [1, 3][2].") == [2, 1, 3]
    assert without_marks("At nine [1][2].") == "At nine."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
        ("It costs 3.50 euros. e.g. nothing", ["It costs 3.50 euros. e.g. nothing"]),
        ("A heading\n\nA paragraph.", ["A heading", "A paragraph."]),
        ("By Brian S. Dean. It grew.", ["By Brian S. Dean.", "It grew."]),
        ("J. R. R. Tolkien wrote it.", ["J. R. R. Tolkien wrote it."]),
        ("Take vitamin C. It helps.", ["Take vitamin C.", "It helps."]),
        ("See Fig. 3 and Dr. Smith.", ["See Fig. 3 and Dr. Smith."]),
        ("He left the U.S. The end.", ["He left the U.S.", "The end."]),
        ("The U.S. Army left.", ["The U.S. Army left."]),
        ("See read.table. read.fwf reads it.", ["See read.table.", "read.fwf reads it."]),
        ("1. Open it. 2. Close it.", ["1. Open it.", "2. Close it."]),
        ("To do:\n- open\n- close", ["To do:", "- open", "- close"]),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert [s.text for s in sentences(text)] == expected


@given(st.text(alphabet="ab. !?\n\"'[1]A", max_size=80))
def test_sentences_stand_where_they_say(text: str) -> None:
    found = sentences(text)
    for sentence in found:
        assert text[sentence.start : sentence.end] == sentence.text
        assert sentence.text == sentence.text.strip() != ""
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert "".join("".join(s.text.split()) for s in found) == "".join(text.split())


@given(st.text(alphabet="abc [123],.!?\nX", max_size=60))
def test_checking_never_fails_and_quotes_are_exact(text: str) -> None:
    passage = "abc X. ab 12! c\n3 X abc?"
    source = Hit(1, "passage", 1.0, 1, "d", "d.txt", passage, span=(10, 10 + len(passage)))
    for citation in check_citations(text, "abc?", [source]).citations:
        assert citation.quote in passage
        assert citation.span is not None
        assert passage[citation.span[0] - 10 : citation.span[1] - 10] == citation.quote


def test_words_are_stems_and_numbers_as_written() -> None:
    assert words("The Permitted activities of 3.5 days") == ["permit", "activ", "3.5", "day"]


@pytest.mark.starter_models
def test_a_reranker_can_object_to_what_only_embeddings_support(
    leave: Hit, starter_weights: object
) -> None:
    encode = models_of().text_encoder().encode
    text = "Staff receive about five weeks of holidays annually [1]."
    seen: list[str] = []

    def judging(logit: float) -> Rerank:
        def rerank(query: str, passages: Sequence[str]) -> np.ndarray:
            seen.append(query)
            return np.full(len(passages), logit, np.float32)

        return rerank

    for logit, count in ((4.0, 1), (-4.0, 0)):
        how = {"encode": encode, "rerank": judging(logit)}
        assert len(check_citations(text, "How much vacation?", [leave], **how).citations) == count
    said = "How much vacation? Staff receive about five weeks of holidays annually."
    assert seen == [said, said]
    plain = check_citations(
        "Employees get 25 days [1].", "How many?", [leave], rerank=judging(-4.0)
    )
    assert plain.citations  # the words stand there: nobody is asked
