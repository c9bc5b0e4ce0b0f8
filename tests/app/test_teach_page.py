"""The page Classifiers: name classes, tick, train, look, use; with the starter models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ragcore_app.state import library
from streamlit.testing.v1 import AppTest

Page = Callable[..., AppTest]


def button(test: AppTest, start: str) -> Any:
    """The first button whose key starts so."""
    return next(one for one in test.button if str(one.key).startswith(start))


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

    shown = [str(one.key) for one in test.button if str(one.key).startswith("tick-")]
    assert len(shown) == 12
    for number, key in enumerate(shown):
        if number == 6:
            test.pills(key="teach-active-topic").set_value("other").run()
        test.button(key=key).click().run()
    assert library().labels.given_counts("topic", collection="sample") == {"rules": 6, "other": 6}
    test.button(key=shown[0]).click().run()  # another class was active: it is changed to that
    assert library().labels.given_counts("topic", collection="sample") == {"rules": 5, "other": 7}
    test.button(key=shown[0]).click().run()  # and taken away
    assert library().labels.given_counts("topic", collection="sample") == {"rules": 5, "other": 6}
    button(test, "teach-next").click().run()
    following = {str(one.key) for one in test.button if str(one.key).startswith("tick-")}
    assert not following & set(shown[1:])

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
    ticks = [str(one.key) for one in test.button if str(one.key).startswith("tick-")]
    assert ticks
    for source in ("All", "Labelled"):
        test.segmented_control(key="teach-source").set_value(source).run()
        assert not test.exception
    item = int(ticks[0].removeprefix("tick-"))
    library().labels.give("shapes", "image", [item], "round", collection="sample")

    from ragcore_app.views import teach, teach_results

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


def test_an_empty_library_says_what_to_do(
    page: Page, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGCORE_HOME", str(tmp_path / "home"))
    test = page("teach").run()
    assert "Nothing here yet" in test.subheader[0].value
