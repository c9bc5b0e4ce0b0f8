"""What somebody made last: kept apart by owner, newest first, only so many."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ragcore.diffusion import Gallery
from ragcore.diffusion.images import VERSION, as_png
from ragcore.diffusion.imaginer import GeneratedImage


def made(seed: int) -> GeneratedImage:
    recipe = {"version": VERSION, "prompt": "a red heart", "seed": seed, "controls": []}
    return GeneratedImage(as_png(np.full((8, 8, 3), 90, np.uint8), recipe), seed, recipe)


def test_owners_of_any_name_see_their_own_newest_images(tmp_path: Path) -> None:
    ann, eve = (Gallery(tmp_path, name, most=2) for name in ("key 1", "../key 1"))
    ann.add([made(seed) for seed in (1, 2, 3)])
    eve.add([made(4)])
    assert [image.seed for image in Gallery(tmp_path, "key 1").images()] == [3, 2]
    assert [image.seed for image in eve.images()] == [4]
    assert all(path.parent.parent == tmp_path for path in tmp_path.rglob("*.png"))
    ann.clear()
    assert ann.images() == []
    assert len(eve.images()) == 1


def test_a_broken_file_is_passed_over(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path, "local")
    gallery.add([made(1), made(2)])
    newest = max(tmp_path.rglob("*.png"))
    newest.write_bytes(b"no image")
    assert [image.seed for image in gallery.images()] == [1]
