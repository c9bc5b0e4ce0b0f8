"""How results look in a notebook: HTML in which nothing of a document is markup."""

from __future__ import annotations

from lxml import html

from ragcore.types import Answer, Citation, Hit, SearchResult

EVIL = '<script>alert("x")</script> & <b>bold</b>'
HIT = Hit(1, "passage", 0.876, 2, EVIL, "/x/a.pdf", EVIL + " word" * 200, page=3, heading="<h1>")


def test_hits_are_a_table_of_plain_text() -> None:
    shown = SearchResult((HIT,))._repr_html_()
    tree = html.fromstring(shown)
    assert not tree.xpath("//script | //h1 | //b/b")
    text = tree.text_content()
    assert "0.88" in text
    assert f"{EVIL}, page 3" in text
    assert text.endswith(" …")
    assert "nothing was found" in SearchResult(())._repr_html_()


def test_answers_show_their_quotes_with_places() -> None:
    citation = Citation(1, EVIL, 2, 3, EVIL, 1)
    answer = Answer(f"It is {EVIL} [1]\nand more.", (citation,), False, (HIT,), "")
    tree = html.fromstring(f"<div>{answer._repr_html_()}</div>")
    assert not tree.xpath("//script | //b")
    assert tree.xpath("string(//ol/li/q)") == EVIL
    assert tree.xpath("string(//ol/li/@value)") == "1"
    assert tree.xpath("string(//ol/li/span)") == f"{EVIL}, page 3"
    assert len(tree.xpath("//p/br")) == 1
    unknown = Answer("I don't know.", (), True, (HIT,), "")._repr_html_()
    assert html.fromstring(unknown).xpath("string(.)") == "I don't know."
