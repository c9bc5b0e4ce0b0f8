"""The page Classifiers: name classes, tick, train, look, use; with the starter models."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from ragcore_app.components import label_grid
from ragcore_app.state import library
from ragcore_app.views import teach, teach_label, teach_results
from streamlit.testing.v1 import AppTest

from .app_browser import Server, chromium, settle

Page = Callable[..., AppTest]


def button(test: AppTest, start: str) -> Any:
    """The first button whose key starts so."""
    return next(one for one in test.button if str(one.key).startswith(start))


def to_label(test: AppTest) -> list[int]:
    """Ids of what the browser is given to label."""
    [drawn] = [
        one for one in test.get("bidi_component")
        if one.proto.component_name == "ragcore_label_grid"
    ]  # fmt: skip
    return [item["id"] for item in json.loads(drawn.proto.json)["items"]]


def begin(test: AppTest, name: str, classes: str, kind: str) -> AppTest:
    test.text_input(key="teach-name").set_value(name)
    test.segmented_control(key="teach-kind").set_value(kind)
    test.text_area(key="teach-classes").set_value(classes)
    return button(test, "FormSubmitter:teach-new").click().run()


def finish(test: AppTest, kind: str) -> AppTest:
    """Wait for the newest job of this kind, then draw the page again."""
    (job, *_) = library().jobs.recent(5, kind=kind)
    done = library().jobs.wait(job.id, 240)
    assert done.state == "done", done.error
    test.run()
    test.run()
    assert not test.exception
    return test


@pytest.mark.usefixtures("own_home")
def test_from_names_to_a_labelled_collection(page: Page) -> None:
    test = page("teach", collection="sample").run()
    assert "Train a classifier of your own categories" in test.subheader[0].value
    begin(test, "topic", "rules, other", "Passages")
    assert not test.error
    assert library().labels.classes("sample") == {"topic": ("passage", ["rules", "other"])}

    shown = to_label(test)
    assert len(shown) == 12
    lesson = teach.Lesson("topic", "passage", ("rules", "other"), "sample", trained=False)
    teach_label.give(lesson, shown[:6], "rules")
    teach_label.give(lesson, shown[6:], "other")
    assert library().labels.given_counts("topic", collection="sample") == {"rules": 6, "other": 6}
    test.run()
    assert to_label(test) == shown, "what is labelled stays in place"
    button(test, "teach-next").click().run()
    assert not set(to_label(test)) & set(shown)

    test.segmented_control(key="teach-view").set_value("Train").run()
    button(test, "teach-count-other").click().run()
    assert test.segmented_control(key="teach-source").value == "Labelled"
    assert test.pills(key="teach-labelled-topic").value == "other"

    test.segmented_control(key="teach-view").set_value("Train").run()
    button(test, "teach-go").click().run()
    finish(test, "teach")
    test.segmented_control(key="teach-view").set_value("Results").run()
    assert not test.exception
    assert [one.label for one in test.metric][:2] == ["Right of ten", "Macro F1"]
    assert len(test.dataframe[0].value) >= 1

    test.segmented_control(key="teach-view").set_value("Use").run()
    button(test, "teach-classify").click().run()
    finish(test, "classify")
    counts = library().labels.counts("sample", classifier="topic")
    assert sum(counts.values()) == library().documents.statistics("sample").passages
    test.toggle[0].set_value(True).run()
    assert library().classifiers.followed("sample") == ["topic"]

    search = page("search", collection="sample", q="working hours", label="rules").run()
    assert not search.exception
    assert search.session_state["label"] == "rules"


@pytest.mark.usefixtures("own_home")
def test_images_are_found_by_words_and_doubtful_labels_are_changed(page: Page) -> None:
    library().labels.set_classes("shapes", "image", ["round", "angular"], collection="sample")
    test = page("teach", collection="sample").run()
    test.segmented_control(key="teach-source").set_value("Search").run()
    assert "Type words" in test.caption[-1].value
    test.text_input(key="teach-words").set_value("a red circle").run()
    for source in ("All", "Labelled"):
        test.segmented_control(key="teach-source").set_value(source).run()
        assert not test.exception
    item = library().labels.items("image", collection="sample")[0]
    library().labels.give("shapes", "image", [item], "round", collection="sample")

    doubtful = {
        "name": "x", "item": item, "label": "round", "proposed": "angular", "probability": 0.9,
        "text": "",
    }  # fmt: skip
    lesson = teach.Lesson("shapes", "image", ("round", "angular"), "sample", True)
    assert teach_results.doubtful(lesson, [doubtful], set()) == [doubtful]
    assert teach_results.doubtful(lesson, [doubtful], {("shapes", item)}) == []
    library().labels.give("shapes", "image", [item], "angular", collection="sample")
    assert teach_results.doubtful(lesson, [doubtful], set()) == []


@pytest.mark.usefixtures("own_home")
def test_what_cannot_be_is_one_sentence(page: Page) -> None:
    test = page("teach", collection="sample").run()
    begin(test, "pets", "cat", "Images")
    assert "Give two classes or more" in test.error[0].value
    begin(test, "../pets", "cat, dog", "Images")
    assert "cannot name a classifier" in test.error[0].value.replace("\\", "")
    begin(test, "pets", "cat, Cat", "Images")
    assert "There is already a class" in test.error[0].value
    begin(test, "pets", "cat, dog", "Images")
    assert not test.error
    for view, result in (
        ("Train", "Label examples of two classes"), ("Results", "There are no results yet"),
        ("Use", "Train it first"),
    ):  # fmt: skip
        test.segmented_control(key="teach-view").set_value(view).run()
        assert any(result in str(one.value) for one in test.caption)
        if view == "Train":
            assert button(test, "teach-go").disabled


def test_changes_of_the_browser_are_stored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[list[int], str | None]] = []

    def give(ids: Sequence[int], label: str | None) -> None:
        given.append((list(ids), label))

    monkeypatch.setattr(label_grid.st, "session_state", {})
    changes: list[list[Any]] = [[5, [1, 2], "cat"], [6, [2], None]]
    label_grid.store("grid", changes, {1, 2, 3}, ["cat", "dog"], give)
    changes += [[7, [3, 99], "dog"], [8, [1], "no class of it"]]
    label_grid.store("grid", changes, {1, 2, 3}, ["cat", "dog"], give)
    assert given == [([1, 2], "cat"), ([2], None), ([3], "dog")]


@pytest.mark.full
@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="needs Chromium (apt-get install chromium)")
def test_labels_by_keys_and_shift_click(server: Server, person: Callable[..., Any]) -> None:
    page = person("Ann")
    page.goto(f"{server.url}/teach?collection=sample")
    settle(page)
    page.get_by_label("Name").fill("figures")
    page.get_by_role("textbox", name="Classes").fill("round, angular")
    page.get_by_role("radio", name="Images").click()
    page.get_by_role("button", name="Begin").click()
    tiles = page.locator(".tile")
    tiles.first.wait_for()
    settle(page)
    count = tiles.count()
    assert count >= 4
    assert all(tiles.nth(place).locator("img").get_attribute("alt") for place in range(count))
    tiles.first.focus()
    for key in ("2", "1", "2"):  # faster than the page is drawn
        page.keyboard.press(key)
    page.get_by_text("1 round · 1").wait_for()
    page.get_by_text("2 angular · 2").wait_for()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("0")
    page.get_by_text("2 angular · 1").wait_for()
    tiles.first.click()  # angular becomes round
    page.get_by_text("2 angular · 0").wait_for()
    tiles.nth(count - 1).click(modifiers=["Shift"])
    page.get_by_text(f"1 round · {count}").wait_for()
    page.reload()
    settle(page)
    page.get_by_role("radio", name="Train").click()
    page.get_by_role("button", name=f"round · {count}").click()
    tiles.nth(count - 1).wait_for()
    assert page.get_by_role("radio", name="Labelled").is_checked()


def test_an_empty_library_says_what_to_do(
    page: Page, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGCORE_HOME", str(tmp_path / "home"))
    test = page("teach").run()
    assert "Nothing here yet" in test.subheader[0].value
