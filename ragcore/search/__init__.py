"""Finding passages and images: dense and lexical evidence, filters, a relevance cut-off."""

from ragcore.search.duplicates import (
    MAX_DISTANCE,
    Decision,
    DuplicateFinder,
    DuplicateGroup,
    FileGroup,
)
from ragcore.search.engine import SearchEngine
from ragcore.search.hits import passage_texts
from ragcore.search.images import orientations
from ragcore.search.near_duplicates import ImageCandidate, SameImage, alike_by_hash
from ragcore.search.projection import CollectionMap, MapMaker, MapPoint
from ragcore.search.stores import Stores

__all__ = [
    "MAX_DISTANCE",
    "CollectionMap",
    "Decision",
    "DuplicateFinder",
    "DuplicateGroup",
    "FileGroup",
    "ImageCandidate",
    "MapMaker",
    "MapPoint",
    "SameImage",
    "SearchEngine",
    "Stores",
    "alike_by_hash",
    "orientations",
    "passage_texts",
]
