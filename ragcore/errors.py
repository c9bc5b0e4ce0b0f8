"""The two families of errors a caller can meet.

`UsageError`: the caller asked for something that cannot be (exit code 2).
`RagcoreError`: the request was sound, and could not be carried out (exit code 1).
Messages are one line and say what to do.
"""

from __future__ import annotations

from ragcore.redaction import redact


class RagcoreError(Exception):
    """Something that was rightly asked for could not be done. Its text shows no secrets."""

    def __str__(self) -> str:
        return redact(super().__str__())


class UsageError(RagcoreError, ValueError):
    """The request itself is wrong: unknown collection, empty query, k < 1, …."""


class NotPermitted(UsageError):
    """Whoever asks may not do that (see `ragcore.catalog.permits`)."""


class MissingExtra(UsageError):
    """A part that is not installed was asked for; names the `pip install` that brings it."""


class TooLarge(UsageError):
    """What was given is larger than a limit or a whole quota."""


class StorageUnavailable(RagcoreError):
    """What is to be stored cannot be, for a reason that is not ragcore's."""


class StorageFull(StorageUnavailable):
    """The disk, or a quota, has no room for what is to be stored."""


class StorageReadOnly(StorageUnavailable):
    """The home folder, or another one, cannot be written to."""


class UnreadableFile(RagcoreError):
    """One file cannot be ingested; ingest records it and goes on."""


class ModelUnavailable(RagcoreError):
    """Weights are missing, do not match their checksum, or cannot be fetched."""


class DatabaseUnavailable(RagcoreError):
    """The catalog's server is gone, starting, or too busy; the same may work in a moment."""


class DatabaseDamaged(RagcoreError):
    """The catalog's file is damaged; `ragcore recover` saves what can be read."""


class SearchTimeout(RagcoreError):
    """A statement of a search took longer than `search_timeout`."""


class VectorsUnavailable(RagcoreError):
    """The vector store's server is gone or starting; the same may work in a moment."""


class Cancelled(RagcoreError):
    """The caller's `CancelToken` was set; everything committed so far is kept."""
