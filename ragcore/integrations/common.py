"""What the adapters share: searching passages, and texts as documents of a collection."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ragcore.errors import RagcoreError, UsageError
from ragcore.types import SearchQuery

if TYPE_CHECKING:
    from ragcore.library import Collection
    from ragcore.types import Hit


def search_passages(
    collection: Collection,
    text: str,
    *,
    k: int,
    where: Mapping[str, str] | None = None,
    cutoff: float | None = None,
) -> tuple[Hit, ...]:
    """The `k` best passages, as `ragcore search --kind passages` gives them.

    Raises UsageError for an empty text or an unknown filter.
    """
    query = SearchQuery(text=text, kind="passages", k=k, where=dict(where or {}), cutoff=cutoff)
    return collection.search(query).hits


def passage_id(hit: Hit) -> str:
    """DOCUMENT:PASSAGE, unique in a library."""
    return f"{hit.document_id}:{hit.id}"


def metadata_of(hit: Hit) -> dict[str, Any]:
    """What frameworks show and filter by. All values are JSON."""
    found = {
        "source": hit.path,
        "title": hit.document,
        "document_id": hit.document_id,
        "collection": hit.collection,
        "score": hit.score,
        "page": hit.page,
        "heading": hit.heading,
        "media_type": hit.media_type,
        "start": hit.span[0] if hit.span else None,
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def add_texts(
    collection: Collection, texts: Sequence[str], titles: Sequence[str] | None = None
) -> list[int]:
    """Keep each text as a document of the collection, which is created if need be.

    Return their ids in order. Raises RagcoreError for a text that cannot be stored.
    """
    library, ids = collection.library, []
    for number, text in enumerate(texts):
        if not text.strip():
            raise UsageError(f"text {number} is empty: there is nothing to search in it")
        title = (titles[number] if titles else "") or f"text-{number + 1}"
        name = "".join(c if c.isalnum() or c in " .-_" else "-" for c in title)[:80] + ".txt"
        given = [(name, io.BytesIO(text.encode("utf-8", "replace")))]
        [path] = library.documents.upload(given, collection=collection.name)
        report = collection.ingest([path])
        if report.failed:
            raise RagcoreError(f"text {number} was not stored: {report.failed[0].error}")
        ids.append(library.documents.find(str(path), collection=collection.name))
    return ids


def document_ids(ids: Iterable[str]) -> list[int]:
    """Document numbers from ids that `add_texts` gave. Raises UsageError for others."""
    found = []
    for one in ids:
        if not str(one).isdigit():
            raise UsageError(f"{one!r} is no document's id: passages are removed with theirs")
        found.append(int(one))
    return found


def document_text(collection: Collection, document_id: int) -> str:
    """The whole text of a document, page after page."""
    documents = collection.library.documents
    pages = documents.get(document_id).pages
    return "\n\n".join(documents.page(document_id, n).text for n in range(1, max(1, pages) + 1))


def json_where(where: Mapping[str, Any] | None) -> dict[str, str]:
    """A framework's metadata filter of equal values as a library's filter."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in (where or {}).items()
    }
