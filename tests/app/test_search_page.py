"""The page Search, without a browser: what is typed, filtered, opened and asked on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ragcore.library import Library
from ragcore.settings import Settings

Page = Callable[..., AppTest]
pytestmark = pytest.mark.usefixtures("home")


def html(test: AppTest) -> str:
    return "\n".join(str(part.proto.body) for part in test.get("html"))


def captions(test: AppTest) -> str:
    return "\n".join(caption.value for caption in test.caption)


def found(test: AppTest) -> int:
    """How many results the page says it has; 0 before a search."""
    said = re.search(r"(\d+) results? in ", captions(test))
    return int(said.group(1)) if said else 0


def test_nothing_yet_says_what_to_do(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGCORE_HOME", str(tmp_path / "empty"))
    test = page("search").run()
    assert test.subheader[0].value == "Nothing here yet"
    assert any(button.label == "Add files" for button in test.button)
    assert not test.exception


def test_before_the_first_search_the_page_says_what_there_is(page: Page) -> None:
    test = page("search").run()
    assert "**sample** holds 12 documents" in test.markdown[0].value
    assert not test.exception


def test_words_find_the_passage_and_are_marked(page: Page) -> None:
    test = page("search", q="table games during working hours", kind="Passages").run()
    assert not test.exception
    assert not test.error
    assert found(test)
    assert "<mark>games</mark>" in html(test)
    titles = [button.label for button in test.button if "page 4" in button.label]
    assert titles, "the handbook's page on working hours"


def test_typing_searches(page: Page) -> None:
    test = page("search").run()
    assert not found(test)
    test.text_input(key="q").set_value("river gauge").run()
    assert found(test)


def test_a_filter_by_type_and_its_address(page: Page) -> None:
    test = page("search", q="gauge", kind="Passages", type="text/csv").run()
    assert not test.error
    assert "PDF" not in html(test)
    test.button(key="clear").click().run()
    assert "type" not in test.query_params
    assert "PDF" in html(test)


def test_dates_and_names_filter_from_the_address(page: Page) -> None:
    everything = page("search", q="gauge", kind="Passages").run()
    some = page("search", q="gauge", kind="Passages").run()
    some.text_input(key="name").set_value("handbook").run()
    assert 0 < found(some) < found(everything)
    none = page("search", q="gauge", kind="Passages", modified_before="1999-12-31").run()
    assert not none.error
    assert found(none) == 0
    none.button(key="clear").click().run()
    assert found(none) >= found(everything)
    assert "modified_before" not in none.query_params


def test_the_cut_off_hides_and_shows(page: Page) -> None:
    strict = page("search", q="spare parts of the gauge", kind="Passages", cut="0.95").run()
    loose = page("search", q="spare parts of the gauge", kind="Passages", cut="0.00").run()
    assert found(strict) < found(loose)
    assert "cut-off 0.95" in captions(strict)


def test_nonsense_says_so_and_shows_what_is_nearest(page: Page) -> None:
    test = page("search", q="zxqv blorptang", kind="Passages").run()
    assert "Nothing here comes close enough to that" in test.markdown[0].value
    assert test.expander[0].label.endswith("below the cut-off")


def test_wrong_addresses_do_no_harm(page: Page) -> None:
    test = page(
        "search", q="gauge", kind="Nonsense", type="no/such", path="/nowhere", cut="x",
        like="999999", collection="none", modified_after="x",
    ).run()  # fmt: skip
    assert not test.exception
    assert test.error[0].value.startswith("There is no image 999999")
    test = page("search", like="../../etc").run()
    assert not test.exception
    assert not test.error


def test_a_hit_opens_with_its_page(page: Page) -> None:
    test = page("search", q="table games during working hours", kind="Passages").run()
    opener = next(b for b in test.button if b.key and b.key.startswith("open-hit-"))
    test = opener.click().run()
    assert not test.exception
    assert not test.error
    assert any(b.key == "viewer-next" for b in test.button)
    assert "The rule applies to everybody on the premises" in html(test)


def test_images_by_words_and_more_like_this(page: Page, home: Path) -> None:
    test = page("search", q="green stripes", kind="Images", cut="0.00").run()
    assert not test.error
    openers = [b for b in test.button if b.key and b.key.startswith("open-hit-image-")]
    assert len(openers) >= 4
    with Library(Settings(home=home)) as library:
        bars = next(i for i in library.images.list("sample") if i.path.endswith("green-bars.png"))
        copy = next(i for i in library.images.list("sample") if i.path.endswith("bars-copy.jpg"))
    test = page("search", like=str(bars.id), same="1").run()
    assert not test.error
    assert test.segmented_control(key="sameness").value == "Copies of it"
    test.segmented_control(key="sameness").set_value("Alike").run()
    assert not test.exception
    assert "same" not in test.query_params
    assert any(b.key == f"open-hit-image-{copy.id}" for b in test.button)


def test_a_passage_is_kept_for_a_question(page: Page) -> None:
    from ragcore_app.components.actions import CONTEXT

    with Library(Settings()) as library:
        hit = library.search("table games", collection="sample", kind="passages").hits[0]
    asked = page("ask")
    asked.session_state[CONTEXT] = [hit]
    asked.run()
    assert "answered from these passages only" in captions(asked)
    asked.button(key=f"context-{hit.id}").click().run()
    assert not asked.session_state[CONTEXT]
