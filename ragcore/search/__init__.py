"""Finding passages and images: dense and lexical evidence, filters, a relevance cut-off."""

from ragcore.search.engine import SearchEngine
from ragcore.search.images import orientations
from ragcore.search.near_duplicates import Candidate, SameImage, alike_by_hash
from ragcore.search.stores import Stores

__all__ = [
    "Candidate",
    "SameImage",
    "SearchEngine",
    "Stores",
    "alike_by_hash",
    "orientations",
]
