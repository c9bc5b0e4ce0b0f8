"""The page Studio: make, look, cancel, get settings back, keep; with a tiny random model."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ragcore_app.state import library
from ragcore_app.views.studio_work import Making
from streamlit.testing.v1 import AppTest

from ragcore.diffusion import (
    ControlRequest,
    GuidanceRequest,
    ImagineRequest,
    latents,
)
from ragcore.types import SearchQuery
from tests.diffusion.tiny import make_model
from tests.diffusion.tiny_stable import make_lora, make_stable
from tests.waiting import wait_until

Page = Callable[..., AppTest]


@pytest.fixture(scope="module")
def profile(tiny_profile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny models with an image generator of this module's own, which a test changes."""
    folder = tmp_path_factory.mktemp("studio")
    return with_diffusion(tiny_profile, make_model(folder / "model"), "latent", folder)


def with_diffusion(profile: Path, model: Path, kind: str, folder: Path) -> Path:
    """The profile with another image generator, in `folder`."""
    others, mark, _ = profile.read_text("utf-8").partition("[diffusion]\n")
    path = folder / "images.toml"
    path.write_text(f'{others}{mark}weights = "local:{model}"\nkind = "{kind}"\n', "utf-8")
    return path


@pytest.fixture(autouse=True)
def _with_images(profile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGCORE_PROFILE", str(profile))


def finish(test: AppTest) -> Making:
    """Wait for what is being made, and draw the page again."""
    work: Making = test.session_state["_studio_work"]
    wait_until(lambda: not work.running, "the end of what is made")
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
def test_an_image_is_made_and_its_settings_come_back(page: Page) -> None:
    test = made(
        page("studio"), studio_prompt="red apple", studio_style="flat", studio_seed=7,
        studio_lock=True, studio_steps=3, studio_class="circles",
    )  # fmt: skip
    assert not test.error
    (image,) = test.session_state["_studio_history"]
    assert image.seed == 7
    assert image.recipe["guides"] == ["class:circles:3"]
    _widget(test, "studio-prompt").set_value("something else")
    _widget(test, "studio-steps").set_value(9)
    test.run()
    test.button(key="studio-again-new-0").click().run()
    assert not test.exception
    test.run()
    assert _widget(test, "studio-prompt").value == "red apple"
    assert _widget(test, "studio-steps").value == 3
    again = made(test)
    assert again.session_state["_studio_history"][0].png == image.png


@pytest.mark.usefixtures("home")
def test_a_grid_over_two_settings(page: Page) -> None:
    test = page("studio").run()
    _widget(test, "studio-x-values").set_value("1, 2")
    _widget(test, "studio-y").set_value("weight of the words")
    _widget(test, "studio-y-values").set_value("1, 4, 8")
    test.button(key="studio-grid-go").click().run()
    work = finish(test)
    assert len(work.results) == 6
    assert work.labels[-1] == "steps 2, weight of the words 8"
    assert len({result.images[0].png for result in work.results}) > 3
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
    assert "Give the image for canny edges" in test.error[0].value


@pytest.mark.usefixtures("home")
def test_an_image_of_the_collection_is_followed(page: Page) -> None:
    test = page("studio").run()
    _widget(test, "studio-control-0").set_value("canny")
    test.run()
    test.segmented_control(key="studio-source-0").set_value("The collection").run()
    like = _widget(test, "studio-like-0")
    like.set_value(library().images.list("sample", limit=1)[0].id)
    _widget(test, "studio-steps").set_value(2)
    test.run()
    test.button(key="studio-go").click().run()
    work = finish(test)
    assert not work.error
    assert [control["kind"] for control in work.results[0].images[0].recipe["controls"]] == [
        "canny"
    ]


@pytest.mark.usefixtures("home")
def test_cancel_in_mid_run() -> None:
    work = Making(library(), [ImagineRequest(prompt="sun", steps=1000, seed=1)])
    work.start()
    wait_until(lambda: work.number >= 2, "the second step", every=0.005)
    work.cancel()
    wait_until(lambda: not work.running, "the cancel")
    assert work.cancelled
    assert not work.error
    assert work.number < 1000
    assert work.results == ()


@pytest.mark.usefixtures("own_home")
def test_what_is_kept_is_found(page: Page) -> None:
    test = made(page("studio", collection="sample"), studio_prompt="blue bird", studio_steps=2)
    test.button(key="studio-keep-new-0").click().run()
    assert not test.exception
    wait_until(lambda: not any(job.running for job in library().jobs.recent()), "the job's end")
    seed = test.session_state["_studio_history"][0].seed
    query = SearchQuery(text="blue bird", kind="images", collection="sample", cutoff=0, k=20)
    found = [hit for hit in library().search(query).hits if f"blue-bird-{seed}" in hit.document]
    assert found
    assert library().images.get(found[0].id).caption == "blue bird", "as its recipe says"


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
    test.segmented_control(key="studio-view").set_value("Latents").run()
    assert not test.exception
    assert any("has no probes" in text.value for text in test.caption)
    assert len(test.get("image")) == 8  # between two images of the collection
    folder = profile.parent / "model"
    flat = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    latents.save_probes({"red": latents.Probe("red", flat[0], flat[1], 0.5, 1.0, 0.8)},
                      folder / latents.PROBES)  # fmt: skip
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
        (folder / latents.PROBES).unlink()


@pytest.mark.usefixtures("home")
def test_a_grid_over_guides_and_controls(page: Page) -> None:
    test = page("studio", collection="sample").run()
    _widget(test, "studio-x").set_value("strength of the class")
    _widget(test, "studio-x-values").set_value("0, 1e6")
    _widget(test, "studio-y").set_value("nothing")
    _widget(test, "studio-steps").set_value(2)
    test.run()
    test.button(key="studio-grid-go").click().run()
    assert "Choose guidance towards a class first" in test.error[0].value
    _widget(test, "studio-class").set_value("bars")
    test.run()
    test.button(key="studio-grid-go").click().run()
    work = finish(test)
    guidance = [made.images[0].recipe["guides"] for made in work.results]
    assert guidance == [["class:bars:0"], ["class:bars:1e+06"]]
    assert any("was cut to 1000" in text.value.replace("\\", "") for text in test.caption)
    _widget(test, "studio-x").set_value("weight of control 1")
    test.run()
    test.button(key="studio-grid-go").click().run()
    assert "Give the image of control 1 first" in test.error[0].value


@pytest.mark.usefixtures("home")
def test_everything_in_force_is_a_chip(page: Page) -> None:
    test = page("studio", collection="sample").run()
    assert not chips(test)
    for key, value in {
        "studio-negative": "fog", "studio-steps": 9, "studio-class": "bars",
        "studio-words": "a red moon", "studio-control-0": "canny", "studio-guess": True,
    }.items():  # fmt: skip
        _widget(test, key).set_value(value)
    test.session_state["_studio-start"] = ("dawn.png", b"")
    test.run()
    assert not test.exception
    assert chips(test) == {
        "Exclude: fog", "Steps 9", "Towards bars · 3", "Towards “a red moon” · 3",
        "Follows: Canny edges · 1", "Without words (guess)", "Starts from dawn.png · 0.6",
    }  # fmt: skip
    while drawn := [one for one in test.button if str(one.key).startswith("chip-")]:
        before = chips(test)
        drawn[0].click().run()
        assert not test.exception
        assert len(chips(test)) == len(before) - 1
    assert _widget(test, "studio-steps").value == 25
    assert _widget(test, "studio-control-0").value == "none"


def chips(test: AppTest) -> set[str]:
    """What the chips say."""
    return {one.label.replace("\\", "") for one in test.button if str(one.key).startswith("chip-")}


@pytest.mark.usefixtures("home")
def test_use_as_control_keeps_the_rest(page: Page) -> None:
    test = page("studio", collection="sample").run()
    _widget(test, "studio-prompt").set_value("a moon")
    test.run()
    images = library().images.list("sample", limit=2)
    for number, image in enumerate(images):
        test.session_state["_follow"] = image.id
        test.run()
        test.run()
        assert not test.exception
        assert _widget(test, f"studio-like-{number}").value == image.id
    assert _widget(test, "studio-prompt").value == "a moon"
    kinds = [_widget(test, f"studio-control-{number}").value for number in (0, 1)]
    assert kinds == ["canny", "scribble"]
    _widget(test, "studio-steps").set_value(2)
    test = made(test)
    controls = test.session_state["_studio_history"][0].recipe["controls"]
    assert [control["kind"] for control in controls] == kinds
    test.button(key="studio-follow-new-0").click().run()  # the last place takes a made image
    test.run()
    assert not test.exception
    assert not test.error
    assert _widget(test, "studio-control-2").value == "canny"


@pytest.mark.usefixtures("home")
def test_settings_that_have_no_place_here_are_said(page: Page) -> None:
    drawn = io.BytesIO()
    Image.new("RGB", (32, 32), "white").save(drawn, "PNG")
    control = ControlRequest("canny", drawn.getvalue(), 4.5, 0.2, 0.7)
    request = ImagineRequest(
        prompt="sun", steps=2, seed=2**60, size=48, scale=30, count=2,
        guidance=[GuidanceRequest("class", "Bars", 500), GuidanceRequest("class", "circles", 1)],
        controls=[control] * 4, start_image=drawn.getvalue(), strength=0.85,
    )  # fmt: skip
    (png, *_) = [one.png for one in library().imagine(request).images]
    test = page("studio").run()
    test.file_uploader(key="studio-drop-0").set_value(("made.png", png, "image/png")).run()
    assert not test.exception
    assert not test.error
    missing = [toast.value for toast in test.toast if "Without" in toast.value]
    assert "a second guidance towards a class" in missing[0]
    assert "so large a seed" in missing[0]
    assert "a control by canny edges" in missing[0]
    for key, value in {
        "steps": 2, "size": 48, "scale": 30.0, "class": "bars", "class-scale": 500.0,
        "weight-2": 4.5, "span-0": (0.2, 0.7), "strength": 0.85,
    }.items():  # fmt: skip
        assert _widget(test, f"studio-{key}").value == value, key
    test = made(test)
    recipe = test.session_state["_studio_history"][0].recipe
    assert len(recipe["controls"]) == 3
    assert "start_image" in recipe


@pytest.mark.usefixtures("own_home")
def test_the_history_outlives_the_page(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragcore_app.views.studio.owner", lambda: "somebody")
    first = made(page("studio"), studio_steps=2, studio_count=2)
    images = [image.png for image in first.session_state["_studio_history"]]
    again = page("studio").run()
    assert [image.png for image in again.session_state["_studio_history"]] == images
    monkeypatch.setattr("ragcore_app.views.studio.owner", lambda: "another")
    assert page("studio").run().session_state["_studio_history"] == []
    monkeypatch.setattr("ragcore_app.views.studio.owner", lambda: "somebody")
    again.button(key="studio-clear").click().run()
    assert page("studio").run().session_state["_studio_history"] == []


@pytest.mark.usefixtures("home")
def test_a_drawing_must_be_a_png_of_ours(page: Page) -> None:
    test = page("studio").run()
    _widget(test, "studio-control-0").set_value("scribble")
    test.run()
    test.segmented_control(key="studio-source-0").set_value("Draw it").run()
    assert not test.exception
    test.button(key="studio-go").click().run()
    assert "Give the image for scribble" in test.error[0].value
    for address in ("data:text/html;base64,PGI+", "data:image/png;base64,!", "http://elsewhere/x"):
        test.session_state["_studio-sketch-0-lines"] = address
        test.run()
        assert not test.exception
        assert "not a PNG" in test.error[0].value or "not a readable" in test.error[0].value


@pytest.mark.usefixtures("own_home")
def test_stable_diffusion_with_loras(
    page: Page, tiny_profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same page over another kind of model: no classes, no styles, LoRAs that can be added."""
    stable = make_stable(tmp_path / "sd")
    lora = make_lora(stable, tmp_path / "loras", 1)
    profile = with_diffusion(tiny_profile, stable, "diffusers", tmp_path)
    monkeypatch.setenv("RAGCORE_PROFILE", str(profile))
    test = page("studio").run()
    assert not test.exception
    assert not test.error
    assert any("no class guidance" in caption.value for caption in test.caption)
    plain = made(test, studio_steps=2, studio_seed=3, studio_lock=True, studio_prompt="x")
    drop = plain.file_uploader(key="studio-lora-drop-0")
    drop.set_value((lora.name, lora.read_bytes(), "application/octet-stream")).run()
    assert not test.exception
    assert test.multiselect(key="studio-loras").value == [lora.name]
    _widget(test, f"studio-lora-weight-{lora.name}").set_value(0.5)
    test.run()
    test = made(test)
    with_lora, without = test.session_state["_studio_history"]
    assert with_lora.png != without.png
    ((path, weight),) = with_lora.recipe["loras"]
    assert (Path(path).name, weight) == (lora.name, 0.5)
    test.multiselect(key="studio-loras").set_value([]).run()
    test.button(key="studio-again-new-0").click().run()
    test.run()
    assert test.multiselect(key="studio-loras").value == [lora.name]
    wrong = ("wrong.safetensors", b"\x08" + bytes(7) + b"{}      ", "application/octet-stream")
    test.file_uploader(key="studio-lora-drop-1").set_value(wrong).run()
    test = made(test)
    assert "does not fit" in test.error[0].value
