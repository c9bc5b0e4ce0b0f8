"""Finding passages and images: dense and lexical evidence, filters, a relevance cut-off."""

from ragcore.search.engine import SearchEngine
from ragcore.search.stores import Stores

__all__ = ["SearchEngine", "Stores"]
