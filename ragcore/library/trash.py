"""The trash of a collection: documents taken out, to be put back or to go for good."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ragcore.catalog import DEFAULT_COLLECTION, Image, Permit, now, permits
from ragcore.catalog import trash as kept
from ragcore.errors import UsageError
from ragcore.library.core import Core
from ragcore.library.scopes import scoped


@scoped
class Trash:
    """Documents that nothing finds any more, and that are kept for `trash_days`.

    Raises UsageError for an unknown collection.
    """

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    def put(self, document_ids: Iterable[int], *, collection: str = DEFAULT_COLLECTION) -> int:
        """Take documents out of a collection into its trash.

        What has been there longer than the setting `trash_days` goes.

        Returns:
            How many there were.
        """
        row = self._core.catalog.collection(collection)
        self._expire(row.id)
        with self._core.catalog.write() as session:
            return kept.put_into_trash(session, row.id, document_ids)

    def put_images(
        self, image_ids: Sequence[int], *, collection: str = DEFAULT_COLLECTION
    ) -> Sequence[int]:
        """As `put` for the documents of image files.

        Returns:
            The documents' numbers.

        Raises:
            UsageError: An image is inside a document, which would go with all of its pages.
        """
        from sqlalchemy import select

        row = self._core.catalog.collection(collection)
        with self._core.catalog.read() as session:
            here = (Image.collection_id == row.id, Image.id.in_(list(image_ids)))
            found = session.execute(select(Image.document_id, Image.page).where(*here)).all()
        inside = sum(page is not None for _, page in found)
        if inside:
            what = "image is" if inside == 1 else "images are"
            raise UsageError(f"{inside} {what} inside documents: take the documents out instead")
        ids = sorted({document for document, _ in found})
        self.put(ids, collection=collection)
        return ids

    def list(self, collection: str = DEFAULT_COLLECTION) -> Sequence[kept.TrashedDocument]:
        """What is in a collection's trash.

        Returns:
            Its documents, the newest in the trash first.
        """
        row = self._core.catalog.collection(collection)
        with self._core.catalog.read() as session:
            found = kept.list_trash(session, row.id)
        return [replace(one, path=permits.shown_path(one.path)) for one in found]

    def restore(self, document_ids: Iterable[int], *, collection: str = DEFAULT_COLLECTION) -> int:
        """Put documents back.

        Returns:
            How many there were.

        Raises:
            UsageError: The collection has a document of the same path by now; nothing is put back.
        """
        row = self._core.catalog.collection(collection)
        with self._core.catalog.write() as session:
            count, taken = kept.restore(session, row.id, document_ids)
            if taken:
                shown = permits.shown_path(taken[0])
                raise UsageError(f"the collection has {shown} again: take that out first")
            return count

    def empty(
        self,
        *,
        document_ids: Iterable[int] | None = None,
        collection: str = DEFAULT_COLLECTION,
    ) -> int:
        """Remove what is in the trash for good. Its files stay, uploads go.

        Args:
            document_ids: Only these documents of it; None: all.
            collection: Name of a collection.

        Returns:
            How many were removed.
        """
        row = self._core.catalog.collection(collection)
        with self._core.catalog.write() as session:
            paths = kept.empty_trash(session, row.id, document_ids=document_ids)
        self._core.uploads.discard(paths)
        return len(paths)

    def _expire(self, collection_id: int) -> None:
        days = self._core.settings.trash_days
        if not days:
            return
        with self._core.catalog.write() as session:
            before = now() - dt.timedelta(days=days)
            paths = kept.empty_trash(session, collection_id, before=before)
        self._core.uploads.discard(paths)
