"""What a projector is trained on: cells of images, kept on disk, and what is asked of each."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.datasets import Captioned, make_questions, read_captioned
from ragcore.errors import Cancelled, UsageError
from ragcore.files import atomic_write
from ragcore.tuning.clip.data import COLLECTION, of_collection
from ragcore.tuning.vision.recipe import ProjectorRecipe
from ragcore.types import CancelToken, Progress, ProgressCallback

if TYPE_CHECKING:
    import numpy as np

    from ragcore.encoders import GridEncoder
    from ragcore.settings import Settings

Asked = list[tuple[str, list[str]]]  # questions, each with the answers to learn


def read_images(
    recipe: ProjectorRecipe, settings: Settings
) -> tuple[list[Captioned], list[Captioned]]:
    """(training, dev) images. Raises UsageError if one of them would be too small."""
    if not recipe.data.train:
        raise UsageError("the recipe names no training data: set train in its [data] table")

    def read(source: str) -> list[Captioned]:
        if source.startswith(COLLECTION):
            return of_collection(settings, source.removeprefix(COLLECTION))
        return read_captioned(recipe.path(source))

    items = read(recipe.data.train)
    if recipe.data.dev:
        dev = read(recipe.data.dev)
    else:
        random.Random(recipe.seed).shuffle(items)
        held_out = max(1, round(len(items) * recipe.data.dev_fraction))
        dev, items = items[:held_out], items[held_out:]
    if len(items) < 2 or not dev:
        raise UsageError(
            f"a projector needs at least 2 images to train on and 1 to measure on: "
            f"got {len(items)} and {len(dev)}"
        )
    return items, dev


def tidy(caption: str) -> str:
    """A caption as a sentence: one line, a capital letter, no space before marks, a full stop."""
    text = re.sub(r"\s+([.,;:!?])", r"\1", " ".join(caption.split()))
    text = text.rstrip(" .") + "."
    return text[:1].upper() + text[1:]


def asked_of(item: Captioned, recipe: ProjectorRecipe, rng: random.Random, *, more: bool) -> Asked:
    """What one turn asks of an image: its captions and, if `more`, made questions."""
    count = min(recipe.captions_per_turn, len(item.captions))
    captions = [tidy(caption) for caption in rng.sample(item.captions, count)]
    asked: Asked = [(recipe.caption_question, captions)]
    if more:
        made = make_questions(item.captions, rng)
        for question in rng.sample(made, min(recipe.questions.questions, len(made))):
            asked.append((question.text, [question.answer]))
    return asked


def cached_cells(
    encoder: GridEncoder,
    items: Sequence[Captioned],
    path: Path,
    *,
    mirrored: bool = False,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> np.ndarray[Any, Any]:
    """Cells of all images as float16 [n, cells, channels], mapped from `path`.

    Made now unless the file is there and whole. Raises Cancelled; nothing is then kept.
    """
    import numpy as np

    from ragcore.encoders import CHANNELS

    shape = (len(items), encoder.cells, CHANNELS)
    if path.is_file():
        stored = np.load(path, mmap_mode="r")
        if stored.shape == shape:
            return np.asarray(stored) if stored.nbytes < 2**30 else stored
    with atomic_write(path) as part:
        cells = np.lib.format.open_memmap(part, "w+", np.float16, shape)
        step = 64
        for start in range(0, len(items), step):
            if cancel is not None and cancel.cancelled:
                raise Cancelled("cancelled while images were being read: nothing of them is kept")
            if progress is not None:
                progress(Progress("images", start, len(items)))
            images = [item.open() for item in items[start : start + step]]
            cells[start : start + step] = encoder.encode(images, mirrored=mirrored)
        cells.flush()
    return cells


class ShuffledBatches:
    """Images in a shuffled order, pass after pass, the same for the same seed.

    A batch is known by its number alone, so that a resumed run goes on as if never stopped.
    """

    def __init__(
        self,
        items: Sequence[Captioned],
        cells: Sequence[np.ndarray[Any, Any]],
        recipe: ProjectorRecipe,
    ) -> None:
        self.items, self.cells, self.recipe = items, cells, recipe
        self._order: tuple[int, list[int]] = (-1, [])

    def batch(self, number: int, *, more: bool) -> tuple[np.ndarray[Any, Any], list[Asked]]:
        """Cells [b, cells, channels] float32 and what is asked of each image."""
        import numpy as np

        size, total = self.recipe.batch_size, len(self.items)
        cells, asked = [], []
        for place in range(number * size, (number + 1) * size):
            turn, at = divmod(place, total)
            row = self._shuffled(turn)[at]
            rng = random.Random(f"{self.recipe.seed} {turn} {row}")
            cells.append(self.cells[rng.randrange(len(self.cells))][row])
            asked.append(asked_of(self.items[row], self.recipe, rng, more=more))
        return np.stack(cells).astype(np.float32), asked

    def _shuffled(self, turn: int) -> list[int]:
        if self._order[0] != turn:
            order = list(range(len(self.items)))
            random.Random(f"{self.recipe.seed} {turn}").shuffle(order)
            self._order = (turn, order)
        return self._order[1]
