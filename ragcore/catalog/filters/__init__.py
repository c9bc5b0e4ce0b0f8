"""Filters: one table of fields, from which everything that takes or shows filters follows."""

from ragcore.catalog.filters.describe import json_schema, lines, markdown_table
from ragcore.catalog.filters.field import FilterField
from ragcore.catalog.filters.resolve import (
    documents_in,
    documents_with,
    facets,
    item_ids,
    items,
)
from ragcore.catalog.filters.table import FILTERS, Filter

__all__ = [
    "FILTERS",
    "Filter",
    "FilterField",
    "documents_in",
    "documents_with",
    "facets",
    "item_ids",
    "items",
    "json_schema",
    "lines",
    "markdown_table",
]
