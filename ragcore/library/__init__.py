"""The facade: one verb, one method. The CLI, the browser pages and the API call nothing else."""

from ragcore.library.collection import Collection
from ragcore.library.facade import Library

__all__ = ["Collection", "Library"]
