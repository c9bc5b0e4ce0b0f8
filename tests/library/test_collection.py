"""The handle on one collection: the library's verbs without naming the collection again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragcore import Collection, Library, SearchQuery, Settings
from ragcore.errors import UsageError
from ragcore.types import AnswerStyle, Message, SearchResult
from ragcore.weights import WeightStore


@pytest.fixture
def library(starter_weights: WeightStore, tmp_path: Path) -> Iterator[Library]:
    with Library(Settings(home=tmp_path / "home", ocr="off", workers=1)) as library:
        yield library


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "bridge.md").write_text("# Bridge\n\nThe bridge opens at noon for tall ships.\n")
    (folder / "library.txt").write_text("Books are lent for three weeks.\n")
    return folder


def test_a_collection_is_ingested_searched_and_listed(library: Library, files: Path) -> None:
    papers = library.collection("papers")
    report = papers.ingest([files])
    assert (report.added, report.failed) == (2, [])
    found = papers.search("when does the bridge open", k=1)
    assert [hit.path for hit in found.hits] == [str(files / "bridge.md")]
    assert papers.search("bridge", where={"name": "library.txt"}).hits == ()
    documents = list(papers.documents())
    assert [(d.path, d.state, d.media_type) for d in documents] == [
        (str(files / "bridge.md"), "ready", "text/markdown"),
        (str(files / "library.txt"), "ready", "text/plain"),
    ]
    assert documents[0].passages == 1
    assert documents[0].size == (files / "bridge.md").stat().st_size
    assert [row.name for row in library.collections()] == ["papers"]


def test_documents_are_read_in_pages(
    library: Library, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    papers = library.collection("papers")
    papers.ingest([files])
    monkeypatch.setattr("ragcore.library.collection._PAGE", 1)
    assert [Path(d.path).name for d in papers.documents()] == ["bridge.md", "library.txt"]


def test_a_question_goes_to_its_collection(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def ask(self: Library, question: str, **how: object) -> None:
        asked.update(how, question=question)

    monkeypatch.setattr(Library, "ask", ask)
    history = (Message("user", "And before?"),)
    library.collection("papers").ask("When?", k=2, where={"type": "pdf"}, history=history)
    assert asked == {
        "question": "When?",
        "collection": "papers",
        "documents": (),
        "k": 2,
        "where": {"type": "pdf"},
        "history": history,
        "schema": None,
        "length": None,
        "style": AnswerStyle(),
        "cancel": None,
    }


def test_a_query_keeps_its_own_fields(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[SearchQuery] = []

    def search(self: Library, query: SearchQuery) -> SearchResult:
        searched.append(query)
        return SearchResult(())

    monkeypatch.setattr(Library, "search", search)
    papers = library.collection("papers")
    papers.search(SearchQuery(text="red", k=7, kind="images", cutoff=0.0))
    papers.search(SearchQuery(text="red", k=7), k=3, kind="passages")
    papers.search("red")
    assert searched == [
        SearchQuery(text="red", k=7, kind="images", cutoff=0.0, collection="papers"),
        SearchQuery(text="red", k=3, kind="passages", collection="papers"),
        SearchQuery(text="red", collection="papers"),
    ]
    with pytest.raises(UsageError, match="names collection 'trips', not 'papers'"):
        papers.search(SearchQuery(text="red", collection="trips"))


def test_a_handle_is_a_value(library: Library) -> None:
    papers = library.collection("papers")
    assert papers == Collection(library, "papers")
    with pytest.raises(dataclasses.FrozenInstanceError):
        papers.name = "other"  # type: ignore[misc]


def test_a_handle_counts_labels_and_streams(library: Library, files: Path) -> None:
    papers = library.collection("papers")
    papers.ingest([files])
    assert papers.info() == library.find_collection("papers")
    assert papers.statistics().documents == 2
    assert papers.label(["a bridge", "a book"]) == []
    *_, last = papers.ask_stream("How many documents are there?")
    assert last.answer is not None
    assert last.answer.text.startswith("2 documents:")


def test_an_unknown_collection_is_one_line(library: Library) -> None:
    with pytest.raises(UsageError, match="nothing"):
        library.collection("nothing").search("anything")
    with pytest.raises(UsageError, match="nothing"):
        list(library.collection("nothing").documents())
