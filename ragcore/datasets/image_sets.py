"""Sets of images on disk, for training and for evaluation: captions, labels, altered copies.

A set is a JSON Lines (or CSV) file of rows with a `file` field, and the images either in a
zip beside it (same name, or images.zip) or as files relative to it.
"""

from __future__ import annotations

import csv
import json
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import UnreadableFile, UsageError
from ragcore.readers import load_image

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
Captions = str | Sequence[str]


class ImageSource:
    """Images by name from a zip or a folder. Safe to use from several threads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._zip = zipfile.ZipFile(root) if root.is_file() else None
        self._names = set(self._zip.namelist()) if self._zip else None
        self._lock = threading.Lock()

    def __contains__(self, name: str) -> bool:
        return name in self._names if self._names is not None else (self.root / name).is_file()

    def read(self, name: str) -> bytes:
        """The file's bytes. Raises UnreadableFile if it is not there."""
        try:
            if self._zip is None:
                return (self.root / name).read_bytes()
            with self._lock:
                return self._zip.read(name)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise UnreadableFile(f"{self.root.name}: no readable image {name!r}") from error

    def open(self, name: str) -> Image:
        """The image, upright, as RGB. Raises UnreadableFile."""
        return open_image(self.read(name), f"{self.root.name}: {name}")


def open_image(source: bytes | Path, shown: str = "") -> Image:
    """Decode one image, upright, as RGB. Raises UnreadableFile."""
    try:
        return load_image(source)
    except UnreadableFile as error:
        raise UnreadableFile(f"{shown or source!r} is not a readable image ({error})") from error


@dataclass(frozen=True, slots=True)
class Captioned:
    """One image with its captions; `source` and `name` say where its bytes are."""

    name: str
    captions: tuple[str, ...]
    source: ImageSource | None = None
    data: bytes | Path | None = field(default=None, repr=False)

    def open(self) -> Image:
        """The image, upright, as RGB. Raises UnreadableFile."""
        if self.source is not None:
            return self.source.open(self.name)
        assert self.data is not None
        return open_image(self.data, self.name)


def read_captioned(source: str | Path | Iterable[tuple[Any, Captions]]) -> list[Captioned]:
    """Images with captions from a file, a folder or pairs.

    - a JSON Lines file with `file` and `captions` (a list) or `caption`; a CSV with the columns
      file and caption, one row a caption;
    - a folder with captions.jsonl, captions.csv, or a .txt of captions beside each image;
    - an iterable of (path or bytes, caption or captions).

    Raises UsageError that names the first wrong line, a missing image, or an empty set.
    """
    if not isinstance(source, str | Path):
        return _nonempty(list(_from_pairs(source)), "the given pairs")
    path = Path(source).expanduser()
    if path.is_dir():
        for name in ("captions.jsonl", "captions.csv", "metadata.jsonl"):
            if (path / name).is_file():
                return read_captioned(path / name)
        return _nonempty(list(_from_text_files(path)), str(path))
    if not path.is_file():
        raise UsageError(f"no captions at {path}: expected a .jsonl or .csv file or a folder")
    rows = list(_csv_rows(path) if path.suffix.lower() == ".csv" else json_rows(path))
    images = images_of(path)
    merged: dict[str, list[str]] = {}
    for number, row in rows:
        name, captions = _captions_of(path, number, row)
        if name not in images:
            raise UsageError(f"{path.name}, line {number}: no image {name!r} in {images.root}")
        merged.setdefault(name, []).extend(captions)
    return _nonempty([Captioned(n, tuple(c), images) for n, c in merged.items()], str(path))


def json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a JSON Lines file. UsageError names the first wrong line."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as UTF-8 text") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            raise UsageError(f"{path.name}, line {number} is not JSON") from None
        if not isinstance(row, dict):
            raise UsageError(f"{path.name}, line {number} is not a JSON object")
        yield number, row


def images_of(listing: Path) -> ImageSource:
    """Where the images of a listing are: NAME.zip, images.zip, or the folder itself."""
    for candidate in (listing.with_suffix(".zip"), listing.parent / "images.zip"):
        if candidate.is_file():
            try:
                return ImageSource(candidate)
            except zipfile.BadZipFile as error:
                raise UsageError(f"{candidate} is not a zip archive") from error
    return ImageSource(listing.parent)


def _captions_of(path: Path, number: int, row: Mapping[str, Any]) -> tuple[str, list[str]]:
    name = row.get("file") or row.get("file_name") or row.get("image")
    given = row.get("captions", row.get("caption", row.get("text")))
    captions = [given] if isinstance(given, str) else given
    if not isinstance(name, str) or not name:
        raise UsageError(f"{path.name}, line {number}: the field 'file' is missing")
    if not isinstance(captions, list) or not all(isinstance(c, str) for c in captions):
        raise UsageError(f"{path.name}, line {number}: 'captions' must be a list of texts")
    captions = [c.strip() for c in captions if c.strip()]
    if not captions:
        raise UsageError(f"{path.name}, line {number}: {name} has no caption")
    return name, captions


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if not {"caption", "captions", "text"} & set(reader.fieldnames or ()):
                raise UsageError(f"{path.name}: the first line must name the columns file,caption")
            yield from ((reader.line_num, row) for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as CSV: {error}") from error


def _from_text_files(folder: Path) -> Iterator[Captioned]:
    images = ImageSource(folder)
    for image in sorted(folder.rglob("*")):
        text = image.with_suffix(".txt")
        if image.suffix.lower() in IMAGE_SUFFIXES and text.is_file():
            lines = [line.strip() for line in text.read_text("utf-8").splitlines()]
            captions = tuple(line for line in lines if line)
            if captions:
                yield Captioned(image.relative_to(folder).as_posix(), captions, images)


def _from_pairs(pairs: Iterable[tuple[Any, Captions]]) -> Iterator[Captioned]:
    for number, (image, given) in enumerate(pairs):
        captions = (given,) if isinstance(given, str) else tuple(given)
        data = image if isinstance(image, bytes) else Path(image)
        if isinstance(data, Path) and not data.is_file():
            raise UsageError(f"no such image: {data}")
        if captions:
            name = f"image {number}" if isinstance(data, bytes) else str(data)
            yield Captioned(name, captions, data=data)


def _nonempty(items: list[Captioned], shown: str) -> list[Captioned]:
    if not items:
        raise UsageError(f"{shown} holds no images with captions")
    return items
