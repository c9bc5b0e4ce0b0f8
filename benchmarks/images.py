"""Images a second: the whole path from JPEG bytes to vectors, against the bare encoder.

    python benchmarks/images.py FOLDER_OR_ZIP [--count N] [--backend auto|torch|openvino]

Both are measured in one run on the same images, taking turns, so that a busy machine slows
both. The bare encoder gets its input tensors ready made. The ratio is the pipeline's time over
the time of decoding plus encoding, one after the other: the budget is 1.2, and below 1 means
that decoding and resizing are hidden behind the encoder.
"""

from __future__ import annotations

import argparse
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from ragcore.datasets.image_sets import IMAGE_SUFFIXES, open_image
from ragcore.encoders.image_text import OpenClipEncoder
from ragcore.settings import Settings


def read(source: Path, count: int) -> list[bytes]:
    """Encoded bytes of up to `count` images."""
    if source.is_file():
        with zipfile.ZipFile(source) as archive:
            names = [n for n in archive.namelist() if Path(n).suffix.lower() in IMAGE_SUFFIXES]
            return [archive.read(name) for name in names[:count]]
    files = [p for p in sorted(source.rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES]
    return [path.read_bytes() for path in files[:count]]


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, help="a folder or zip of images")
    parser.add_argument("--model", default="starter-clip")
    parser.add_argument("--backend", default="auto", choices=("auto", "torch", "openvino"))
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    encoder = OpenClipEncoder(given.model, settings=Settings(), backend=given.backend)
    encoder.warm_up()
    data = read(given.source, given.count)
    if not data:
        parser.error(f"no images in {given.source}")
    encoder.encode_images([open_image(item) for item in data[:32]])  # warm

    times: dict[str, list[float]] = {"decode": [], "encoder": [], "pipeline": []}
    for _ in range(given.rounds):
        images = [open_image(item) for item in data]
        tensors = encoder.prepare(images)
        times["decode"].append(seconds(lambda: [open_image(item) for item in data]))
        times["encoder"].append(seconds(lambda t=tensors: encoder.encode_prepared(t)))
        times["pipeline"].append(
            seconds(lambda: encoder.encode_images([open_image(item) for item in data]))
        )
    middle = {name: median(values) for name, values in times.items()}
    report = {f"{name}_images_per_second": round(len(data) / t, 1) for name, t in middle.items()}
    report["ratio_to_decode_and_encoder"] = round(
        middle["pipeline"] / (middle["decode"] + middle["encoder"]), 3
    )
    print(json.dumps({"runs_on": encoder.runs_on, "images": len(data)} | report, indent=1))


if __name__ == "__main__":
    main()
