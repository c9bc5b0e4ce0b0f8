"""LangChain: a retriever, embeddings and a vector store over a library.

from ragcore import Library
from ragcore.integrations.langchain import RagcoreRetriever

retriever = RagcoreRetriever(collection=Library().collection("papers"), k=10)
retriever.invoke("What causes flutter?")
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ragcore.errors import UsageError
from ragcore.extras import require_extra
from ragcore.integrations import common
from ragcore.library import Collection, Library

require_extra("langchain", "LangChain adapters")

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore


class RagcoreRetriever(BaseRetriever):
    """The `k` best passages of a collection.

    Dense and lexical search fused, reranked where the profile says so. `where` filters as `ragcore
    search --where`, `cutoff` as --cutoff.
    """

    collection: Any  # a Collection, which pydantic is not to take apart
    k: int = 10
    where: dict[str, str] | None = None
    cutoff: float | None = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        hits = common.search_passages(
            self.collection, query, k=self.k, where=self.where, cutoff=self.cutoff
        )
        return [_document(hit) for hit in hits]


class RagcoreEmbeddings(Embeddings):
    """The text encoder of a library's profile."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._library.models.embed(texts, kind="passage").tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        vector: list[float] = self._library.models.embed([text], kind="query")[0].tolist()
        return vector


class RagcoreVectorStore(VectorStore):
    """A collection as a vector store.

    Texts that are added become documents; their ids are those of documents, the ids of found
    passages are DOCUMENT:PASSAGE.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    @property
    def embeddings(self) -> Embeddings:
        return RagcoreEmbeddings(self._collection.library)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Keep texts as documents; of `metadatas` the title is used.

        Raises UsageError for `ids`: the library gives them.
        """
        if ids:
            raise UsageError("a library numbers its documents itself: leave out ids")
        titles = [str(row.get("title", "")) for row in metadatas] if metadatas else None
        return [str(one) for one in common.add_texts(self._collection, list(texts), titles)]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        return [found for found, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Passages and their scores in [0, 1]. `filter` is by the library's fields."""
        where = common.json_where(filter)
        hits = common.search_passages(self._collection, query, k=k, where=where, cutoff=0)
        return [(_document(hit), hit.score) for hit in hits]

    def _select_relevance_score_fn(self) -> Any:
        return lambda score: score  # it is in [0, 1] already

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Whole documents."""
        found = []
        for one in common.document_ids(ids):
            row = self._collection.library.documents.get(one)
            text = common.document_text(self._collection, one)
            metadata = {"source": row.path, "title": row.title or row.name}
            found.append(Document(id=str(one), page_content=text, metadata=metadata))
        return found

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Remove documents. Raises UsageError without ids, or for those of passages."""
        if not ids:
            raise UsageError("name the ids of the documents to remove")
        documents = self._collection.library.documents
        wanted = common.document_ids(ids)
        return documents.remove(wanted, collection=self._collection.name) == len(wanted)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        collection: Collection | None = None,
        **kwargs: Any,
    ) -> RagcoreVectorStore:
        """Keep texts in `collection`. Its own encoder embeds them, whatever `embedding` is."""
        if collection is None:
            raise UsageError(
                'name the collection: from_texts(…, collection=library.collection("…"))'
            )
        store = cls(collection)
        store.add_texts(texts, metadatas, ids=ids)
        return store


def _document(hit: Any) -> Document:
    return Document(
        id=common.passage_id(hit), page_content=hit.text, metadata=common.metadata_of(hit)
    )
