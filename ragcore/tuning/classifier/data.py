"""The labelled examples that a classifier learns from and is judged by."""

from __future__ import annotations

import csv
import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.catalog import check_label
from ragcore.datasets import IMAGE_SUFFIXES, ImageSource, images_of, json_rows
from ragcore.encoders import Modality
from ragcore.errors import UnreadableFile, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragcore.types import FloatArray, IdArray

TEXT_SUFFIXES = {".txt", ".md"}
SUFFIXES = IMAGE_SUFFIXES | {".heic", ".avif"}
MAX_CLASSES = 2_000
MAX_TEXT = 100_000  # characters; a longer text's end is never seen by an encoder
_LABEL_KEYS, _FILE_KEYS = ("label", "class", "category"), ("file", "path", "image", "file_name")


@dataclass(frozen=True, slots=True)
class LabelledExample:
    """One image or text with its label. `group`: examples that belong together (a document)."""

    name: str
    label: str
    text: str = ""
    source: ImageSource | Path | None = field(default=None, repr=False)
    group: str = ""
    vector: FloatArray | None = field(default=None, repr=False)
    item: int = 0  # a catalog's id
    held_out: bool = False  # of a test set that was given apart

    def read(self) -> bytes:
        """The image's bytes. Raises UnreadableFile."""
        if isinstance(self.source, ImageSource):
            return self.source.read(self.name)
        try:
            return Path(self.source or self.name).read_bytes()
        except OSError as error:
            raise UnreadableFile(f"{self.name} cannot be read: {error.strerror}") from error

    def open(self, max_megapixels: int = 100) -> Image:
        """The image, upright, as RGB. Raises UnreadableFile."""
        from ragcore.readers import load_image

        return load_image(self.read(), max_megapixels=max_megapixels, at_least=448)


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples of one modality. `classes` are the labels' names, `labels` [n] index them.

    `notes` say what was done to the data: names that were merged, what was left out.
    """

    items: tuple[LabelledExample, ...]
    classes: tuple[str, ...]
    labels: IdArray
    modality: Modality
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """Changes with the examples or their labels."""
        digest = hashlib.sha256()
        for item in self.items:
            digest.update(f"{item.name}\0{item.label}\0{item.text}\0".encode("utf-8", "replace"))
        return digest.hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers [n] of examples to train on, to choose by, and to measure on."""

    train: IdArray
    dev: IdArray
    test: IdArray


def read_examples(source: str | Path, kind: str = "auto") -> list[LabelledExample]:
    """Examples from files.

    - a folder with one sub-folder a class, of images or of .txt and .md files;
    - a folder with labels.jsonl and images.zip (or the files beside it);
    - a .jsonl or .csv of `label` with `file` (images, as above) or `text`; rows may have a
      `group`, whose examples are never on both sides of a split.

    `kind` is auto, images or texts. Raises UsageError that names the first wrong line or what
    is missing.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        listing = next(
            (path / n for n in ("labels.jsonl", "labels.csv") if (path / n).is_file()), None
        )
        if listing is None:
            return list(_from_folders(path, kind))
        path = listing
    if not path.is_file():
        raise UsageError(f"no labelled examples at {path}: expected a folder, .csv or .jsonl")
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".jsonl", ".ndjson"):
        raise UsageError(f"{path.name} is no list of labels: expected .csv or .jsonl, or a folder")
    rows = _csv_rows(path) if suffix == ".csv" else json_rows(path)
    return list(_from_rows(path, rows, kind))


def gather(found: Sequence[LabelledExample], shown: str) -> Examples:
    """Check and tidy examples.

    Names of classes that differ in case or space only are merged, of equal examples one is kept.

    Raises UsageError for no examples, one class only, too many classes, both modalities.
    """
    import numpy as np

    if not found:
        raise UsageError(f"{shown} holds no labelled examples")
    kinds = {bool(example.text) for example in found}
    if len(kinds) > 1:
        raise UsageError(f"{shown} holds images and texts: set kind to one of them")
    notes: list[str] = []
    named = _merged(found, notes)
    remaining = _distinct(named, notes)
    counts = Counter(check_label(example.label) for example in remaining)
    if len(counts) < 2:
        raise UsageError(
            f"{shown} has one class only ({next(iter(counts))!r}): a classifier needs two or more, "
            "such as one called other"
        )
    if len(counts) > MAX_CLASSES:
        raise UsageError(f"{shown} has {len(counts):,} classes: at most {MAX_CLASSES:,} are taken")
    single = sorted(name for name, count in counts.items() if count == 1)
    if single:
        shown_names = ", ".join(repr(name) for name in single[:5])
        more = f" and {len(single) - 5:,} more" if len(single) > 5 else ""
        notes.append(
            f"{len(single):,} class(es) with one example ({shown_names}{more}): learned from, but "
            "nothing is left to measure them on"
        )
    classes = tuple(sorted(counts, key=str.casefold))
    index = {name: i for i, name in enumerate(classes)}
    labels = np.array([index[example.label] for example in remaining], np.int64)
    modality: Modality = "text" if kinds == {True} else "image"
    return Examples(tuple(remaining), classes, labels, modality, tuple(notes))


def without(
    examples: Examples, broken: Mapping[int, str], copies: Set[int] = frozenset()
) -> Examples:
    """The same without rows that could not be read (row: why), and without exact copies.

    The order stays. Raises UsageError if too little is left.
    """
    if not broken and not copies:
        return examples
    notes = list(examples.notes)
    first = next(iter(broken.values()), "")
    if len(broken) == len(examples.items):
        raise UsageError(f"none of the {len(broken):,} examples can be read, such as: {first}")
    if broken:
        notes.append(
            f"{len(broken):,} example(s) could not be read and are left out, such as: {first}"
        )
    if copies:
        notes.append(f"{len(copies):,} exact copy or copies are left out")
    gone = {*broken, *copies}
    remaining = [item for row, item in enumerate(examples.items) if row not in gone]
    again = gather(remaining, "what can be read")
    notes = list(dict.fromkeys((*notes, *again.notes)))
    return Examples(again.items, again.classes, again.labels, again.modality, tuple(notes))


def split(examples: Examples, *, test: float, dev: float, seed: int) -> Split:
    """A seeded split within every class; groups stay together where a class has several.

    A class of one example is trained on; one of two is tested on one; from four on there is a
    dev example. Where a test set was given apart, nothing else is held out for it.
    """
    import numpy as np

    rng = random.Random(seed)
    by_class: dict[int, list[int]] = defaultdict(list)
    given = [row for row, item in enumerate(examples.items) if item.held_out]
    for row in range(len(examples.items)):
        if not examples.items[row].held_out:
            by_class[int(examples.labels[row])].append(row)
    parts: tuple[list[int], list[int], list[int]] = ([], [], given)
    test = 0.0 if given else test
    for label in sorted(by_class):
        members = by_class[label]
        count = len(members)
        wanted_test = min(count - 1, max(1, round(count * test))) if test else 0
        wanted_dev = max(1, round(count * dev)) if dev and count >= 4 else 0
        wanted_dev = min(wanted_dev, count - wanted_test - 1)
        order = _in_groups(examples, members, rng)
        at, limits = 0, (wanted_test, wanted_dev, count)
        for part, limit in zip((parts[2], parts[1], parts[0]), limits, strict=True):
            taken, end = 0, len(order) - (part is not parts[0])  # one unit is left to train on
            while at < end and taken < limit:
                part.extend(order[at])
                taken += len(order[at])
                at += 1
    train, held_out, tested = (np.array(sorted(part), np.int64) for part in parts)
    return Split(train, held_out, tested)


def shots(labels: IdArray, rows: IdArray, count: int, seed: int) -> IdArray:
    """At most `count` of these rows of each class, the same ones first for every count."""
    import numpy as np

    order = np.random.default_rng(seed).permutation(rows)
    taken: Counter[int] = Counter()
    remaining = []
    for row in order.tolist():
        if taken[int(labels[row])] < count:
            taken[int(labels[row])] += 1
            remaining.append(row)
    return np.array(sorted(remaining), np.int64)


def _in_groups(examples: Examples, members: list[int], rng: random.Random) -> list[list[int]]:
    """Rows of one class in random order.

    Those of a group together, if a class has four groups or more: with fewer there would be nothing
    left to train on or to measure with.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for row in members:
        groups[examples.items[row].group or f"\0{row}"].append(row)
    units = list(groups.values()) if len(groups) >= 4 else [[row] for row in members]
    rng.shuffle(units)
    return units


def _merged(found: Sequence[LabelledExample], notes: list[str]) -> list[LabelledExample]:
    """Labels without needless space; those that differ in case only take the commonest form."""
    import dataclasses

    forms: dict[str, Counter[str]] = defaultdict(Counter)
    for example in found:
        forms[" ".join(example.label.split()).casefold()][example.label] += 1
    chosen: dict[str, str] = {}
    for key, counts in forms.items():
        name = " ".join(min(counts, key=lambda form: (-counts[form], form)).split())
        if len(counts) > 1:
            spellings = ", ".join(repr(form) for form in sorted(counts))
            notes.append(f"classes {spellings} are one class: they differ in case or space only")
        chosen[key] = name
    return [
        dataclasses.replace(e, label=chosen[" ".join(e.label.split()).casefold()]) for e in found
    ]


def _distinct(found: Sequence[LabelledExample], notes: list[str]) -> list[LabelledExample]:
    """Each name or text once: a copy on both sides of a split would be measured as known."""
    seen: dict[str, str] = {}
    remaining, again, contrary = [], 0, 0
    for example in found:
        key = example.text or f"{example.source}\0{example.name}"
        if key not in seen:
            seen[key] = example.label
            remaining.append(example)
        else:
            again += 1
            contrary += seen[key] != example.label
    if again:
        more = f", {contrary:,} of them with another label" if contrary else ""
        notes.append(f"{again:,} example(s) are given more than once{more}: the first counts")
    return remaining


def _from_folders(root: Path, kind: str) -> Iterator[LabelledExample]:
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not folders:
        raise UsageError(
            f"{root} holds no examples: expected one sub-folder a class, or labels.jsonl"
        )
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            suffix = path.suffix.lower()
            if not path.is_file() or path.name.startswith("."):
                continue
            shown = path.relative_to(root).as_posix()
            if suffix in SUFFIXES and kind != "texts":
                yield LabelledExample(shown, folder.name, source=path)
            elif suffix in TEXT_SUFFIXES and kind != "images":
                with path.open(encoding="utf-8", errors="replace") as file:
                    text = file.read(MAX_TEXT).strip()
                if text:
                    yield LabelledExample(shown, folder.name, text=text)


def _from_rows(
    path: Path, rows: Iterable[tuple[int, Mapping[str, Any]]], kind: str
) -> Iterator[LabelledExample]:
    images: ImageSource | None = None
    for number, row in rows:
        label = next((row[key] for key in _LABEL_KEYS if row.get(key) not in (None, "")), None)
        if label is None or not str(label).strip():
            raise UsageError(f"{path.name}, line {number}: the field 'label' is missing or empty")
        file = next((row[key] for key in _FILE_KEYS if row.get(key)), None)
        text, group = row.get("text"), str(row.get("group") or "")
        if file is not None and kind != "texts":
            images = images or images_of(path)
            if str(file) not in images:
                raise UsageError(f"{path.name}, line {number}: no image {file!r} in {images.root}")
            yield LabelledExample(str(file), str(label), source=images, group=group)
        elif isinstance(text, str) and text.strip():
            yield LabelledExample(
                f"line {number}", str(label), text=text.strip()[:MAX_TEXT], group=group
            )
        else:
            raise UsageError(f"{path.name}, line {number}: it has neither a 'file' nor a 'text'")


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not set(_LABEL_KEYS) & set(reader.fieldnames or ()):
                raise UsageError(
                    f"{path.name}: the first line must name the columns file,label or text,label"
                )
            yield from ((reader.line_num, row) for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as CSV: {error}") from error
