"""The page Studio: make, look, cancel, get settings back, keep; with a tiny random model."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.state import library
from app.views.studio_work import Making
from ragcore.diffusion import ImagineRequest, codes
from ragcore.types import SearchQuery
from tests.diffusion.tiny import make_model, make_profile

Page = Callable[..., AppTest]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studio")
    return make_profile(folder, make_model(folder / "model"))


@pytest.fixture(autouse=True)
def _with_pictures(profile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGCORE_PROFILE", str(profile))


def finish(test: AppTest) -> Making:
    """Wait for what is being made, and draw the page once more."""
    work: Making = test.session_state["_studio_work"]
    until = time.monotonic() + 300
    while work.running:
        assert time.monotonic() < until
        time.sleep(0.05)
    test.run()
    return work


def made(test: AppTest, **widgets: Any) -> AppTest:
    """Open the page's result after *Make* with these widgets set."""
    test.run()
    assert not test.exception
    for key, value in widgets.items():
        _widget(test, key.replace("_", "-")).set_value(value)
    test.button(key="studio-go").click().run()
    assert not test.exception
    finish(test)
    assert not test.exception
    return test


def _widget(test: AppTest, key: str) -> Any:
    kinds = ("text_area", "text_input", "number_input", "selectbox", "slider", "checkbox")
    for kind in kinds:
        for widget in getattr(test, kind):
            if widget.key == key:
                return widget
    raise AssertionError(f"no widget {key}")


@pytest.mark.usefixtures("home")
def test_a_picture_is_made_and_its_settings_come_back(page: Page) -> None:
    test = made(
        page("studio"), studio_prompt="red apple", studio_style="flat", studio_seed=7,
        studio_lock=True, studio_steps=3, studio_class="circles",
    )  # fmt: skip
    assert not test.error
    (picture,) = test.session_state["_studio_history"]
    assert picture.seed == 7
    assert picture.recipe["guides"] == ["class:circles:3"]
    _widget(test, "studio-prompt").set_value("something else")
    _widget(test, "studio-steps").set_value(9)
    test.run()
    test.button(key="studio-again-new-0").click().run()
    test.run()
    assert _widget(test, "studio-prompt").value == "red apple"
    assert _widget(test, "studio-steps").value == 3
    again = made(test)
    assert again.session_state["_studio_history"][0].png == picture.png


@pytest.mark.usefixtures("home")
def test_a_grid_over_two_settings(page: Page) -> None:
    test = page("studio").run()
    _widget(test, "studio-x-values").set_value("1, 2")
    _widget(test, "studio-y").set_value("scale")
    _widget(test, "studio-y-values").set_value("1, 4, 8")
    test.button(key="studio-grid-go").click().run()
    work = finish(test)
    assert len(work.results) == 6
    assert work.labels[-1] == "steps 2, scale 8.0"
    assert len({result.pictures[0].png for result in work.results}) > 3
    assert len(test.session_state["_studio_history"]) == 6


@pytest.mark.usefixtures("home")
def test_wrong_values_are_one_sentence(page: Page) -> None:
    test = page("studio").run()
    _widget(test, "studio-x-values").set_value("many")
    test.button(key="studio-grid-go").click().run()
    assert not test.exception
    assert "must be numbers" in test.error[0].value
    _widget(test, "studio-control-0").set_value("canny")
    test.run()
    test.button(key="studio-go").click().run()
    assert "Give the picture for canny edges" in test.error[0].value


@pytest.mark.usefixtures("home")
def test_a_picture_of_the_collection_is_followed(page: Page) -> None:
    test = page("studio").run()
    _widget(test, "studio-control-0").set_value("canny")
    test.run()
    like = _widget(test, "studio-like-0")
    like.set_value(library().images("sample", limit=1)[0].id)
    _widget(test, "studio-steps").set_value(2)
    test.run()
    test.button(key="studio-go").click().run()
    work = finish(test)
    assert not work.error
    assert [control["kind"] for control in work.results[0].pictures[0].recipe["controls"]] == [
        "canny"
    ]


@pytest.mark.usefixtures("home")
def test_cancel_in_mid_run() -> None:
    work = Making(library(), [ImagineRequest(prompt="sun", steps=1000, seed=1)])
    work.start()
    until = time.monotonic() + 300
    while work.number < 2:
        assert time.monotonic() < until
        time.sleep(0.01)
    work.cancel()
    while work.running:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert work.cancelled
    assert not work.error
    assert work.number < 1000
    assert work.results == ()


@pytest.mark.usefixtures("own_home")
def test_what_is_kept_is_found(page: Page) -> None:
    test = made(page("studio", collection="sample"), studio_prompt="blue bird", studio_steps=2)
    test.button(key="studio-keep-new-0").click().run()
    assert not test.exception
    until = time.monotonic() + 300
    while any(job.running for job in library().jobs.recent()):
        assert time.monotonic() < until
        time.sleep(0.1)
    seed = test.session_state["_studio_history"][0].seed
    query = SearchQuery(text="blue bird", kind="images", collection="sample", cutoff=0, k=20)
    names = [hit.document for hit in library().search(query).hits]
    assert any(f"blue-bird-{seed}" in name for name in names)


@pytest.mark.usefixtures("home")
def test_how_it_works(page: Page) -> None:
    test = page("studio", collection="sample").run()
    test.segmented_control(key="studio-view").set_value("How it works").run()
    assert not test.exception
    assert "**Hysteresis**" in [str(part.value) for part in test.markdown]
    test.text_input(key="lesson-class").set_value("no such class")
    test.button(key="lesson-latent").click().run()
    assert "There is no class" in test.error[0].value
    test.text_input(key="lesson-class").set_value("chocolate syrup")
    test.button(key="lesson-interleaved").click().run()
    assert not test.error
    assert not test.exception
    assert len(test.session_state["_lesson-interleaved"][1].probabilities) > 10


@pytest.mark.usefixtures("home")
def test_codes_are_read_moved_and_mixed(page: Page, profile: Path) -> None:
    test = page("studio", collection="sample").run()
    test.segmented_control(key="studio-view").set_value("Codes").run()
    assert not test.exception
    assert any("has no probes" in text.value for text in test.caption)
    assert len(test.get("image")) == 8  # between two pictures of the collection
    folder = profile.parent / "model"
    flat = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    codes.save_probes({"red": codes.Probe("red", flat[0], flat[1], 0.5, 1.0, 0.8)},
                      folder / codes.PROBES)  # fmt: skip
    try:
        test.run()
        (slider,) = test.slider
        assert slider.label == "Green to red (R² 0.80)"
        slider.set_value(3.0).run()
        assert not test.exception
        assert not test.error
        assert any("green to red" in text.value for text in test.caption)
        assert len(test.get("image")) == 10
    finally:
        (folder / codes.PROBES).unlink()
