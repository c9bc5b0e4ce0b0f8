"""`ragcore eval images`: image search measured on folders with known answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.datasets import caption_recall, label_recall, top_k
from ragcore.evals import image_sets
from ragcore.types import Progress, ProgressCallback

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragcore.models import ImageTextEncoder, Models
    from ragcore.types import FloatArray

CHUNK = 128
CANDIDATES = 50  # a view, as the search engine takes them


def evaluate_images(
    directory: str | Path,
    *,
    models: Models,
    encoder: ImageTextEncoder | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Measure on a folder; its files say what.

    - captions (NAME.jsonl with `captions`, images in NAME.zip or images.zip): t2i@1/5/10 and
      i2t@1/5/10;
    - labels.jsonl (`file`, `name` or `label`): zeroshot@1/5 and class_recall@1/5/10;
    - gallery.jsonl with queries.jsonl: near_duplicate@1 of all queries, and by variant in
      `variants`.

    Every result has `images`, `seconds`, and the model's space in `model`. Raises UsageError
    for a folder of another kind, or for wrong or missing contents.
    """
    folder = Path(directory).expanduser()
    layout, listing = image_sets.detect(folder)
    # read before any model is loaded: wrong data is said at once
    measure: Callable[[ImageTextEncoder], dict[str, Any]]
    if layout == "captions":
        items = image_sets.read_captions(listing)
        measure = lambda model: _captions(items, model, progress)  # noqa: E731
    elif layout == "labels":
        labelled = image_sets.read_labels(listing)
        measure = lambda model: _labels(labelled, model, progress)  # noqa: E731
    else:
        copies = image_sets.read_copies(folder)
        measure = lambda model: _copies(copies, model, progress)  # noqa: E731
    encoder = encoder or models.image_text_encoder()
    began = time.perf_counter()
    result = measure(encoder)
    return result | {
        "seconds": round(time.perf_counter() - began, 2),
        "model": encoder.space.name,
    }


def _captions(
    items: Sequence[Any], encoder: ImageTextEncoder, progress: ProgressCallback | None
) -> dict[str, Any]:
    images = _encoded((item.open() for item in items), len(items), encoder, progress)
    texts = [caption for item in items for caption in item.captions]
    owner = [i for i, item in enumerate(items) for _ in item.captions]
    recalls = caption_recall(images, encoder.encode_texts(texts), owner)
    return {**recalls, "images": len(items), "captions": len(texts)}


def _labels(
    data: image_sets.LabelledImages, encoder: ImageTextEncoder, progress: ProgressCallback | None
) -> dict[str, Any]:
    from ragcore.encoders import classify_vectors

    images = _encoded(data.images(), len(data.files), encoder, progress)
    probabilities = classify_vectors(encoder, images, data.names)
    return {
        **top_k(probabilities, data.labels),
        **label_recall(images, data.labels),
        "images": len(images),
        "labels": len(data.names),
    }


def _copies(
    data: image_sets.AlteredCopies, encoder: ImageTextEncoder, progress: ProgressCallback | None
) -> dict[str, Any]:
    """As the search engine does it: candidates by vectors, verified on thumbnails."""
    import numpy as np

    from ragcore.readers import phash, thumbnail, turned
    from ragcore.search import ImageCandidate, SameImage, alike_by_hash, orientations

    stored: list[tuple[bytes, bytes]] = []

    def remembered() -> Iterable[Image]:
        for source, file in data.gallery:
            image = source.open(file)
            stored.append((thumbnail(image), phash(image)))
            yield image

    gallery = _encoded(remembered(), len(data.gallery), encoder, progress)
    same = SameImage()
    found: dict[str, list[bool]] = {}
    verified, false_alarms = 0, 0
    for number, (file, variant, original) in enumerate(
        zip(data.queries, data.variants, data.originals, strict=True)
    ):
        _report(progress, "look up", number, len(data.queries))
        query = data.source.open(file)
        cosines = encoder.encode_images(orientations(query)) @ gallery.T
        near = np.unique(np.argpartition(-cosines, CANDIDATES, axis=1)[:, :CANDIDATES])
        if len(gallery) <= CANDIDATES:
            near = np.arange(len(gallery))
        best = cosines.max(axis=0)
        hashes = turned(phash(query))
        alike = alike_by_hash(hashes, [hash_ for _, hash_ in stored])
        near = np.union1d(near, np.array(alike, dtype=near.dtype))
        candidates = [ImageCandidate(int(i), float(best[i]), *stored[i]) for i in near]
        matches = same.rank(query, candidates, hashes=hashes)
        found.setdefault(variant, []).append(matches[0].id == original)
        verified += matches[0].id == original and matches[0].verified
        false_alarms += sum(match.verified and match.id != original for match in matches)
    hits = [hit for hits in found.values() for hit in hits]
    return {
        "near_duplicate@1": float(np.mean(hits)),
        "variants": {name: float(np.mean(hits)) for name, hits in sorted(found.items())},
        "verified": verified / len(hits),
        "false_alarms": false_alarms,
        "images": len(gallery),
        "queries": len(hits),
    }


def _encoded(
    images: Iterable[Image],
    total: int,
    encoder: ImageTextEncoder,
    progress: ProgressCallback | None,
) -> FloatArray:
    """Vectors of all images, holding only a chunk of them in memory."""
    import numpy as np

    rest = iter(images)
    parts: list[FloatArray] = []
    done = 0
    while chunk := list(islice(rest, CHUNK)):
        parts.append(encoder.encode_images(chunk))
        done += len(chunk)
        _report(progress, "embed", done, total)
    return np.concatenate(parts)


def _report(progress: ProgressCallback | None, stage: str, done: int, total: int) -> None:
    if progress is not None:
        progress(Progress(stage, done, total))
