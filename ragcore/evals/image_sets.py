"""The three layouts that `evaluate_images` reads, and checks of what is in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ragcore.datasets import Captioned, ImageSource, images_of, json_rows, read_captioned
from ragcore.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

Layout = Literal["captions", "labels", "near_duplicates"]
_SPLITS = ("test", "dev", "val", "captions", "train")  # in this order, one of them is measured


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Images with one label each; `names` are the labels as words, `labels` index them."""

    files: tuple[str, ...]
    labels: tuple[int, ...]
    names: tuple[str, ...]
    source: ImageSource

    def images(self) -> Iterator[Image]:
        return (self.source.open(file) for file in self.files)


@dataclass(frozen=True, slots=True)
class AlteredCopies:
    """A gallery and altered copies of some of its images; `originals` index the gallery."""

    gallery: tuple[tuple[ImageSource, str], ...]
    queries: tuple[str, ...]
    variants: tuple[str, ...]
    originals: tuple[int, ...]
    source: ImageSource


def detect(directory: Path) -> tuple[Layout, Path]:
    """What a folder holds, and the file that lists it. Raises UsageError if it is none."""
    if not directory.is_dir():
        raise UsageError(f"no such folder: {directory}")
    if (directory / "gallery.jsonl").is_file() and (directory / "queries.jsonl").is_file():
        return "near_duplicates", directory / "gallery.jsonl"
    if (directory / "labels.jsonl").is_file():
        return "labels", directory / "labels.jsonl"
    listings = sorted(directory.glob("*.jsonl"))
    named = {path.stem: path for path in listings}
    for stem in _SPLITS:
        if stem in named:
            return "captions", named[stem]
    if len(listings) == 1:
        return "captions", listings[0]
    raise UsageError(
        f"{directory} holds no image set: expected captions (NAME.jsonl with NAME.zip), "
        "labels.jsonl with images.zip, or gallery.jsonl with queries.jsonl"
    )


def read_captions(listing: Path) -> list[Captioned]:
    """Raises UsageError for a wrong file, or fewer than two images."""
    items = read_captioned(listing)
    if len(items) < 2:
        raise UsageError(f"{listing} holds one image: recall needs at least two to choose from")
    return items


def read_labels(listing: Path) -> LabelledImages:
    """Raises UsageError for a wrong file, a missing image, or fewer than two labels."""
    source = images_of(listing)
    files, given = [], []
    for number, row in json_rows(listing):
        file, name = row.get("file"), row.get("name", row.get("label"))
        if not isinstance(file, str) or not file:
            raise UsageError(f"{listing.name}, line {number}: the field 'file' is missing")
        name = "" if name is None else str(name).strip()
        if not name:
            raise UsageError(f"{listing.name}, line {number}: {file} has an empty label")
        if file not in source:
            raise UsageError(f"{listing.name}, line {number}: no image {file!r} in {source.root}")
        files.append(file)
        given.append(name.replace("_", " "))
    names = tuple(sorted(set(given)))
    if len(names) < 2:
        raise UsageError(f"{listing} has {len(names)} label(s): at least two are needed")
    index = {name: i for i, name in enumerate(names)}
    return LabelledImages(tuple(files), tuple(index[name] for name in given), names, source)


def read_copies(directory: Path) -> AlteredCopies:
    """Raises UsageError for wrong files, missing images, or an original not in the gallery."""
    gallery, places = _gallery(directory)
    source = images_of(directory / "queries.jsonl")
    queries, variants, originals = [], [], []
    for number, row in json_rows(directory / "queries.jsonl"):
        shown = f"queries.jsonl, line {number}"
        original: Any = row.get("original")
        if not isinstance(original, dict):
            raise UsageError(f"{shown}: the field 'original' is missing")
        key = (str(original.get("archive", "")), str(original.get("file", "")))
        if key not in places:
            raise UsageError(f"{shown}: the original {key[1]!r} is not in gallery.jsonl")
        file = str(row.get("file", ""))
        if file not in source:
            raise UsageError(f"{shown}: no image {file!r} in {source.root}")
        queries.append(file)
        variants.append(str(row.get("variant", "copy")))
        originals.append(places[key])
    if not queries:
        raise UsageError(f"{directory / 'queries.jsonl'} is empty")
    return AlteredCopies(gallery, tuple(queries), tuple(variants), tuple(originals), source)


def _gallery(
    directory: Path,
) -> tuple[tuple[tuple[ImageSource, str], ...], dict[tuple[str, str], int]]:
    """Images of gallery.jsonl; archives are relative to the folder or to its parent."""
    sources: dict[str, ImageSource] = {}
    images: list[tuple[ImageSource, str]] = []
    places: dict[tuple[str, str], int] = {}
    for number, row in json_rows(directory / "gallery.jsonl"):
        archive, file = str(row.get("archive", "")), str(row.get("file", ""))
        if archive not in sources:
            sources[archive] = _archive(directory, archive, number)
        if file not in sources[archive]:
            raise UsageError(f"gallery.jsonl, line {number}: no image {file!r} in {archive!r}")
        places[archive, file] = len(images)
        images.append((sources[archive], file))
    if len(images) < 2:
        raise UsageError(f"{directory / 'gallery.jsonl'} needs at least two images")
    return tuple(images), places


def _archive(directory: Path, archive: str, number: int) -> ImageSource:
    bases: Sequence[Path] = (directory, directory.parent)
    for base in bases:
        path = base / archive if archive else base / "gallery.zip"
        if path.is_file() or (archive and path.is_dir()):
            return ImageSource(path)
    raise UsageError(f"gallery.jsonl, line {number}: no archive {archive!r} beside {directory}")
