"""Haystack: a document store, and a retriever component.

from ragcore.integrations.haystack import RagcoreDocumentStore, RagcoreRetriever

retriever = RagcoreRetriever(RagcoreDocumentStore("papers"), top_k=10)
retriever.run("What causes flutter?")["documents"]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ragcore.errors import UsageError
from ragcore.extras import require_extra
from ragcore.integrations import common
from ragcore.library import Collection, Library
from ragcore.settings import Settings

require_extra("haystack", "Haystack adapters")

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.types import DuplicatePolicy

_PAGE = 500


class RagcoreDocumentStore:
    """A collection of the library in `home` (None: the one of the settings) as a document store.

    Documents that are written become documents of the collection; their ids are the library's.
    Filters are equalities of the library's fields, joined by AND.
    """

    def __init__(self, collection: str, home: str | None = None) -> None:
        self._name, self._home = collection, home
        self._library: Library | None = None

    @property
    def collection(self) -> Collection:
        """The collection, its library opened at first use."""
        if self._library is None:
            settings = Settings(home=Path(self._home)) if self._home else Settings()
            self._library = Library(settings)
        return self._library.collection(self._name)

    def to_dict(self) -> dict[str, Any]:
        made: dict[str, Any] = default_to_dict(self, collection=self._name, home=self._home)
        return made

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RagcoreDocumentStore:
        made: RagcoreDocumentStore = default_from_dict(cls, data)
        return made

    def count_documents(self) -> int:
        _, total = self.collection.library.documents.list(self._name, limit=1)
        return total

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Whole documents that match. Raises UsageError for a filter that the library has not."""
        documents = self.collection.library.documents
        found: list[Document] = []
        where, total = where_of(filters), 1
        while len(found) < total:
            rows, total = documents.list(self._name, where=where, offset=len(found), limit=_PAGE)
            for row in rows:
                text = common.document_text(self.collection, row.id)
                meta = {"source": row.path, "title": row.title or row.name, "type": row.media_type}
                found.append(Document(id=str(row.id), content=text, meta=meta))
            if not rows:
                break
        return found

    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Keep the texts of documents.

        Each becomes a new one: `policy` has nothing to decide, because the library gives the ids.
        """
        if policy not in (DuplicatePolicy.NONE, DuplicatePolicy.OVERWRITE):
            raise UsageError("the library numbers its documents itself: use DuplicatePolicy.NONE")
        texts = [one.content or "" for one in documents]
        titles = [str(one.meta.get("title", "")) for one in documents]
        return len(common.add_texts(self.collection, texts, titles))

    def delete_documents(self, document_ids: list[str]) -> None:
        wanted = common.document_ids(document_ids)
        self.collection.library.documents.remove(wanted, collection=self._name)


@component
class RagcoreRetriever:
    """The best passages of a store's collection, as `ragcore search` gives them."""

    def __init__(
        self,
        document_store: RagcoreDocumentStore,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        cutoff: float | None = None,
    ) -> None:
        self._store, self._top_k, self._filters = document_store, top_k, filters
        self._cutoff = cutoff

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, top_k: int | None = None, filters: dict[str, Any] | None = None
    ) -> dict[str, list[Document]]:
        """Search; `top_k` and `filters` replace the component's own."""
        hits = common.search_passages(
            self._store.collection,
            query,
            k=top_k or self._top_k,
            where=where_of(filters or self._filters),
            cutoff=self._cutoff,
        )
        found = [
            Document(
                id=common.passage_id(hit), content=hit.text, meta=common.metadata_of(hit),
                score=hit.score,
            )
            for hit in hits
        ]  # fmt: skip
        return {"documents": found}

    def to_dict(self) -> dict[str, Any]:
        made: dict[str, Any] = default_to_dict(
            self, document_store=self._store.to_dict(), top_k=self._top_k,
            filters=self._filters, cutoff=self._cutoff,
        )  # fmt: skip
        return made

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RagcoreRetriever:
        stored = data["init_parameters"]["document_store"]
        data["init_parameters"]["document_store"] = RagcoreDocumentStore.from_dict(stored)
        made: RagcoreRetriever = default_from_dict(cls, data)
        return made


def where_of(filters: dict[str, Any] | None) -> dict[str, str]:
    """Haystack's filter as the library's. Raises UsageError for what that cannot express."""
    if not filters:
        return {}
    if filters.get("operator") == "AND":
        found: dict[str, str] = {}
        for one in filters.get("conditions", ()):
            found |= where_of(one)
        return found
    if filters.get("operator") != "==" or "field" not in filters:
        raise UsageError(
            "a library's filter is an equality of a field, or several joined by AND, not "
            f"{filters.get('operator')!r}"
        )
    name = str(filters["field"]).removeprefix("meta.")
    return common.json_where({name: filters["value"]})
