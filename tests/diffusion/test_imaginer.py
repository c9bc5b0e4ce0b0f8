"""The image maker with a tiny random model: everything but the beauty."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ragcore.diffusion import (
    ControlRequest,
    GuidanceRequest,
    Imagined,
    Imaginer,
    ImagineRequest,
    ImagineStep,
    read_recipe,
)
from ragcore.diffusion.images import as_png, recipe_of
from ragcore.errors import Cancelled, UnreadableFile, UsageError
from ragcore.types import CancelToken

from .tiny import SIZE

FEW: dict[str, Any] = {"steps": 4, "seed": 7}


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def made(imaginer: Imaginer, **fields: object) -> np.ndarray:
    request = ImagineRequest(**{**FEW, "prompt": "red apple", **fields})
    return pixels(imaginer.imagine(request).images[0].png)


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """A black square on white."""
    image = Image.new("RGB", (60, 40), "white")
    image.paste((0, 0, 0), (20, 10, 40, 30))
    path = tmp_path / "square: one.png"
    image.save(path)
    return path


@pytest.mark.parametrize("sampler", ["ddim", "dpm++", "euler"])
def test_same_seed_same_image(imaginer: Imaginer, sampler: str) -> None:
    one, two = (made(imaginer, sampler=sampler) for _ in range(2))
    assert one.shape == (SIZE, SIZE, 3)
    assert np.abs(one - two).max() <= 1
    other = made(imaginer, sampler=sampler, seed=8)
    assert np.abs(one - other).mean() > 2


def test_each_of_a_batch_is_the_image_of_its_own_seed(imaginer: Imaginer) -> None:
    batch = imaginer.imagine(ImagineRequest(prompt="cat", count=3, **FEW))
    assert [image.seed for image in batch.images] == [7, 8, 9]
    alone = made(imaginer, prompt="cat", seed=9)
    assert np.abs(pixels(batch.images[2].png) - alone).max() <= 2


def test_prompt_negative_style_and_scale_count(imaginer: Imaginer) -> None:
    plain = made(imaginer)
    for change in ({"prompt": "blue car"}, {"negative": "round"}, {"style": "flat"}, {"scale": 9}):
        assert np.abs(plain - made(imaginer, **change)).max() > 0, change
    ignored = made(imaginer, scale=0)
    assert np.array_equal(ignored, made(imaginer, scale=0, prompt="blue car"))


def test_previews_and_progress(imaginer: Imaginer) -> None:
    events = list(imaginer.stream(ImagineRequest(prompt="sun", **FEW), preview_every=2))
    steps = [event for event in events if isinstance(event, ImagineStep)]
    assert [step.number for step in steps] == [1, 2, 3, 4]
    assert [step.preview is not None for step in steps] == [False, True, False, False]
    assert steps[1].preview is not None
    assert steps[1].preview.shape == (1, SIZE, SIZE, 3)
    assert isinstance(events[-1], Imagined)


def test_cancel_between_steps(imaginer: Imaginer) -> None:
    token = CancelToken()
    seen = []

    def on_step(step: ImagineStep) -> None:
        seen.append(step.number)
        if step.number == 3:
            token.cancel()

    with pytest.raises(Cancelled, match="3 of 50"):
        imaginer.imagine(ImagineRequest(steps=50), on_step=on_step, cancel=token)
    assert seen == [1, 2, 3]


def test_nothing_is_left_behind(imaginer: Imaginer) -> None:
    """Neither a whole run nor a cancelled one keeps tensors alive."""
    import gc

    import torch

    def alive() -> int:
        gc.collect()
        return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())

    def cancelled() -> None:
        token = CancelToken()
        with pytest.raises(Cancelled):
            imaginer.imagine(
                ImagineRequest(steps=9, guidance=[GuidanceRequest("class", "bars", 2)]),
                on_step=lambda _: token.cancel(),
                cancel=token,
            )

    made(imaginer)
    cancelled()
    before = alive()
    for _ in range(3):
        made(imaginer)
        cancelled()
    assert alive() <= before


def test_two_at_once_do_not_mix(imaginer: Imaginer) -> None:
    alone = [made(imaginer, prompt=p, seed=s) for p, s in (("cat", 1), ("dog", 2))]
    together: dict[int, np.ndarray] = {}

    def work(number: int, prompt: str) -> None:
        together[number] = made(imaginer, prompt=prompt, seed=number + 1)

    threads = [threading.Thread(target=work, args=(i, p)) for i, p in enumerate(("cat", "dog"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, image in enumerate(alone):
        assert np.abs(image - together[number]).max() <= 1


def test_start_image_and_strength(imaginer: Imaginer, drawn: Path) -> None:
    kept = imaginer.imagine(ImagineRequest(start_image=drawn, strength=0.0, **FEW))
    assert "leaves the start image" in kept.notes[0]
    weak, strong = (made(imaginer, start_image=drawn, strength=s, scale=1) for s in (0.25, 1.0))
    own = pixels(kept.images[0].png)
    assert np.abs(own - weak).mean() < np.abs(own - strong).mean()


def test_class_guide_moves_latents_towards_its_class(imaginer: Imaginer) -> None:
    import torch

    from ragcore.diffusion.guidance import ClassifierGuidance
    from ragcore.diffusion.sampling import DenoisingPlan, denoise

    model = imaginer.model
    rows = model.classifier.class_rows("straight things")
    assert rows == [1, 2]
    embeddings = model.embed_prompts([""] * 8)
    noise = torch.randn((8, 4, 4, 4), generator=torch.Generator().manual_seed(0))

    def log_probability(scale: float, sampler: str) -> float:
        scheduler = model.scheduler(sampler)
        scheduler.set_timesteps(10)
        guidance = [ClassifierGuidance(model.classifier, [rows], scale)] if scale else []
        plan = DenoisingPlan(prompt=embeddings, empty=embeddings, guidance=guidance)
        latents = noise * scheduler.init_noise_sigma
        for step in denoise(model.denoiser, scheduler, latents, scheduler.timesteps, plan):
            latents = step.latents
        with torch.no_grad():
            logs = model.classifier(latents, torch.zeros(8, dtype=torch.long)).log_softmax(1)
        return float(logs[:, rows].logsumexp(1).mean())

    for sampler in ("ddim", "dpm++", "euler"):
        levels = [log_probability(scale, sampler) for scale in (0, 3, 30)]
        assert levels == sorted(levels), sampler
        assert levels[2] > levels[0] + 0.05, sampler


def test_controls_change_the_image_by_weight_and_time(imaginer: Imaginer, drawn: Path) -> None:
    plain = made(imaginer)

    def changed(**how: float) -> float:
        control = ControlRequest("canny", drawn, **how)
        return float(np.abs(plain - made(imaginer, controls=[control])).mean())

    assert changed(weight=0) == 0
    assert 0 < changed(weight=0.2) < changed(weight=1)
    assert 0 < changed(end=0.4) < changed()


def test_two_controls_add_up(imaginer: Imaginer, drawn: Path) -> None:
    canny, scribble = (ControlRequest(kind, drawn) for kind in ("canny", "scribble"))
    both = made(imaginer, controls=[canny, scribble])
    assert np.abs(both - made(imaginer, controls=[canny])).max() > 0
    assert np.abs(both - made(imaginer, controls=[scribble, canny])).max() <= 1
    guessed = made(imaginer, controls=[canny, scribble], guess=True, prompt="")
    assert np.abs(guessed - made(imaginer, controls=[canny, scribble], prompt="")).max() > 0


def test_recipe_in_the_file_makes_the_same_image(imaginer: Imaginer, drawn: Path) -> None:
    request = ImagineRequest(
        prompt="naïve 🍎",
        negative="dark",
        style="round",
        controls=[ControlRequest("canny", drawn, 0.7, 0.1, 0.8)],
        guidance=[GuidanceRequest("class", "bars", 3)],
        start_image=drawn,
        strength=0.8,
        count=2,
        **FEW,
    )
    first = imaginer.imagine(request)
    again, model = read_recipe(first.images[1].png)
    assert model == "tiny"
    assert (again.prompt, again.style, again.seed) == ("naïve 🍎", "round style", 8)
    repeated = imaginer.imagine(again)
    difference = pixels(repeated.images[0].png) - pixels(first.images[1].png)
    assert np.abs(difference).max() <= 2


def test_a_large_recipe_stays_readable(drawn: Path) -> None:
    """Readers refuse text above a megabyte, and large images do not compress to less."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (600, 600, 3), np.uint8)
    request = ImagineRequest(
        prompt="x",
        controls=[ControlRequest(kind, b"", 0.5) for kind in ("canny", "scribble")],
        start_image=b"",
        strength=0.4,
    )
    conditions = [noise // 2, noise]
    recipe = recipe_of(request, seed=1, size=600, model="tiny", start=noise, conditions=conditions)
    png = as_png(noise[:64, :64], recipe)
    assert Image.open(io.BytesIO(png)).convert("RGB").size == (64, 64)
    again, _ = read_recipe(png)
    assert np.array_equal(pixels(again.start_image), noise)  # type: ignore[arg-type]
    for control, condition in zip(again.controls, conditions, strict=True):
        assert np.array_equal(pixels(control.image), condition)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"size": 33}, "steps of 16"),
        ({"size": 4000}, "to 128"),
        ({"style": "cubist"}, "flat, round"),
        (
            {"guidance": [GuidanceRequest("class", "unicorns", 1)]},
            "round things, straight things, circles",
        ),
        ({"guidance": [GuidanceRequest("text", "a cat", 1)]}, "image-text encoder"),
        ({"controls": [ControlRequest("pose", b"")]}, "it has canny, scribble"),
    ],
)
def test_what_cannot_be_made_is_said(
    imaginer: Imaginer, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        imaginer.imagine(ImagineRequest(**FEW, **fields))


def test_broken_condition_files(imaginer: Imaginer, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 50)
    for image in (broken, b"", b"GIF89a"):
        with pytest.raises(UnreadableFile, match="control canny"):
            imaginer.imagine(ImagineRequest(controls=[ControlRequest("canny", image)], **FEW))
    with pytest.raises(UnreadableFile, match="start image"):
        imaginer.imagine(ImagineRequest(start_image=broken, **FEW))


def test_a_scale_of_a_million_is_cut_and_said(imaginer: Imaginer) -> None:
    guide = GuidanceRequest("class", "circles", 1e6)
    result = imaginer.imagine(ImagineRequest(scale=1e6, guidance=[guide], **FEW))
    assert len(result.notes) == 2
    assert all("was cut to" in note for note in result.notes)
    assert pixels(result.images[0].png).shape == (SIZE, SIZE, 3)


@pytest.mark.shared
def test_awkward_images_as_start_never_crash(imaginer: Imaginer, shared: Path) -> None:
    import zipfile

    kinds = {"made": 0, "refused": 0}
    with zipfile.ZipFile(shared / "data" / "images" / "bad_inputs" / "bad_inputs.zip") as bad:
        for name in bad.namelist():
            try:
                request = ImagineRequest(start_image=bad.read(name), strength=0.5, steps=2, seed=1)
                imaginer.imagine(request)
                kinds["made"] += 1
            except UnreadableFile:
                kinds["refused"] += 1
    assert kinds["made"] >= 10
    assert kinds["refused"] >= 10
