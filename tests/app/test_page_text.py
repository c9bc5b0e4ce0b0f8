"""Text from documents is shown, never obeyed."""

from __future__ import annotations

import re

import pytest
from ragcore_app.components.text import (
    count_name,
    marked_html,
    plain,
    shorten,
    size_name,
    time_name,
    type_name,
)

HOSTILE = (
    "<script>alert(1)</script> **bold** [link](javascript:x) ![p](http://x/y.png) `$x$` :red[a]"
)


def test_only_marks_are_markup() -> None:
    html = marked_html(f"before {HOSTILE} after", ["bold", "script"])
    assert set(re.findall(r"</?\w+>", html)) == {"<mark>", "</mark>"}
    assert "&lt;<mark>script</mark>&gt;alert(1)" in html
    assert "<mark>bold</mark>" in html


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
    html = marked_html(text, words, width=200)
    bare = re.sub(r"</?mark>", "", html)
    assert len(bare) < 230
    if words == ["zebra"]:
        assert "<mark>zebra</mark>" in html
        assert html.startswith("… ")


def test_accents_and_case() -> None:
    assert "<mark>Straße</mark>" in marked_html("Die Straße ist lang", ["STRASSE"])
    assert "<mark>Café</mark>" in marked_html("Das Café", ["café"])


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
