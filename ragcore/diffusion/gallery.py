"""Images that were made, kept for whoever made them until newer ones take their place."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ragcore.diffusion.images import recipe_values
from ragcore.diffusion.imaginer import GeneratedImage
from ragcore.errors import RagcoreError
from ragcore.files import private_folder, replace_private


class Gallery:
    """The newest `most` images of an owner, as PNGs with their recipes in a folder."""

    def __init__(self, root: Path, owner: str, *, most: int = 60) -> None:
        # Any name is an owner's; its digest is a folder's name on every system.
        self._folder = root / hashlib.sha256(owner.encode()).hexdigest()[:32]
        self._most = most

    def add(self, images: Sequence[GeneratedImage]) -> None:
        """Keep these, the last as the newest. Raises RagcoreError if the disk refuses."""
        try:
            private_folder(self._folder)
            for image in images:
                path = self._folder / f"{time.time_ns():020}-{image.seed}.png"
                replace_private(path, image.png)
            for path in self._files()[self._most :]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise RagcoreError(f"the image cannot be kept: {error.strerror}") from error

    def images(self) -> list[GeneratedImage]:
        """Newest first. A file that cannot be read, or carries no recipe, is passed over."""
        found = []
        for path in self._files()[: self._most]:
            with suppress(OSError, RagcoreError, KeyError, TypeError, ValueError):
                png = path.read_bytes()
                recipe = recipe_values(png)
                found.append(GeneratedImage(png, int(recipe["seed"]), recipe))
        return found

    def clear(self) -> None:
        """Forget them all."""
        for path in self._files():
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            self._folder.rmdir()

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.png"), reverse=True)
