"""Searching by words: what is found, what is not, in which order and why."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ragcore.catalog import Catalog
from ragcore.catalog.documents import remove_documents
from ragcore.errors import UnreadableFile, UsageError
from ragcore.models import Models
from ragcore.search import SearchEngine, Stores
from ragcore.settings import Settings
from ragcore.types import SearchQuery


def search(engine: SearchEngine, text: str, **fields: object) -> list[str]:
    query = SearchQuery(text=text, kind="passages", **fields)  # type: ignore[arg-type]
    return [hit.text for hit in engine.search(query).hits]


@pytest.mark.usefixtures("library")
class TestPassages:
    def test_by_meaning(self, engine: SearchEngine) -> None:
        assert "table football" in search(engine, "Are we allowed to play foosball at work?")[0]
        assert "boundary layer" in search(engine, "why does an aeroplane stall", cutoff=0.0)[0]

    @pytest.mark.parametrize(
        ("query", "right"),
        [
            ("QX-7719", "QX-7719"),
            ("backupd.pid", "backupd.pid"),
            ("/var/log/backupd.log", "backupd.log"),
            ("ATP mitochondria", "Mitochondria"),
        ],
    )
    def test_by_exact_words(self, engine: SearchEngine, query: str, right: str) -> None:
        assert right in search(engine, query)[0]

    @pytest.mark.parametrize(
        "query", ["lottery numbers of last week", "recipe for pumpkin soup", "zzzz qqqq", "🦄🦄"]
    )
    def test_nothing_fits(self, engine: SearchEngine, query: str) -> None:
        result = engine.search(SearchQuery(text=query, kind="passages", k=3))
        assert result.hits == ()
        assert len(result.below) == 3
        assert all(hit.score < result.cutoff for hit in result.below)

    def test_cutoff_moves(self, engine: SearchEngine) -> None:
        text = "recipe for pumpkin soup"
        everything = engine.search(SearchQuery(text=text, kind="passages", k=100, cutoff=0))
        assert len(everything.hits) == 9
        assert everything.below == ()
        nothing = engine.search(SearchQuery(text="flutter", kind="passages", cutoff=1))
        assert nothing.hits == ()
        assert nothing.below[0].text.startswith("Flutter")

    def test_cutoff_of_the_collection(self, engine: SearchEngine, catalog: Catalog) -> None:
        catalog.update_collection_settings("default", cutoff=0.999)
        result = engine.search(SearchQuery(text="expenses", kind="passages"))
        assert result.cutoff == 0.999
        assert result.hits == ()

    def test_what_a_hit_says(self, engine: SearchEngine, library: dict[str, int]) -> None:
        result = engine.search(SearchQuery(text="reimbursed travelling expense", k=2))
        hit = result.hits[0]
        assert hit.kind == "passage"
        assert hit.document_id == library["/docs/handbook/rules.pdf"]
        assert (hit.document, hit.path) == ("rules.pdf", "/docs/handbook/rules.pdf")
        assert (hit.page, hit.page_end, hit.media_type) == (2, 2, "application/pdf")
        assert hit.span is not None
        assert hit.span[1] - hit.span[0] == len(hit.text)
        assert hit.collection == "default"
        assert hit.why.matched == ("Travel", "expenses")
        assert hit.why.dense is not None
        assert 0.2 < hit.why.dense < 1
        assert hit.why.lexical is not None
        assert hit.why.lexical > 0
        assert hit.why.rerank is None
        assert {"encode", "dense", "lexical", "fuse", "total"} <= set(result.seconds)

    def test_pages_only_where_they_are_real(self, engine: SearchEngine) -> None:
        hit = engine.search(SearchQuery(text="flutter", kind="passages")).hits[0]
        assert hit.page is None

    def test_scores_fall_and_stay_in_bounds(self, engine: SearchEngine) -> None:
        result = engine.search(SearchQuery(text="cell energy from light", k=9, cutoff=0))
        scores = [hit.score for hit in result.hits]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)

    def test_k(self, engine: SearchEngine) -> None:
        assert len(search(engine, "the", k=4, cutoff=0.0)) == 4
        assert len(search(engine, "the", k=1000, cutoff=0.0)) == 9

    def test_minus(self, engine: SearchEngine) -> None:
        both = search(engine, "energy of living things", k=2, cutoff=0.0)
        assert {text.split()[0] for text in both} == {"Mitochondria", "Chloroplasts"}
        assert both[0].startswith("Mitochondria")
        query = SearchQuery(
            text="energy of living things", minus="mitochondria", kind="passages", k=9, cutoff=0
        )
        order = [hit.text.split()[0] for hit in engine.search(query).hits]
        assert order.index("Chloroplasts") < order.index("Mitochondria")

    def test_removed_is_not_found(
        self, engine: SearchEngine, catalog: Catalog, library: dict[str, int]
    ) -> None:
        assert search(engine, "flutter")
        with catalog.write() as session:
            remove_documents(session, 1, [library["/docs/science/wing.txt"]])
        assert not any("Flutter" in text for text in search(engine, "flutter", cutoff=0.0))

    def test_added_is_found_at_once(self, engine: SearchEngine, add) -> None:  # type: ignore[no-untyped-def]
        assert not search(engine, "volcano eruption")
        add("/docs/new.txt", ["The volcano erupted and covered the town in ash."])
        assert "volcano" in search(engine, "volcano eruption")[0]

    def test_collections_are_apart(self, engine: SearchEngine, add) -> None:  # type: ignore[no-untyped-def]
        add("/other/wing.txt", ["Flutter destroyed the bridge in 1940."], collection="other")
        assert [
            text[:20] for text in search(engine, "flutter", collection="other", cutoff=0.0)
        ] == ["Flutter destroyed th"]
        assert not any("1940" in text for text in search(engine, "flutter 1940", cutoff=0.0))
        # Neither a name inside the index nor another collection's is a word.
        assert not search(engine, "c1 scope")

    def test_from_many_threads(self, engine: SearchEngine) -> None:
        problems: list[BaseException] = []

        def look() -> None:
            try:
                for _ in range(5):
                    assert search(engine, "password reset")[0].startswith("To reset")
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not problems

    @pytest.mark.parametrize(
        "text",
        [
            '"', "'", "*", "a*", "NEAR(", "NEAR(a b, 3)", "AND", "OR NOT", "a AND", "(a", "a)",
            "^a", "text:secret", "scope:c2", "{text}: a", "a\x00b", "\ud83d\ude00", "東京の天気",
            "-", "--", "'; DROP TABLE passages; --",
            "%", "_", "\\", "\n\t", "a" * 5000, "word " * 3000,
            "١٢٣", "ﬁne ﬂutter", "e\u0301tude", "\u202eflutter", "A" * 300 + '"' * 300,
        ],
    )  # fmt: skip
    def test_any_string_is_safe(self, engine: SearchEngine, text: str) -> None:
        if not text.strip():
            with pytest.raises(UsageError):
                engine.search(SearchQuery(text=text))
        else:
            engine.search(SearchQuery(text=text.encode("utf-8", "replace").decode()))

    def test_really_any_string(self, engine: SearchEngine) -> None:
        # Made here and not by decorators on the method: each database has its own engine.
        @hypothesis_settings(
            max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        )
        @given(st.text(min_size=1, max_size=60))
        def searched(text: str) -> None:
            if text.strip():
                assert engine.search(SearchQuery(text=text, kind="passages")) is not None

        searched()


@pytest.mark.usefixtures("library")
class TestBadUsage:
    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({}, "the query is empty"),
            ({"text": "  \n"}, "the query is empty"),
            ({"text": "a", "k": 0}, "k is a number from 1 to 1000, not 0"),
            ({"text": "a", "k": 1001}, "not 1001"),
            ({"text": "x" * 10_000_000}, "10,000,000 characters"),
            ({"text": "a", "minus": "x" * 30_000}, "30,000 characters"),
            ({"text": "a", "collection": "none"}, "no collection named 'none' .known: default"),
            ({"text": "a", "where": {"colour": "red"}}, "unknown filter 'colour'; known are type"),
            ({"text": "a", "cutoff": 1.5}, "cut-off"),
            ({"text": "a", "kind": "sounds"}, "kind is passages, images or all"),
            ({"text": "a", "minus_weight": -1}, "minus_weight"),
            ({"image": "/no/such/file.png"}, "no such image: /no/such/file.png"),
            ({"image": b"x", "kind": "passages"}, "passages are found by words"),
            ({"text": "a", "same_image": True}, "give the image"),
        ],
    )
    def test_one_clear_line(
        self, engine: SearchEngine, fields: dict[str, object], said: str
    ) -> None:
        with pytest.raises(UsageError, match=said) as caught:
            engine.search(SearchQuery(**fields))  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 250

    def test_reranking_without_a_reranker(
        self, catalog: Catalog, stores: Stores, settings: Settings, tmp_path: Path
    ) -> None:
        path = tmp_path / "plain.toml"
        path.write_text('name = "plain"\n')
        plain = Settings(home=tmp_path, profile=str(path))
        engine = SearchEngine(catalog, stores, plain, models=Models(plain))
        with pytest.raises(UsageError, match="has no reranker here; run `ragcore models pull`"):
            engine.search(SearchQuery(text="a", kind="passages", rerank=True))
        engine.close()

    def test_a_file_that_is_no_image(self, engine: SearchEngine) -> None:
        with pytest.raises(UnreadableFile, match="the image: "):
            engine.search(SearchQuery(image=b"GIF89a no"))


def test_empty_collection(engine: SearchEngine, catalog: Catalog) -> None:
    catalog.create_collection("default")
    result = engine.search(SearchQuery(text="anything", kind="passages"))
    assert (result.hits, result.below) == ((), ())


def test_model_that_does_not_fit(engine: SearchEngine, catalog: Catalog) -> None:
    row = catalog.create_collection("default")
    catalog.use_space(row.id, catalog.space_id("other@1", "text", 7), "text")
    with pytest.raises(UsageError, match="embedded by other@1, the profile's model is minilm"):
        engine.search(SearchQuery(text="anything", kind="passages"))
