"""The page Search, without a browser: what is typed, filtered, opened and asked on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ragcore_app.originals import original
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from ragcore.library import Library
from ragcore.settings import Settings

Page = Callable[..., AppTest]
pytestmark = pytest.mark.usefixtures("home")
COMPONENT = "ragcore_results"


def html(test: AppTest) -> str:
    return "\n".join(str(part.proto.body) for part in test.get("html"))


def captions(test: AppTest) -> str:
    return "\n".join(caption.value for caption in test.caption)


def results(test: AppTest) -> dict[str, list[dict[str, Any]]]:
    """The documents and images that the browser is given to draw, also those below the cut-off."""
    [drawn] = [one for one in test.get("bidi_component") if one.proto.component_name == COMPONENT]
    sections = json.loads(drawn.proto.json)["sections"]
    return {
        kind: [one for section in sections for one in section[kind]]
        for kind in ("documents", "images")
    }


def titles(test: AppTest) -> list[str]:
    """Of the sections that can be folded away."""
    [drawn] = [one for one in test.get("bidi_component") if one.proto.component_name == COMPONENT]
    return [section["title"] for section in json.loads(drawn.proto.json)["sections"]]


def words_marked(test: AppTest) -> set[str]:
    passages = [one for document in results(test)["documents"] for one in document["passages"]]
    return {part for one in passages for part, marked in one["parts"] if marked}


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
    assert "games" in words_marked(test)
    handbook = [one for one in results(test)["documents"] if "Handbook" in one["title"]]
    places = {passage["place"] for one in handbook for passage in one["passages"]}
    assert "Page 4" in places, "on working hours"


def test_typing_searches(page: Page) -> None:
    test = page("search").run()
    assert not found(test)
    test.text_input(key="q").set_value("river gauge").run()
    assert found(test)


def test_a_filter_by_type_and_its_address(page: Page) -> None:
    test = page("search", q="gauge", kind="Passages", type="text/csv").run()
    assert not test.error
    assert {one["about"] for one in results(test)["documents"]} == {"Table (CSV)"}
    test.button(key="chip-type").click().run()
    assert "type" not in test.query_params
    assert "PDF" in {one["about"] for one in results(test)["documents"]}


def test_filters_without_words_show_what_they_leave(page: Page) -> None:
    test = page("search", type="application/pdf").run()
    assert not test.exception
    drawn = results(test)
    assert len(drawn["documents"]) == 2
    assert all(not one["passages"] for one in drawn["documents"])
    assert "2 documents" in captions(test)
    test = page("search", kind="Images").run()
    assert not results(test)["documents"]
    assert len(results(test)["images"]) >= 4
    test = page("search", name="no such file").run()
    assert "Nothing meets the filters" in test.markdown[0].value


def test_everything_in_force_is_a_chip(page: Page) -> None:
    test = page("search", q="gauge", minus="river", kind="Passages", cut="0.30", name="faq").run()
    keys = [button.key for button in test.button if (button.key or "").startswith("chip-")]
    assert keys == ["chip-minus", "chip-kind", "chip-cut", "chip-name"]
    for key in keys:
        test.button(key=key).click().run()
        assert not test.exception
    assert not [button for button in test.button if (button.key or "").startswith("chip-")]
    assert found(test)


def test_all_collections(page: Page, own_home: Path) -> None:
    with Library(Settings(home=own_home)) as library:
        note = own_home.parent / "heron.txt"
        note.write_text("The heron waits at the weir.")
        library.ingest([note], collection="birds")
    test = page("search", q="heron weir gauge", kind="Passages", collection="All collections").run()
    assert not test.exception
    abouts = {one["about"] for one in results(test)["documents"]}
    assert "Text · birds" in abouts
    assert any(about.endswith("· sample") for about in abouts)


def test_an_unknown_collection_is_said(page: Page) -> None:
    test = page("search", collection="no such").run()
    assert "There is no collection no such" in test.warning[0].value


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
    assert titles(test)[-1].endswith("below the cut-off")


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
    handbook, *_ = (one for one in results(test)["documents"] if "Handbook" in one["title"])
    document = f"document-{handbook['original']}"
    test = page("search", q="table games", open=document, at="4").run()
    assert not test.exception
    assert not test.error
    assert "Page 4 of 12" in captions(test)
    assert "The rule applies to everybody on the premises" in " ".join(html(test).split())
    test = page("search", open="document-99999").run()
    assert test.error[0].value.startswith("There is no document 99999")


def test_images_by_words_and_more_like_this(page: Page, home: Path) -> None:
    test = page("search", q="green stripes", kind="Images", cut="0.00").run()
    assert not test.error
    assert len(results(test)["images"]) >= 4
    with Library(Settings(home=home)) as library:
        bars = next(i for i in library.images.list("sample") if i.path.endswith("green-bars.png"))
        copy = next(i for i in library.images.list("sample") if i.path.endswith("bars-copy.jpg"))
    test = page("search", like=str(bars.id), same="1").run()
    assert not test.error
    assert test.segmented_control(key="sameness").value == "Copies of it"
    test.segmented_control(key="sameness").set_value("Alike").run()
    assert not test.exception
    assert "same" not in test.query_params
    assert copy.id in {one["id"] for one in results(test)["images"]}


def test_a_broken_image_is_said_as_at_ingest(page: Page) -> None:
    test = page("search")
    test.session_state["_pasted"] = b"no image at all"
    test.run()
    assert not test.exception
    assert "image" in test.error[0].value
    assert "Something went wrong" not in test.error[0].value


def test_original_files_by_address(home: Path) -> None:
    route = Route("/{document_id:int}", original)
    browser = TestClient(Starlette(routes=[route]))
    with Library(Settings(home=home)) as library:
        rows = {row.name: row for row in library.documents.list("sample")[0]}
    shown = browser.get(f"/{rows['staff-handbook.pdf'].id}")
    assert shown.headers["content-disposition"].startswith("inline")
    assert shown.content.startswith(b"%PDF")
    saved = browser.get(f"/{rows['visitor-guide.html'].id}")  # nothing in it is run
    assert saved.headers["content-type"] == "application/octet-stream"
    assert saved.headers["content-disposition"].startswith("attachment")
    assert browser.get("/99999").status_code == 404


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
