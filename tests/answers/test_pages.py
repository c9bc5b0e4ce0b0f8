"""A citation's page is the one that its quote stands on, in every PDF of the shared data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pypdfium2
import pytest

from ragcore.answers.citations import check_citations
from ragcore.answers.sentences import Sentence, sentences, words
from ragcore.errors import UnreadableFile
from ragcore.ingest.split import split
from ragcore.readers import read
from ragcore.types import Hit, PassageDraft, ReadDocument

_PLAIN = re.compile(r"[^\w]|_")


def squashed(text: str) -> str:
    """Letters and digits alone: line breaks, hyphens and spaces are the reader's affair."""
    return _PLAIN.sub("", text).lower()


class PagesOfPdf:
    """What PDFium itself finds on each page, apart from how ragcore reads and splits it; of a
    scan, in which it finds nothing, what was recognized.
    """

    def __init__(self, path: Path, read: ReadDocument) -> None:
        self._document = pypdfium2.PdfDocument(path)
        self._texts = {page.number: squashed(page.text) for page in read.pages if page.ocr}

    def text(self, number: int) -> str:
        if number not in self._texts:
            page = self._document[number - 1].get_textpage()
            self._texts[number] = squashed(page.get_text_range())
        return self._texts[number]


def crossing(passages: list[PassageDraft]) -> Iterator[tuple[PassageDraft, Sentence]]:
    """Sentences of passages that stand on several pages: a wrong page is possible there."""
    for passage in passages:
        if passage.page_end > passage.page:
            for sentence in sentences(passage.text):
                if len(words(sentence.text)) >= 4:
                    yield passage, sentence


@pytest.mark.shared
def test_the_words_of_a_quote_stand_on_the_cited_page(shared: Path) -> None:
    seen, unreadable = 0, set()
    for file in sorted(shared.joinpath("data").rglob("*.pdf")):
        try:
            document = read(file)
        except UnreadableFile:
            unreadable.add(file.name)
            continue
        pages = PagesOfPdf(file, document)
        for passage, sentence in crossing(split(document)):
            hit = Hit(
                1, "passage", 1.0, 1, file.stem, str(file), passage.text,
                page=passage.page, page_end=passage.page_end, span=(passage.start, passage.end),
            )  # fmt: skip
            for citation in check_citations(f"{sentence.text} [1]", "What?", [hit]).citations:
                assert citation.page is not None
                assert citation.page_end is not None
                parts = citation.quote.split("\f")
                assert len(parts) == citation.page_end - citation.page + 1
                for number, part in enumerate(parts, citation.page):
                    lost = [w for w in part.split() if squashed(w) not in pages.text(number)]
                    assert not lost, (file.name, number, part)
                seen += 1
    assert seen > 1000
    assert unreadable == {"broken-truncated.pdf", "locked-openpassword.pdf"}
