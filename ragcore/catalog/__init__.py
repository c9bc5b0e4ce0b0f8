"""What is remembered: SQLAlchemy rows, lexical index and embeddings in one database."""

from ragcore.catalog.catalog import DEFAULT_COLLECTION, Catalog
from ragcore.catalog.documents import KnownFile, NewDocument
from ragcore.types import FileState

__all__ = ["DEFAULT_COLLECTION", "Catalog", "FileState", "KnownFile", "NewDocument"]
