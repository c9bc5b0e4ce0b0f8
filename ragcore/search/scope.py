"""What a search needs to know of its collection, read at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, select

from ragcore.catalog import Catalog, Collection, CollectionSpace, SpaceRow, may_see


@dataclass(frozen=True, slots=True)
class SearchScope:
    """A collection with its settings, and its active spaces by modality ("text", "image")."""

    id: int
    name: str
    settings: Mapping[str, Any]
    spaces: Mapping[str, SpaceRow]


_QUERY = (
    select(
        Collection.id,
        Collection.settings,
        SpaceRow.id,
        SpaceRow.name,
        SpaceRow.modality,
        SpaceRow.dimension,
    )
    .outerjoin(
        CollectionSpace,
        and_(CollectionSpace.collection_id == Collection.id, CollectionSpace.state == "active"),
    )
    .outerjoin(SpaceRow, SpaceRow.id == CollectionSpace.space_id)
    .where(Collection.name == bindparam("collection"))
)


def find_scope(catalog: Catalog, name: str) -> SearchScope:
    """Raises UsageError, naming the known collections, if there is none of this name."""
    with catalog.search_engine.connect() as connection:
        rows = connection.execute(_QUERY, {"collection": name}).all()
    if not rows or not may_see(int(rows[0][0])):
        found = catalog.collection(name)  # raises, unless it was made just now
        return SearchScope(found.id, name, found.settings, {})
    spaces = {
        modality: SpaceRow(id=space, name=of, modality=modality, dimension=dimension)
        for _, _, space, of, modality, dimension in rows
        if space is not None
    }
    return SearchScope(int(rows[0][0]), name, rows[0][1] or {}, spaces)
