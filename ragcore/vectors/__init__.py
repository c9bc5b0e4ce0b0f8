"""Vector stores: one collection's vectors in one space, searched by cosine."""

from ragcore.vectors.backends import (
    FAISS,
    FaissBackend,
    MilvusBackend,
    StoreKey,
    VectorBackend,
    VectorContext,
    backend_of,
)
from ragcore.vectors.base import VectorStore
from ragcore.vectors.checks import checked_queries, checked_rows
from ragcore.vectors.exact import top_k
from ragcore.vectors.generations import CorruptStoreError

__all__ = [
    "FAISS",
    "CorruptStoreError",
    "FaissBackend",
    "MilvusBackend",
    "StoreKey",
    "VectorBackend",
    "VectorContext",
    "VectorStore",
    "backend_of",
    "checked_queries",
    "checked_rows",
    "top_k",
]
