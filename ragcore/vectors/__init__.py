"""Vector stores: one collection's vectors in one space, searched by cosine."""

from ragcore.vectors.base import VectorStore
from ragcore.vectors.generations import CorruptStoreError

__all__ = ["CorruptStoreError", "VectorStore"]
