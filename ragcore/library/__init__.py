"""The facade: one verb, one method. The CLI, the browser pages and the API call nothing else."""

from ragcore.catalog import filters
from ragcore.catalog.filters import FILTERS, Filter, FilterField
from ragcore.library.collection import Collection
from ragcore.library.facade import Library

__all__ = ["FILTERS", "Collection", "Filter", "FilterField", "Library", "filters"]
