"""Text from documents is shown, never obeyed."""

from __future__ import annotations

import re

import pytest
from ragcore_app.components.text import (
    count_name,
    excerpt,
    plain,
    shorten,
    size_name,
    time_name,
    type_name,
)

HOSTILE = (
    "<script>alert(1)</script> **bold** [link](javascript:x) ![p](http://x/y.png) `$x$` :red[a]"
)


def test_an_excerpt_is_the_text_itself_and_what_is_marked() -> None:
    pieces = excerpt(f"before {HOSTILE} after", ["bold", "script"])
    assert "".join(part for part, _ in pieces) == f"before {HOSTILE} after"
    assert [part for part, marked in pieces if marked] == ["script", "script", "bold"]


def test_markdown_is_taken_literally() -> None:
    from markdown_it import MarkdownIt

    shown = MarkdownIt("commonmark").render(plain(HOSTILE))
    text = re.sub(r"</?p>", "", shown).strip()
    assert "<" not in text
    assert text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"') == HOSTILE


def test_streamlit_directives_are_broken() -> None:
    assert ":red[" not in plain(":red[danger]")
    assert ":material/home:" not in plain(":material/home:")


@pytest.mark.parametrize("words", [[], ["zebra"], ["the"], ["THE end"]])
def test_excerpts_are_short_and_whole_words(words: list[str]) -> None:
    text = " ".join(f"word{i} the" for i in range(400)) + " zebra stripes end"
    pieces = excerpt(text, words, width=200)
    bare = "".join(part for part, _ in pieces)
    assert len(bare) < 230
    if words == ["zebra"]:
        assert ("zebra", True) in pieces
        assert bare == "… zebra stripes end", "it begins at the match"


def test_an_excerpt_begins_at_the_sentence_with_most_of_the_words() -> None:
    text = (
        "A gauge once. " + "Nothing of it here. " * 30 + "The river gauge drifts. And so on. " * 9
    )
    bare = "".join(part for part, _ in excerpt(text, ["river", "gauge"], width=200))
    assert bare.startswith("… The river gauge drifts.")
    assert bare.endswith(" …")


def test_accents_and_case() -> None:
    assert ("Straße", True) in excerpt("Die Straße ist lang", ["STRASSE"])
    assert ("Café", True) in excerpt("Das Café", ["café"])


def test_names() -> None:
    assert size_name(999) == "999 B"
    assert size_name(1_500_000) == "1.5 MB"
    assert time_name(12) == "12 s"
    assert time_name(4800) == "80 min"
    assert time_name(6000) == "1 h 40 min"
    assert count_name(1, "passage") == "1 passage"
    assert count_name(2000, "passage") == "2,000 passages"
    assert type_name("application/pdf") == "PDF"
    assert type_name("image/png") == "Image (PNG)"
    assert shorten("a  b\nc", 10) == "a b c"
    assert len(shorten("x" * 50, 10)) == 10
