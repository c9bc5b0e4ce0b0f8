"""Words of a query."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragcore.catalog.lexical_sqlite import expression
from ragcore.search.words import MAX_WORDS, matched_words, query_words, stem


def test_function_words_go() -> None:
    assert query_words("What is the name of the PID file of crond?").words == (
        "name",
        "pid",
        "file",
        "crond",
    )


def test_unless_there_are_no_others() -> None:
    assert query_words("who is who").words == ("who", "is")


def test_compounds_are_phrases_too() -> None:
    words = query_words("call read.fwf on /etc/opt, not state-of-the-art or snake_case")
    assert words.phrases == ("read fwf", "etc opt", "state of the art", "snake case")
    assert {"read", "fwf", "etc", "opt"} <= set(words.words)


def test_many_words() -> None:
    assert len(query_words(" ".join(f"w{n}" for n in range(500))).words) == MAX_WORDS


@given(st.text(max_size=80))
def test_any_text_is_a_valid_expression_and_matches_itself(text: str) -> None:
    match = expression(query_words(text).terms)
    if match:
        connection = sqlite3.connect(":memory:")
        connection.execute("CREATE VIRTUAL TABLE t USING fts5(text, tokenize='porter unicode61')")
        connection.execute("INSERT INTO t VALUES (?)", (text,))
        found = connection.execute("SELECT text FROM t WHERE t MATCH ?", (match,)).fetchall()
        # Newer letters than the index's tables of Unicode know are no words there.
        assert found == [(text,)] or not text.isascii()
        connection.close()


@pytest.mark.parametrize(
    "word",
    [
        "running",
        "flies",
        "Études",
        "generalisation",
        "hopping",
        "conditional",
        "t104",
        "été",
        "etiology",
        "biology",
        "technologies",
        "possibly",
        "assemblies",
        "nobly",
        "us",
        "s",
    ],
)
def test_stems_are_the_index_s_own(word: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE VIRTUAL TABLE t USING fts5(x, tokenize='porter unicode61 remove_diacritics 2')"
    )
    connection.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, row)")
    connection.execute("INSERT INTO t VALUES (?)", (word,))
    assert connection.execute("SELECT term FROM v").fetchone()[0] == stem(word)
    connection.close()


def test_matched_words_as_they_stand() -> None:
    text = "Travelled far; TRAVELS cost. Wings lift."
    assert matched_words(text, ("lifting", "travel", "snow")) == ("lift", "Travelled")


def test_matched_in_a_script_without_spaces() -> None:
    assert matched_words("明日の東京の天気は晴れ", ("東京",)) == ("東京",)
