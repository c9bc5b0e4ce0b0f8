"""Vector stores: one collection's vectors in one space, searched by cosine."""

from ragcore.vectors.base import VectorStore
from ragcore.vectors.generations import CorruptStoreError
from ragcore.vectors.places import FAISS, FaissPlace, MilvusPlace, Place, StoreKey, place_of

__all__ = [
    "FAISS",
    "CorruptStoreError",
    "FaissPlace",
    "MilvusPlace",
    "Place",
    "StoreKey",
    "VectorStore",
    "place_of",
]
