"""Files to passages and images: discover, read, split, embed, store."""

from ragcore.ingest.split import passage_input
from ragcore.ingest.split import split as split_document

__all__ = ["passage_input", "split_document"]
