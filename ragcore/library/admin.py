"""What administrators do: collections, accounts, plug-ins, backups, moves, repair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore import extensions
from ragcore.catalog import DEFAULT_COLLECTION, Catalog, Permit
from ragcore.library import ingesting
from ragcore.library.answering import STYLE
from ragcore.library.core import Core
from ragcore.library.scopes import scoped
from ragcore.models import Models
from ragcore.settings import Settings
from ragcore.types import AnswerStyle, CancelToken, PlugIn, ProgressCallback

if TYPE_CHECKING:
    from ragcore.access import Audit, Keys, Sessions
    from ragcore.catalog import IdempotentAnswers
    from ragcore.ingest import ReembedReport
    from ragcore.library.doctor import Diagnosis
    from ragcore.maintenance import Archived, Moved, Recovered, Restored
    from ragcore.search import Stores


@scoped
class Admin:
    """Work of administrators: of one collection where the method names one, else of all."""

    def __init__(self, core: Core, permit: Permit | None = None) -> None:
        self._core, self._permit = core, permit

    # --- collections -------------------------------------------------------------

    def rename_collection(self, name: str, new_name: str) -> None:
        """Raises UsageError for an unknown collection, a bad or taken name."""
        self._core.catalog.rename_collection(name, new_name)

    def delete_collection(self, name: str) -> None:
        """Delete a collection with its indexes and uploads. Other files it was made from stay."""
        row = self._core.catalog.collection(name)
        self._core.catalog.delete_collection(name)
        self._core.stores.drop(row)
        self._core.uploads.drop(row.id)

    def set_passages(
        self,
        collection: str = DEFAULT_COLLECTION,
        *,
        tokens: int | None = None,
        overlap: int | None = None,
    ) -> int:
        """Choose how long a collection's passages are; return how many documents have others.

        `tokens` of the text encoder at most (0: as many as it reads, up to 476), of which
        `overlap` stand in the passage before, too. None leaves it as it is. Documents are split
        again when their files are next ingested. Raises UsageError for sizes that cannot be.
        """
        return ingesting.set_passages(self._core, collection, tokens=tokens, overlap=overlap)

    def set_style(self, collection: str, style: AnswerStyle) -> None:
        """Choose how a collection's answers are worded; `AnswerStyle()` is the plain style."""
        fields = asdict(style) if style.version else None
        self._core.catalog.update_collection_settings(collection, **{STYLE: fields})

    def reembed(
        self,
        collection: str = DEFAULT_COLLECTION,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> ReembedReport:
        """Embed a collection again by the profile's models; the old vectors answer meanwhile.

        Continues where an earlier run was stopped. Where the new model's passages have another
        size, `other_sizes` of the report counts the documents that the next ingest of their files
        splits again. Raises Cancelled.
        """
        return ingesting.reembed(self._core, collection, progress=progress, cancel=cancel)

    def embed_missing(self, collection: str = DEFAULT_COLLECTION) -> int:
        """Embed what lacks its vector in the collection's own spaces; return how many did.

        Raises UsageError if those are not the profile's.
        """
        return ingesting.embed_missing(self._core, collection)

    # --- the whole home ------------------------------------------------------------

    def plugins(self) -> Sequence[PlugIn]:
        """What is registered in each group, ragcore's own included. All of it is loaded now.

        What cannot be loaded, or whose name is taken, is listed with the reason.
        """
        return [
            PlugIn(
                group=one.group,
                name=one.name,
                package=one.package,
                version=one.version,
                value=one.value,
                built_in=one.built_in,
                active=one.error is None,
                error=one.error or "",
            )
            for one in extensions.active()
        ]

    def doctor(self, *, repair: bool = False, verify: bool = False) -> Diagnosis:
        """Check everything; with `repair` fix what can be fixed.

        `verify` also hashes every file of the weights. Never raises for what it finds.
        """
        from ragcore.library.doctor import examine

        return examine(self._core, repair=repair, verify=verify)

    def backup(self, target: Path, *, progress: ProgressCallback | None = None) -> Archived:
        """Write the library into one file; see `ragcore.maintenance.backup.backup`."""
        from ragcore.maintenance import backup

        return backup.backup(self._core.settings, target, progress=progress)

    def restore(
        self,
        archive: Path,
        *,
        replace: bool = False,
        check: bool = False,
        progress: ProgressCallback | None = None,
    ) -> Restored:
        """Put an archive's library into the home; see `ragcore.maintenance.backup.restore`."""
        from ragcore.maintenance import restore

        return restore(
            archive, self._core.settings, replace=replace, check=check, progress=progress
        )

    def recover(self, target: Path, *, progress: ProgressCallback | None = None) -> Recovered:
        """Write what can be read of a damaged library into a new folder.

        See `ragcore.maintenance.recover.recover`.
        """
        from ragcore.maintenance import recover

        return recover.recover(self._core.settings, target, progress=progress)

    def move(
        self,
        *,
        database: str | None = None,
        vectors: str | None = None,
        vectors_token: str | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Moved:
        """Move catalog, vectors or both to other engines: `ragcore.maintenance.move`."""
        from ragcore.maintenance import move_library

        return move_library(
            self._core.settings,
            database=database,
            vectors=vectors,
            vectors_token=vectors_token,
            progress=progress,
            cancel=cancel,
        )

    def clear_vectors(self, vectors: str) -> str:
        """Delete the indexes from a place that is no longer used; return its name."""
        from ragcore.maintenance import clear_vectors

        return clear_vectors(self._core.settings, vectors)

    # --- accounts ------------------------------------------------------------------

    @property
    def keys(self) -> Keys:
        """The accounts of the HTTP API and the pages."""
        return self._core.keys

    @property
    def sessions(self) -> Sessions:
        """Who is logged in to the pages."""
        return self._core.sessions

    @property
    def audit(self) -> Audit:
        """Who did what."""
        return self._core.audit

    @property
    def idempotent_answers(self) -> IdempotentAnswers:
        """What requests that carried a key of their sender's were answered."""
        from ragcore.catalog import IdempotentAnswers

        return IdempotentAnswers(self._core.catalog)

    def document_counts(self) -> dict[int, int]:
        """Number of documents by the number of their collection."""
        return self._core.catalog.document_counts()

    def check_database(self) -> None:
        """Raises DatabaseUnavailable unless the catalog answers."""
        self._core.catalog.ping()

    # --- what the library is made of -------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The settings that the library was opened with."""
        return self._core.settings

    @property
    def catalog(self) -> Catalog:
        """The catalog's own interface, below all scopes."""
        return self._core.catalog

    @property
    def stores(self) -> Stores:
        """The vector indexes."""
        return self._core.stores

    @property
    def models(self) -> Models:
        """The models of the process themselves."""
        return self._core.models
