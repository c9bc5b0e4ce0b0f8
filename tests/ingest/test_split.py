"""Passages: exact offsets, nothing lost, sentences whole, headings and tables respected."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragcore.ingest.split import (
    approximate_tokens,
    document_text,
    page_starts,
    split,
)
from ragcore.readers import read
from ragcore.types import Page, PassageDraft, PassageSize, ReadDocument

from .ingest_samples import PROSE


def document(*texts: str, headings: tuple[tuple[int, int, str], ...] = ()) -> ReadDocument:
    pages = tuple(
        Page(number=n, text=text, headings=headings if n == 1 else ())
        for n, text in enumerate(texts, start=1)
    )
    return ReadDocument("text/plain", "", pages)


def page_of(offset: int, pages: Sequence[Page]) -> int:
    return pages[sum(start <= offset for start in page_starts(pages)) - 1].number


def check(source: ReadDocument, passages: list[PassageDraft]) -> None:
    text = document_text(source.pages)
    covered = bytearray(len(text))
    previous = 0
    for passage in passages:
        assert passage.text == text[passage.start : passage.end]
        assert passage.text.strip() == passage.text != ""
        assert passage.start >= previous
        previous = passage.end
        assert passage.page == page_of(passage.start, source.pages)
        assert passage.page_end == page_of(passage.end - 1, source.pages)
        covered[passage.start : passage.end] = b"\1" * (passage.end - passage.start)
    lost = [text[i] for i in range(len(text)) if not covered[i] and not text[i].isspace()]
    assert lost == []


words = st.text(st.sampled_from("abcdefgh ABC.,;:!?-\n\t|1234567890äöüß漢字é()\"'"), max_size=400)


@given(
    pages=st.lists(words, min_size=1, max_size=4),
    tokens=st.integers(1, 120),
)
@settings(max_examples=300, deadline=None)
def test_nothing_is_lost_and_offsets_are_exact(pages: list[str], tokens: int) -> None:
    source = document(*pages)
    passages = split(source, PassageSize(tokens))
    check(source, passages)
    assert passages == split(source, PassageSize(tokens))


@given(pages=st.lists(words, min_size=1, max_size=3), limit=st.integers(8, 60))
@settings(max_examples=200, deadline=None)
def test_passages_keep_to_the_limit(pages: list[str], limit: int) -> None:
    for passage in split(document(*pages), PassageSize(limit)):
        assert approximate_tokens(passage.text) <= limit


@given(
    text=words,
    marks=st.lists(st.tuples(st.integers(0, 399), st.integers(1, 6)), max_size=6),
)
@settings(max_examples=200, deadline=None)
def test_headings_anywhere(text: str, marks: list[tuple[int, int]]) -> None:
    inside = sorted({at: level for at, level in marks if at < len(text)}.items())
    headings = tuple((at, level, f"H{at}") for at, level in inside)
    source = document(text, headings=headings)
    check(source, split(source, PassageSize(30)))


def test_sentences_stay_whole() -> None:
    source = document("\n\n".join([PROSE * 4, PROSE * 5]))
    for passage in split(source):
        assert passage.text[0].isupper()
        assert passage.text[-1] == "."
        assert not passage.text.endswith(("Dr.", "3."))


def test_a_sentence_goes_on_over_the_page_break() -> None:
    source = document("Ships that arrive before dawn wait at the", "outer buoy for a pilot.")
    [passage] = split(source)
    assert (passage.page, passage.page_end) == (1, 2)
    assert passage.text == "Ships that arrive before dawn wait at the\fouter buoy for a pilot."


def test_headings_open_passages_and_give_their_path() -> None:
    text = f"Rules\n\n{PROSE}\n\nAt night\n\n{PROSE}\n\nFees\n\n{PROSE}"
    headings = (
        (0, 1, "Rules"),
        (text.index("At night"), 2, "At night"),
        (text.index("Fees"), 1, "Fees"),
    )
    passages = split(document(text, headings=headings))
    assert [p.heading for p in passages] == ["Rules", "Rules > At night", "Fees"]
    assert [p.text.split("\n")[0] for p in passages] == ["Rules", "At night", "Fees"]


def test_a_heading_alone_goes_with_what_follows() -> None:
    text = f"Part One\n\nChapter 1\n\n{PROSE}"
    headings = ((0, 1, "Part One"), (10, 2, "Chapter 1"))
    [passage] = split(document(text, headings=headings))
    assert passage.heading == "Part One > Chapter 1"


def test_an_introduction_stays_with_its_list() -> None:
    filler = " ".join(f"Sentence number {n} says nothing much at all." for n in range(15))
    listed = "\n".join(f"- item {n} of the list of things to bring" for n in range(8))
    passages = split(document(f"{filler}\n\nYou must bring these things:\n\n{listed}"))
    [holder] = [p for p in passages if "You must bring" in p.text]
    assert "item 0" in holder.text


def test_long_tables_are_cut_at_rows_and_keep_their_header() -> None:
    rows = [f"part{n} | ATtiny{n} | {n * 7} bytes" for n in range(200)]
    source = document(
        "Sizes\n\n" + "\n".join(["name | chip | size", *rows]), headings=((0, 1, "Sizes"),)
    )
    passages = split(source)
    assert len(passages) > 3
    for passage in passages[1:]:
        assert passage.heading == "Sizes > name | chip | size"
        for line in passage.text.split("\n"):
            assert line in rows
    check(source, passages)


def test_code_is_cut_at_lines() -> None:
    lines = [f"    value_{n} = compute(value_{n - 1}, {n})" for n in range(1, 120)]
    for passage in split(document("\n".join(lines))):
        assert all(line.strip() in passage.text for line in passage.text.split("\n"))
        assert passage.text.split("\n")[0].startswith("value_")


@pytest.mark.parametrize("text", ["", " \n\t ", "\n\n\n"])
def test_no_empty_passages(text: str) -> None:
    assert split(document(text, text)) == []


@pytest.mark.parametrize(
    "size", [PassageSize(0), PassageSize(10, overlap=10), PassageSize(10, -1), PassageSize(9, 0, 0)]
)
def test_wrong_sizes_are_refused(size: PassageSize) -> None:
    with pytest.raises(ValueError, match="overlap of fewer"):
        split(document("x"), size)


def test_passages_overlap_by_whole_sentences() -> None:
    text = " ".join(f"This is sentence number {n} of the plain text." for n in range(80))
    source = document(text)
    plain, passages = split(source, PassageSize(60)), split(source, PassageSize(80, overlap=20))
    assert [one.end for one in passages] == [one.end for one in plain]
    for before, after in itertools.pairwise(passages):
        assert after.text == text[after.start : after.end]
        shared = text[after.start : before.end]
        assert 0 < approximate_tokens(shared) <= 20
        assert after.text.startswith("This is sentence")
        assert approximate_tokens(after.text) <= 80


def test_passages_under_another_heading_do_not_overlap() -> None:
    first = " ".join(f"The first part has sentence {n}." for n in range(20))
    text = f"{first}\n\nSecond\n\nThe second part is short."
    source = document(text, headings=((len(first) + 2, 1, "Second"),))
    passages = split(source, PassageSize(60, overlap=20))
    assert passages[-1].text.startswith("Second")


def test_a_coarser_vocabulary_has_longer_passages() -> None:
    source = document(PROSE * 10)
    fine, coarse = split(source, PassageSize(220, 0, 1.5)), split(source, PassageSize(220, 0, 0.7))
    assert len(fine) > len(split(source)) > len(coarse)


def test_places() -> None:
    pages = document("abc", "", "de").pages
    assert document_text(pages) == "abc\f\fde"
    assert page_starts(pages) == [0, 4, 5]


@pytest.mark.parametrize(
    "unit",
    [PROSE + "\n\n", "x", "word ", "one. ", "a\n", "a | b\n", "漢字。", "\n\n- x", "a: ", "\f"],
)
def test_time_grows_with_length_only(unit: str) -> None:
    def seconds(length: int) -> float:
        source = document(unit * (length // len(unit)))
        begin = time.process_time()
        split(source)
        return time.process_time() - begin

    seconds(10_000)
    short = min(seconds(100_000) for _ in range(3))
    assert seconds(1_000_000) < 40 * short + 0.5


def test_all_types_split(samples: dict[str, Path]) -> None:
    for path in samples.values():
        source = read(path)
        check(source, split(source))


@pytest.mark.shared
def test_real_documents(shared: Path) -> None:
    for name in ("qed-tacl-paper.pdf", "avrdude-manual.pdf"):
        source = read(shared / "data/text/pdf/files" / name)
        passages = split(source)
        check(source, passages)
        assert all(approximate_tokens(p.text) <= 220 for p in passages)
        short = [p for p in passages if approximate_tokens(p.text) < 25]
        assert len(short) <= 0.05 * len(passages)
