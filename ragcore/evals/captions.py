"""Captions of a model against those of people: BLEU-4, beside what needs no image."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.datasets import Captioned, caption_bleu, make_questions, read_captioned
from ragcore.errors import Cancelled, UsageError
from ragcore.evals.image_sets import detect
from ragcore.extras import require_extra
from ragcore.models import Models, VisionLLM
from ragcore.types import CancelToken, Progress, ProgressCallback

if TYPE_CHECKING:
    import torch

    from ragcore.llm import ProjectedLLM
    from ragcore.settings import Settings

_STEP = 16  # images at a time
_ASKED = 300  # images that are asked about: enough for a share to 2 points, and quick


def evaluate_captions(
    directory: Path,
    *,
    settings: Settings,
    models: Models | None = None,
    model: str = "",
    limit: int | None = None,
    details: Path | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Measure a model's captions on a folder of images with several captions each.

    `bleu4` is sacrebleu's corpus BLEU in [0, 1]. Beside it: `bleu4_nearest`, the first caption of
    the training image that the profile's image-text model finds nearest (where the folder has
    train.jsonl besides); and, for a projector of ours, `bleu4_no_picture`, the same prompt with
    nothing in the image's place, `bleu4_other_picture`, each image captioned from another
    one's features, `yes_no` with `yes_no_other_picture`: shares of made questions ("Is there a
    dog?") about the first 300 images answered right, with the image and with another. What is
    not measured is None. `details` takes every caption as JSON Lines. `models` defaults to those
    of the settings.

    Raises UsageError for a wrong folder, ModelUnavailable, Cancelled.
    """
    from ragcore.llm import BEAMS, ProjectedLLM

    require_extra("train", "caption scores")
    layout, listing = detect(directory)
    if layout != "captions":
        raise UsageError(f"{directory} holds no captions: expected NAME.jsonl with NAME.zip")
    items = read_captioned(listing)[:limit]
    if len(items) < 2:
        raise UsageError(f"{listing} holds one image: at least two are needed")
    models = models or Models(settings)
    llm = models.vision_llm(model)
    run = _CaptionEvaluation(items, progress, cancel)
    began = time.monotonic()
    said, cells = run.captions(llm)
    seconds = (time.monotonic() - began) / len(items)
    result: dict[str, Any] = {
        "model": llm.name,
        "pictures": len(items),
        "beams": BEAMS if isinstance(llm, ProjectedLLM) else 1,
        "bleu4": run.bleu(said),
        "bleu4_nearest": None,
        "bleu4_no_picture": None,
        "bleu4_other_picture": None,
        "yes_no": None,
        "yes_no_other_picture": None,
        "seconds_per_caption": round(seconds, 3),
    }
    training = directory / "train.jsonl"
    if training.is_file() and training != listing:
        near = _nearest(items, read_captioned(training), models, run.report)
        result["bleu4_nearest"] = run.bleu(near)
    if isinstance(llm, ProjectedLLM) and cells is not None:
        others = run.captions_of_cells(llm, cells.roll(1, 0), "another image")
        result["bleu4_other_picture"] = run.bleu(others)
        (alone,) = llm.captions_of(cells[:1, :0])
        result["bleu4_no_picture"] = run.bleu([alone] * len(items))
        result["caption_without_picture"] = alone
        result["yes_no"] = run.yes_no(llm, cells)
        result["yes_no_other_picture"] = run.yes_no(llm, cells.roll(1, 0))
    if details is not None:
        _write(details, items, said)
    return result


class _CaptionEvaluation:
    """Images with what is made of them."""

    def __init__(
        self,
        items: Sequence[Captioned],
        progress: ProgressCallback | None,
        cancel: CancelToken | None,
    ) -> None:
        self.items, self.progress, self.cancel = items, progress, cancel

    def bleu(self, said: Sequence[str]) -> float:
        return caption_bleu(said, [item.captions for item in self.items])

    def report(self, stage: str, done: int, total: int) -> None:
        if self.cancel is not None and self.cancel.cancelled:
            raise Cancelled("the evaluation was cancelled")
        if self.progress is not None:
            self.progress(Progress(stage, done, total))

    def captions(self, llm: VisionLLM) -> tuple[list[str], torch.Tensor | None]:
        """Captions of all images and, for a projector of ours, the cells they were made from."""
        import torch

        from ragcore.llm import ProjectedLLM

        said: list[str] = []
        cells: list[torch.Tensor] = []
        for start in range(0, len(self.items), _STEP):
            self.report("captions", start, len(self.items))
            images = [item.open() for item in self.items[start : start + _STEP]]
            if isinstance(llm, ProjectedLLM):
                cells.append(llm.cells(images))
                said += llm.captions_of(cells[-1], cancel=self.cancel)
            else:
                said += llm.captions(images, cancel=self.cancel)
        return said, torch.cat(cells) if cells else None

    def captions_of_cells(self, llm: ProjectedLLM, cells: torch.Tensor, stage: str) -> list[str]:
        said: list[str] = []
        for start in range(0, len(cells), _STEP):
            self.report(stage, start, len(cells))
            said += llm.captions_of(cells[start : start + _STEP], cancel=self.cancel)
        return said

    def yes_no(self, llm: ProjectedLLM, cells: torch.Tensor) -> float | None:
        """Share of questions after what is there whose right answer is the likelier one."""
        right = []
        for row, item in enumerate(self.items[:_ASKED]):
            if row % 50 == 0:
                self.report("questions", row, min(_ASKED, len(self.items)))
            for question in make_questions(item.captions, random.Random(row)):
                if question.kind == "is-there":
                    yes = llm.prefers(cells[row : row + 1], question.text, "Yes", "No")
                    right.append(yes == (question.answer == "Yes."))
        return sum(right) / len(right) if right else None


def _nearest(
    items: Sequence[Captioned],
    training: Sequence[Captioned],
    models: Models,
    report: Callable[[str, int, int], None],
) -> list[str]:
    """The first caption of the training image nearest to each, by the profile's model."""
    import numpy as np

    encoder = models.image_text_encoder()

    def vectors(several: Sequence[Captioned], stage: str) -> Iterator[Any]:
        for start in range(0, len(several), 64):
            report(stage, start, len(several))
            yield encoder.encode_images([item.open() for item in several[start : start + 64]])

    known = np.concatenate(list(vectors(training, "training images")))
    asked = np.concatenate(list(vectors(items, "images")))
    return [training[int(at)].captions[0] for at in (asked @ known.T).argmax(1)]


def _write(path: Path, items: Sequence[Captioned], said: Sequence[str]) -> None:
    import json

    try:
        with path.open("w", encoding="utf-8") as file:
            for item, text in zip(items, said, strict=True):
                row = {"file": item.name, "caption": text, "people": list(item.captions)}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
