"""Duplicates in a collection: found, and what was decided of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ragcore.catalog import Permit, permits
from ragcore.library.core import Core
from ragcore.library.scopes import scoped

if TYPE_CHECKING:
    from ragcore.search import Decision, DuplicateGroup, FileGroup


@scoped
class Duplicates:
    """Groups of equal files and of near-duplicate images.

    Errors: UsageError for an unknown collection.
    """

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    def images(
        self, collection: str, *, max_distance: int | None = None
    ) -> Sequence[DuplicateGroup]:
        """Near-duplicate images that are still to be decided.

        Args:
            collection: Name of a collection.
            max_distance: Bits, of 64, in which perceptual hashes may differ; None: the usual ones.

        Returns:
            Groups, identical images first, then by distance.
        """
        from ragcore.search import MAX_DISTANCE

        most = MAX_DISTANCE if max_distance is None else max_distance
        return self._core.duplicates.images(collection, max_distance=most)

    def files(self, collection: str) -> Sequence[FileGroup]:
        """Documents with equal files, images aside, that were not kept on purpose.

        Returns:
            Groups of them.
        """
        return [
            replace(group, paths=tuple(map(permits.shown_path, group.paths)))
            for group in self._core.duplicates.files(collection)
        ]

    def decide(self, image_ids: Sequence[int], decision: Decision) -> None:
        """Remember a decision on every two of these images.

        Raises:
            UsageError: There are fewer than two.
        """
        self._core.duplicates.decide(image_ids, decision)

    def keep_files(self, collection: str, sha256: str) -> None:
        """Remember that equal files are wanted."""
        self._core.duplicates.keep_files(collection, sha256)

    def forget(self, collection: str) -> int:
        """Take all decisions of a collection back.

        Returns:
            How many there were.
        """
        return self._core.duplicates.forget(collection)
