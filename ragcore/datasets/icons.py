"""Icons with names: STYLE.npz with STYLE.jsonl, split_icons by code point."""

from __future__ import annotations

import hashlib
import random
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ragcore.datasets.image_sets import json_rows
from ragcore.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Part = Literal["train", "unseen_names", "unseen_pairs"]


@dataclass(frozen=True, slots=True)
class Icon:
    """One image's description. `concept` is its code points: the same in every style."""

    concept: str
    name: str
    tags: tuple[str, ...]
    group: str
    subgroup: str
    style: str


@dataclass(frozen=True, slots=True)
class IconSet:
    """Icons and their images uint8 [n, h, w, 3], in the same order."""

    icons: tuple[Icon, ...]
    pixels: NDArray[np.uint8]

    def chosen(self, rows: Sequence[int]) -> IconSet:
        return IconSet(tuple(self.icons[row] for row in rows), self.pixels[list(rows)])

    @property
    def styles(self) -> list[str]:
        return sorted({icon.style for icon in self.icons})


def read_icons(
    folder: Path, styles: Sequence[str] = (), *, leave_out: Sequence[str] = ()
) -> IconSet:
    """All icons of the styles (every one in the folder if none is named).

    `leave_out` names groups that are not wanted. Raises UsageError for a missing or broken file,
    an unknown style or group, or images of different sizes.
    """
    import numpy as np

    there = sorted(path.stem for path in folder.glob("*.npz"))
    if not there:
        raise UsageError(f"{folder} holds no STYLE.npz with icons")
    if unknown := [style for style in styles if style not in there]:
        raise UsageError(f"no style {unknown[0]!r} in {folder}: there are {', '.join(there)}")
    icons: list[Icon] = []
    arrays: list[Any] = []
    for style in styles or there:
        listed, pixels = _read_style(folder, style)
        rows = [row for row, icon in enumerate(listed) if icon.group not in leave_out]
        icons += [listed[row] for row in rows]
        arrays.append(pixels[rows])
    if len({array.shape[1:] for array in arrays}) > 1:
        raise UsageError(f"the styles in {folder} have images of different sizes")
    if not icons:
        raise UsageError(f"no icon is left in {folder} without {', '.join(leave_out)}")
    return IconSet(tuple(icons), np.concatenate(arrays))


def _read_style(folder: Path, style: str) -> tuple[list[Icon], NDArray[np.uint8]]:
    import numpy as np

    path = folder / f"{style}.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            pixels: NDArray[np.uint8] = file["images"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} holds no array 'images'") from error
    if pixels.ndim != 4 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8:
        raise UsageError(f"{path}: images must be uint8 [n, h, w, 3], not {pixels.shape}")
    listing = path.with_suffix(".jsonl")
    icons = [_icon(listing, number, row, style) for number, row in json_rows(listing)]
    if len(icons) != len(pixels):
        raise UsageError(f"{listing.name} has {len(icons)} rows for {len(pixels)} images")
    return icons, pixels


def _icon(listing: Path, number: int, row: dict[str, Any], style: str) -> Icon:
    try:
        return Icon(
            concept="-".join(row["codepoints"]),
            name=str(row["name"]).strip(),
            tags=tuple(map(str, row.get("tags", ()))),
            group=str(row.get("group", "")),
            subgroup=str(row.get("subgroup", "")),
            style=style,
        )
    except (KeyError, TypeError) as error:
        raise UsageError(f"{listing.name}, line {number}: codepoints or name is missing") from error


def style_words(style: str) -> str:
    """A style as it stands in a prompt: "fluent_flat" is "fluent flat style"."""
    return f"{style.replace('_', ' ')} style"


def split_icons(
    icons: Sequence[Icon], *, seed: int, names: float, pairs: float
) -> dict[Part, list[int]]:
    """Rows of each part, decided by a hash: the same whatever else is in the set.

    A fraction `names` of the concepts is held out in every style; of the other concepts that
    come in three styles or more, a fraction `pairs` of the name/style pairs.
    """
    styles_of: dict[str, set[str]] = {}
    for icon in icons:
        styles_of.setdefault(icon.concept, set()).add(icon.style)
    parts: dict[Part, list[int]] = {"train": [], "unseen_names": [], "unseen_pairs": []}
    for row, icon in enumerate(icons):
        pair_may_go = len(styles_of[icon.concept]) >= 3
        if _share(seed, icon.concept) < names:
            parts["unseen_names"].append(row)
        elif pair_may_go and _share(seed, f"{icon.concept} {icon.style}") < pairs:
            parts["unseen_pairs"].append(row)
        else:
            parts["train"].append(row)
    return parts


def _share(seed: int, text: str) -> float:
    """A number in [0, 1) that only depends on seed and text."""
    digest = hashlib.sha256(f"{seed} {text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def icon_captions(icon: Icon, seed: int) -> list[tuple[float, str]]:
    """What an icon is called in training: (probability, text), probabilities adding up to 1."""
    rng = random.Random(f"{seed} {icon.concept} {icon.style}")
    style = style_words(icon.style)
    others = [tag for tag in icon.tags if tag != icon.name]
    some = ", ".join(rng.sample(others, min(2, len(others)))) or icon.name
    return [
        (0.64, f"{icon.name}, {style}"),
        (0.12, icon.name),
        (0.12, f"{icon.name}, {some}, {style}"),
        (0.06, f"{some}, {style}"),
        (0.06, f"{icon.subgroup or icon.group or icon.name}, {style}"),
    ]
