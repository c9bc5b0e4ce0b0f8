"""Groups of images (and files) that are the same, for a person to review.

Images are compared by perceptual hash (`ragcore.readers.images.phash`): equal pixels are
"identical", hashes within a few bits of 63, mirrored or not, "similar". What a person decides of
two images is remembered, and such a pair does not come back.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ragcore.catalog import (
    Catalog,
    Collection,
    Document,
    DuplicateDecision,
    Image,
    ImageMetadataRow,
    now,
    permits,
)
from ragcore.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Decision = Literal["duplicate", "different"]
MAX_DISTANCE = 6  # unrelated images differ in about 32 bits
_FEW_BITS = 6  # a hash with fewer set bits is of a plain surface and says nothing
_BLOCK = 2048
_IN = 10_000  # values per IN list
_KEPT_FILES = "kept_copies"  # key of the collection's settings: hashes of files kept on purpose


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Two or more images; `identical` if all have the same pixels. `distance` in hash bits.

    `keep` is the one to keep of those that are files of their own (None without any), `reason`
    what it has over the others: most pixels, then the largest file, then the earliest date, then
    the first name.
    """

    image_ids: tuple[int, ...]
    identical: bool
    distance: int
    keep: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FileGroup:
    """Documents whose files are equal byte for byte."""

    sha256: str
    document_ids: tuple[int, ...]
    paths: tuple[str, ...]


class DuplicateFinder:
    """Finds groups in a collection and remembers what was decided of them."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def images(
        self, collection: str, *, max_distance: int = MAX_DISTANCE
    ) -> Sequence[DuplicateGroup]:
        """Groups that are still to be decided, identical ones first, then by distance."""
        import numpy as np

        collection_id = self._catalog.collection(collection).id
        query = select(Image.id, Image.pixels_sha256, Image.phash)
        # Frames of one video resemble each other.
        here = (Image.collection_id == collection_id, Image.second.is_(None))
        with self._catalog.read() as session:
            rows = session.execute(query.where(*here).order_by(Image.id)).all()
            decided = {
                (first, second): decision
                for first, second, decision in session.execute(
                    select(
                        DuplicateDecision.first_id,
                        DuplicateDecision.second_id,
                        DuplicateDecision.decision,
                    )
                )
            }
        ids = np.array([row[0] for row in rows], dtype=np.int64)
        links = dict.fromkeys(_same_pixels(rows), 0)
        for first, second, distance in _near(ids, [row[2] for row in rows], max_distance):
            links.setdefault((first, second), distance)
        open_links = {pair: d for pair, d in links.items() if decided.get(pair) != "different"}
        pixels = {row[0]: row[1] for row in rows}
        groups = []
        for members in _components(open_links):
            pairs = list(combinations(members, 2))
            if all(decided.get(pair) for pair in pairs):
                continue
            distance = max((open_links[pair] for pair in pairs if pair in open_links), default=0)
            same = len({pixels[member] for member in members}) == 1
            groups.append(DuplicateGroup(tuple(members), same, distance))
        with self._catalog.read() as session:
            ranks = _ranks(session, [one for group in groups for one in group.image_ids])
        groups = [_with_keep(group, ranks) for group in groups]
        return sorted(groups, key=lambda g: (not g.identical, g.distance, g.image_ids))

    def decide(self, image_ids: Sequence[int], decision: Decision) -> None:
        """Remember a decision on every two of these images. Raises UsageError below two."""
        if decision not in ("duplicate", "different"):
            raise UsageError(f"a decision is 'duplicate' or 'different', not {decision!r}")
        if len(set(image_ids)) < 2:
            raise UsageError("a decision needs at least two images")
        with self._catalog.write() as session:
            here = (Image.id.in_(image_ids), permits.visible(Image.collection_id))
            known = set(session.scalars(select(Image.id).where(*here)))
            for first, second in combinations(sorted(known), 2):
                session.merge(
                    DuplicateDecision(
                        first_id=first, second_id=second, decision=decision, decided_at=now()
                    )
                )

    def forget(self, collection: str) -> int:
        """Take all decisions of a collection back; return how many there were."""
        collection_id = self._catalog.collection(collection).id
        with self._catalog.write() as session:
            here = select(Image.id).where(Image.collection_id == collection_id)
            rows = session.scalars(
                select(DuplicateDecision).where(DuplicateDecision.first_id.in_(here))
            ).all()
            for row in rows:
                session.delete(row)
            settings = session.get_one(Collection, collection_id)
            keep_files = list(settings.settings.get(_KEPT_FILES, []))
            settings.settings = {k: v for k, v in settings.settings.items() if k != _KEPT_FILES}
        return len(rows) + len(keep_files)

    def files(self, collection: str) -> Sequence[FileGroup]:
        """Documents with equal files, images aside, that were not kept on purpose."""
        row = self._catalog.collection(collection)
        keep_files = row.settings.get(_KEPT_FILES, [])
        here = (
            Document.collection_id == row.id,
            Document.state != "failed",
            ~Document.media_type.startswith("image/"),
        )
        twice = (
            select(Document.sha256).where(*here).group_by(Document.sha256).having(func.count() > 1)
        )
        query = select(Document.sha256, Document.id, Document.path).where(
            *here, Document.sha256.in_(twice)
        )
        groups: dict[str, list[tuple[int, str]]] = defaultdict(list)
        with self._catalog.read() as session:
            for sha256, document_id, path in session.execute(query.order_by(Document.path)):
                groups[sha256].append((document_id, path))
        return [
            FileGroup(sha256, tuple(i for i, _ in members), tuple(p for _, p in members))
            for sha256, members in groups.items()
            if sha256 not in keep_files
        ]

    def keep_files(self, collection: str, sha256: str) -> None:
        """Remember that equal files are wanted."""
        keep_files = self._catalog.collection(collection).settings.get(_KEPT_FILES, [])
        self._catalog.update_collection_settings(
            collection, **{_KEPT_FILES: sorted({*keep_files, sha256})}
        )


@dataclass(frozen=True, slots=True)
class _Rank:
    """What an image file is kept for; less is better, in this order."""

    pixels: int
    size: int
    date: dt.datetime
    name: str


_REASONS = {
    "pixels": "it has the most pixels",
    "size": "of those with as many pixels, its file is the largest",
    "date": "of equal sizes, it has the earliest date",
    "name": "all else being equal, its name comes first",
}


def _ranks(session: Session, image_ids: Sequence[int]) -> dict[int, _Rank]:
    """Of those images that are files of their own."""
    found = {}
    columns = (
        Image.id, Image.width, Image.height, Document.size, Document.modified_at, Document.path,
        ImageMetadataRow.taken_at,
    )  # fmt: skip
    query = (
        select(*columns)
        .join(Document, Document.id == Image.document_id)
        .outerjoin(ImageMetadataRow, ImageMetadataRow.image_id == Image.id)
    )
    for at in range(0, len(image_ids), _IN):
        part = image_ids[at : at + _IN]
        for row in session.execute(query.where(Image.id.in_(part), Image.page.is_(None))):
            date = row.taken_at or row.modified_at.replace(tzinfo=None)
            found[row.id] = _Rank(-row.width * row.height, -row.size, date, row.path)
    return found


def _with_keep(group: DuplicateGroup, ranks: Mapping[int, _Rank]) -> DuplicateGroup:
    files = [one for one in group.image_ids if one in ranks]
    if not files:
        return group
    ordered = sorted(files, key=lambda one: astuple(ranks[one]))
    best = ranks[ordered[0]]
    if len(ordered) == 1:
        return replace(group, keep=ordered[0], reason="the others are inside documents")
    second = ranks[ordered[1]]
    first = next(
        name for name in _REASONS if name == "name" or getattr(best, name) != getattr(second, name)
    )
    return replace(group, keep=ordered[0], reason=_REASONS[first])


def _same_pixels(rows: Iterable[Sequence[object]]) -> Iterable[tuple[int, int]]:
    by_pixels: dict[object, list[int]] = defaultdict(list)
    for image_id, pixels, _ in rows:
        by_pixels[pixels].append(int(str(image_id)))
    for members in by_pixels.values():
        yield from pairwise(members)


def _near(
    ids: NDArray[np.int64], hashes: Sequence[bytes], max_distance: int
) -> Iterable[tuple[int, int, int]]:
    """Pairs of ids, the smaller first, whose hashes differ in at most `max_distance` bits."""
    import numpy as np

    plain = np.array([len(h) >= 16 for h in hashes], dtype=bool)
    if not plain.any():
        return
    ids = ids[plain]
    words = np.frombuffer(
        b"".join(h[:16] for h, ok in zip(hashes, plain, strict=True) if ok), dtype=np.uint64
    ).reshape(-1, 2)
    bits = np.bitwise_count(words[:, 0])
    informative = (bits >= _FEW_BITS) & (bits <= 64 - _FEW_BITS)
    ids, words = ids[informative], words[informative]
    for start in range(0, len(ids), _BLOCK):
        block = words[start : start + _BLOCK]
        rest = words[start:]
        upright = np.bitwise_count(block[:, :1] ^ rest[None, :, 0])
        mirrored = np.bitwise_count(block[:, :1] ^ rest[None, :, 1])
        distance = np.minimum(upright, mirrored)
        for row, column in np.argwhere(np.triu(distance <= max_distance, k=1)):
            yield int(ids[start + row]), int(ids[start + column]), int(distance[row, column])


def _components(links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Connected components of a graph given by its edges, each ascending."""
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for first, second in links:
        parent[root(second)] = root(first)
    groups: dict[int, list[int]] = defaultdict(list)
    for node in parent:
        groups[root(node)].append(node)
    return [sorted(group) for group in groups.values() if len(group) > 1]
