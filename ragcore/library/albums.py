"""Albums of a collection's images."""

from __future__ import annotations

from collections.abc import Sequence

from ragcore.catalog import DEFAULT_COLLECTION, Permit
from ragcore.catalog import albums as kept
from ragcore.library.core import Core
from ragcore.library.scopes import scoped


@scoped
class Albums:
    """Albums by name.

    Their images are what the filter `album` finds, and `Images.groups(by="album")` in their order.

    Raises UsageError for an unknown collection or album.
    """

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    def list(self, collection: str = DEFAULT_COLLECTION) -> Sequence[kept.AlbumInfo]:
        """A collection's albums.

        Returns:
            One entry each, by name, with the number of its images and its first one.
        """
        row = self._core.catalog.collection(collection)
        with self._core.catalog.read() as session:
            return kept.list_albums(session, row.id)

    def create(
        self, name: str, *, image_ids: Sequence[int] = (), collection: str = DEFAULT_COLLECTION
    ) -> int:
        """Make an album.

        Args:
            name: Of the album, within the collection.
            image_ids: Its images; those that the collection does not have are passed over.
            collection: Name of a collection.

        Returns:
            How many images it has.

        Raises:
            UsageError: The name cannot be or is taken.
        """
        row = self._core.catalog.collection(collection)
        with self._core.catalog.write() as session:
            return kept.add_images(session, kept.create_album(session, row.id, name), image_ids)

    def rename(self, name: str, new_name: str, *, collection: str = DEFAULT_COLLECTION) -> None:
        """Rename an album.

        Raises:
            UsageError: The new name cannot be or is taken.
        """
        row = self._core.catalog.collection(collection)
        with self._core.catalog.write() as session:
            kept.rename_album(session, kept.find_album(session, row.id, name), new_name)

    def delete(self, name: str, *, collection: str = DEFAULT_COLLECTION) -> None:
        """The album goes, its images stay."""
        row = self._core.catalog.collection(collection)
        with self._core.catalog.write() as session:
            kept.delete_album(session, kept.find_album(session, row.id, name))

    def add(
        self, name: str, image_ids: Sequence[int], *, collection: str = DEFAULT_COLLECTION
    ) -> int:
        """Put images at an album's end, in the order given.

        Args:
            name: Of the album.
            image_ids: Those that the collection does not have are passed over.
            collection: Name of a collection.

        Returns:
            How many are new in it.
        """
        row = self._core.catalog.collection(collection)
        with self._core.catalog.write() as session:
            return kept.add_images(session, kept.find_album(session, row.id, name), image_ids)

    def remove(
        self, name: str, image_ids: Sequence[int], *, collection: str = DEFAULT_COLLECTION
    ) -> int:
        """Take images out of an album.

        Returns:
            How many were in it.
        """
        row = self._core.catalog.collection(collection)
        with self._core.catalog.write() as session:
            return kept.remove_images(session, kept.find_album(session, row.id, name), image_ids)

    def move(
        self,
        name: str,
        image_ids: Sequence[int],
        *,
        before: int | None = None,
        collection: str = DEFAULT_COLLECTION,
    ) -> None:
        """Reorder images of an album.

        Args:
            name: Of the album.
            image_ids: Images of it, in their new order.
            before: The image that they come before; None: they come last.
            collection: Name of a collection.

        Raises:
            UsageError: An image is not in the album.
        """
        row = self._core.catalog.collection(collection)
        with self._core.catalog.write() as session:
            album = kept.find_album(session, row.id, name)
            kept.move_images(session, album, image_ids, before)
