"""How fast this machine is with the models of the settings.

Encoders alone, whole ingests, search and one answer, on generated texts and images, in a library
that is deleted afterwards.
"""

from __future__ import annotations

import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.catalog import DEFAULT_COLLECTION
from ragcore.errors import Cancelled
from ragcore.library.core import Core, temporary
from ragcore.library.ingesting import ingest
from ragcore.types import CancelToken, Progress, ProgressCallback, SearchQuery

if TYPE_CHECKING:
    from PIL.Image import Image

TEXTS, IMAGES, QUERIES = 160, 64, 20
_WORDS = [
    "harbor", "engine", "lamp", "river", "signal", "teacher", "bread", "winter", "bridge",
    "letter", "copper", "garden", "window", "doctor", "market", "paper", "island", "valley",
    "camera", "forest", "kitchen", "railway", "summer", "silver", "history", "weather", "notice",
    "voyage", "meeting", "village", "concert", "measure", "battery", "orchard", "journal",
    "factory",
]  # fmt: skip
_CODE = "4711"  # what the question asks for


@dataclass(frozen=True, slots=True)
class Speed:
    """One measurement.

    `value` is in `unit`; `processor` are processor seconds per item, of this process and its
    readers (0: not counted).
    """

    name: str
    value: float
    unit: str
    processor: float = 0.0


def measure(
    core: Core,
    *,
    answer: bool = True,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> list[Speed]:
    """All measurements; without `answer` no language model is loaded.

    Models are loaded before anything is timed. Raises ModelUnavailable, Cancelled.
    """
    stages = ["load", "text", "images", "search", *(["answer"] if answer else [])]

    def begin(stage: str) -> None:
        if cancel is not None and cancel.cancelled:
            raise Cancelled("the measurement was cancelled")
        if progress is not None:
            progress(Progress(stage, stages.index(stage), len(stages)))

    begin("load")
    text, image = core.models.text_encoder(), core.models.image_text_encoder()
    text.warm_up()
    image.warm_up()
    rng = random.Random(7)
    texts = [_text(rng) for _ in range(TEXTS)]
    images = [_image(rng) for _ in range(IMAGES)]
    image.encode_images(images[:16])
    with tempfile.TemporaryDirectory(prefix="ragcore-bench-") as place:
        folders = {name: Path(place, name) for name in ("texts", "images")}
        for folder in folders.values():
            folder.mkdir()
        for number, one in enumerate(texts):
            (folders["texts"] / f"{number}.txt").write_text(one, "utf-8")
        for number, one_image in enumerate(images):
            one_image.save(folders["images"] / f"{number}.jpg", quality=85)
        with temporary(core) as own:
            begin("text")
            found = [_rate("text encode", "passages", TEXTS, lambda: text.encode(texts))]
            found.append(_rate("text ingest", "passages", TEXTS, _ingest(own, folders["texts"])))
            begin("images")
            found.append(
                _rate("image encode", "images", IMAGES, lambda: image.encode_images(images))
            )
            found.append(_rate("image ingest", "images", IMAGES, _ingest(own, folders["images"])))
            begin("search")
            found.append(_search(own, rng))
            if answer:
                begin("answer")
                found += _answer(own)
    if progress is not None:
        progress(Progress("done", len(stages), len(stages)))
    return found


def _text(rng: random.Random) -> str:
    """About 120 words: one passage."""
    sentences = [" ".join(rng.choices(_WORDS, k=10)).capitalize() + "." for _ in range(12)]
    return " ".join(sentences)


def _image(rng: random.Random) -> Image:
    """640 x 480 with areas and edges, as large in a JPEG file as a photograph."""
    from PIL import Image, ImageDraw

    noise = Image.frombytes("RGB", (64, 48), rng.randbytes(64 * 48 * 3))
    image = noise.resize((640, 480), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = rng.randrange(500), rng.randrange(360)
        color = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
        pen.ellipse((x, y, x + rng.randrange(40, 140), y + rng.randrange(40, 120)), fill=color)
    return image


def _ingest(core: Core, folder: Path) -> Callable[[], object]:
    return lambda: ingest(core, [folder], collection=DEFAULT_COLLECTION)


def _rate(name: str, items: str, count: int, work: Callable[[], object]) -> Speed:
    start, used = time.perf_counter(), _processor_seconds()
    work()
    seconds = time.perf_counter() - start
    return Speed(name, count / seconds, f"{items}/s", (_processor_seconds() - used) / count)


def _search(core: Core, rng: random.Random) -> Speed:
    """The median of queries by words, of passages and images."""
    times = []
    used = _processor_seconds()
    for _ in range(QUERIES):
        start = time.perf_counter()
        core.engine.search(SearchQuery(text=" ".join(rng.sample(_WORDS, 3))))
        times.append(time.perf_counter() - start)
    processor = (_processor_seconds() - used) / QUERIES
    return Speed("search", 1000 * statistics.median(times), "ms", processor)


def _answer(core: Core) -> list[Speed]:
    """A question to the language model, which is in memory already, to its first and last word."""
    core.models.llm().warm_up()
    collection = "facts"
    with tempfile.TemporaryDirectory(prefix="ragcore-bench-") as place:
        note = Path(place, "note.txt")
        note.write_text(f"The code of the storage room in the north wing is {_CODE}.\n", "utf-8")
        ingest(core, [note], collection=collection)
    start, used = time.perf_counter(), _processor_seconds()
    first = 0.0
    for event in core.answerer.stream(
        "What is the code of the storage room in the north wing?", collection=collection
    ):
        if event.kind == "text" and not first:
            first = time.perf_counter() - start
    whole = time.perf_counter() - start
    processor = _processor_seconds() - used
    return [
        Speed("answer, first word", first or whole, "s"),
        Speed("answer, whole", whole, "s", processor),
    ]


def _processor_seconds() -> float:
    """Of this process and of its readers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
