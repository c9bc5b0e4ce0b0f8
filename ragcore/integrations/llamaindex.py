"""LlamaIndex: a retriever, and a node postprocessor that reranks.

from ragcore import Library
from ragcore.integrations.llamaindex import RagcoreRetriever

retriever = RagcoreRetriever(Library().collection("papers"), k=10)
retriever.retrieve("What causes flutter?")
"""

from __future__ import annotations

from typing import Any

from ragcore.extras import require_extra
from ragcore.integrations import common
from ragcore.library import Collection, Library

require_extra("llamaindex", "LlamaIndex adapters")

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode


class RagcoreRetriever(BaseRetriever):
    """The `k` best passages of a collection, as `ragcore search` gives them."""

    def __init__(
        self,
        collection: Collection,
        *,
        k: int = 10,
        where: dict[str, str] | None = None,
        cutoff: float | None = None,
    ) -> None:
        self._collection, self._k = collection, k
        self._where, self._cutoff = where, cutoff
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = common.search_passages(
            self._collection,
            query_bundle.query_str,
            k=self._k,
            where=self._where,
            cutoff=self._cutoff,
        )
        return [
            NodeWithScore(
                node=TextNode(
                    id_=common.passage_id(hit), text=hit.text, metadata=common.metadata_of(hit)
                ),
                score=hit.score,
            )
            for hit in hits
        ]


class RagcoreReranker(BaseNodePostprocessor):
    """Orders nodes again by the reranker of a library's profile, and keeps the `top_n` best."""

    top_n: int = 5
    _library: Library = PrivateAttr()

    def __init__(self, library: Library, *, top_n: int = 5) -> None:
        super().__init__(top_n=top_n)
        self._library = library

    @classmethod
    def class_name(cls) -> str:
        return "RagcoreReranker"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if not nodes or query_bundle is None:
            return nodes[: self.top_n]
        texts: list[str] = [one.node.get_content(metadata_mode=MetadataMode.NONE) for one in nodes]
        scores = self._library.models.rerank(query_bundle.query_str, texts)
        order = sorted(range(len(nodes)), key=lambda place: -scores[place])
        best: list[Any] = [
            NodeWithScore(node=nodes[place].node, score=float(scores[place])) for place in order
        ]
        return best[: self.top_n]
