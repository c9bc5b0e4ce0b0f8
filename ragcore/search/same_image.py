"""Copies of one very image: suggested by vectors and hashes, then looked at closely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from ragcore.catalog import Catalog, Image, Thumbnail
from ragcore.search.hits import ScoredItem
from ragcore.search.near_duplicates import ImageCandidate, SameImage, alike_by_hash

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

    from ragcore.types import IdArray


def find_same(
    catalog: Catalog,
    collection_id: int,
    image: PilImage,
    near: Mapping[int, float],
    *,
    allowed: IdArray | None = None,
) -> list[ScoredItem]:
    """Images by how surely they show the very same image; above 0.5 they do.

    `near` maps the ids that the vector index suggests to their cosines.
    """
    from ragcore.readers import phash, turned

    hashes = turned(phash(image))
    with catalog.search() as session:
        suggested = set(_like_hash(session, collection_id, hashes))
        if allowed is not None:
            suggested &= set(allowed.tolist())
        rows = session.execute(
            select(Image.id, Image.phash, Thumbnail.data)
            .join(Thumbnail, Thumbnail.image_id == Image.id)
            .where(Image.id.in_([*near, *(suggested - near.keys())]))
        ).all()
    # One that only its hash suggests was not among the nearest vectors: no more than the last.
    least = min(near.values(), default=0.0)
    candidates = [ImageCandidate(row[0], near.get(row[0], least), row[2], row[1]) for row in rows]
    ranked = SameImage().rank(image, candidates, hashes=hashes)
    return [ScoredItem(match.id, match.score, near.get(match.id)) for match in ranked]


def _like_hash(session: Session, collection_id: int, hashes: Sequence[bytes]) -> list[int]:
    """Ids of images whose perceptual hash, turned or mirrored, is within a few bits."""
    rows = session.execute(
        select(Image.id, Image.phash).where(Image.collection_id == collection_id)
    ).all()
    return [rows[n][0] for n in alike_by_hash(hashes, [row[1] for row in rows])]
