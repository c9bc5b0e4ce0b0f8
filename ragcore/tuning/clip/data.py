"""The images with captions that an image-text model is trained on, and those it is judged by."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.datasets import Captioned, Captions, read_captioned
from ragcore.errors import UsageError

if TYPE_CHECKING:
    from ragcore.settings import Settings
    from ragcore.tuning.clip.recipe import ClipRecipe

COLLECTION = "collection:"
Pairs = Iterable[tuple[Any, Captions]]


def training_images(
    recipe: ClipRecipe, settings: Settings, pairs: Pairs | None
) -> tuple[list[Captioned], list[Captioned]]:
    """(training, dev) images. Raises UsageError if one of them would be too small."""
    if pairs is None and not recipe.data.train:
        raise UsageError("the recipe names no training data: set train in its [data] table")
    items = _read(recipe, settings, recipe.data.train) if pairs is None else read_captioned(pairs)
    if recipe.data.dev:
        dev = _read(recipe, settings, recipe.data.dev)
    else:
        shuffled = items.copy()
        random.Random(recipe.seed).shuffle(shuffled)
        held_out = max(1, round(len(items) * recipe.data.dev_fraction))
        dev, items = shuffled[:held_out], shuffled[held_out:]
    if len(items) < 2 or len(dev) < 2:
        raise UsageError(
            f"contrastive training needs at least 2 images to train on and 2 to measure on: "
            f"got {len(items)} and {len(dev)}"
        )
    return items, dev


def _read(recipe: ClipRecipe, settings: Settings, source: str) -> list[Captioned]:
    if source.startswith(COLLECTION):
        return of_collection(settings, source.removeprefix(COLLECTION))
    return read_captioned(recipe.path(source))


def of_collection(settings: Settings, name: str) -> list[Captioned]:
    """A collection's images that people captioned and whose file is there.

    Raises UsageError for an unknown collection, or one without such images.
    """
    from ragcore.catalog import Catalog, browse

    catalog = Catalog(settings.catalog_url)
    try:
        row = catalog.collection(name)
        with catalog.read() as session:
            infos = browse.list_images(session, row.id, captioned=True, limit=1_000_000)
    finally:
        catalog.close()
    found = []
    for info in reversed(infos):  # oldest first: what is added later changes the end only
        path = settings.media / info.media if info.media else Path(info.path)
        if path.is_file() and not info.caption_by:  # a model learns nothing from a model's words
            found.append(Captioned(str(path), (info.caption,), data=path))
    if not found:
        raise UsageError(
            f"no image of the collection {name!r} has a caption by people: "
            "give captions in a file instead"
        )
    return found
