"""A map of a collection: its embeddings laid out in two dimensions.

Up to `LANDMARKS` items are laid out by t-SNE (van der Maaten and Hinton 2008) over their first
principal components; the others are placed among their nearest landmarks, so that a map of
thousands of items is made in seconds. A finished map is kept until the collection changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import func, select

from ragcore.catalog import Catalog, Change, Document, Embedding, Image, Passage
from ragcore.files import atomic_write, private_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LANDMARKS = 800
LIMIT = 5000  # points that a browser still moves smoothly
_COMPONENTS = 30
_NEAREST = 4
_SEED = 7


@dataclass(frozen=True, slots=True)
class MapPoint:
    """One passage or image on the map; `x`, `y` have no unit."""

    id: int
    x: float
    y: float
    document_id: int
    document: str
    path: str
    page: int | None
    media_type: str
    text: str


@dataclass(frozen=True, slots=True)
class CollectionMap:
    """`total` counts all items; `points` are at most `LIMIT` of them, evenly drawn."""

    points: tuple[MapPoint, ...]
    total: int


class MapMaker:
    """Makes maps of one catalog's collections, and keeps them in `folder`."""

    def __init__(self, catalog: Catalog, folder: Path) -> None:
        self._catalog = catalog
        self._folder = folder

    def make(self, collection: str, kind: Literal["passages", "images"]) -> CollectionMap:
        """The map of a collection's passages or images; empty below three of them."""
        row = self._catalog.collection(collection)
        space = self._catalog.active_space(row.id, "text" if kind == "passages" else "image")
        if space is None:
            return CollectionMap((), 0)
        ids, xy, total = self._layout(row.id, space.id, kind)
        about = self._describe(ids.tolist(), kind)
        points = tuple(
            MapPoint(item, float(x), float(y), *about[item])
            for item, (x, y) in zip(ids.tolist(), xy, strict=True)
            if item in about
        )
        return CollectionMap(points, total)

    def _layout(
        self, collection_id: int, space_id: int, kind: str
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], int]:
        import numpy as np

        tag, total = self._state(collection_id, space_id)
        file = self._folder / f"{collection_id}-{kind}.npz"
        try:
            with np.load(file, allow_pickle=False) as stored:
                if str(stored["tag"]) == tag:
                    return stored["ids"], stored["xy"], total
        except (OSError, ValueError, KeyError):
            pass  # none yet, or not readable: it is rebuilt
        ids, vectors = self._vectors(collection_id, space_id, total)
        xy = lay_out(vectors)
        private_folder(self._folder)
        with atomic_write(file) as part, part.open("wb") as out:
            np.savez(out, tag=np.array(tag), ids=ids, xy=xy)
        return ids, xy, total

    def _state(self, collection_id: int, space_id: int) -> tuple[str, int]:
        with self._catalog.read() as session:
            last = session.scalar(
                select(func.max(Change.seq)).where(
                    Change.collection_id == collection_id, Change.space_id == space_id
                )
            )
            total = session.scalar(
                select(func.count())
                .select_from(Embedding)
                .where(Embedding.collection_id == collection_id, Embedding.space_id == space_id)
            )
        return f"{space_id}:{last}:{total}", int(total or 0)

    def _vectors(
        self, collection_id: int, space_id: int, total: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        import numpy as np

        here = (Embedding.collection_id == collection_id, Embedding.space_id == space_id)
        with self._catalog.read() as session:
            ids = session.scalars(
                select(Embedding.item_id).where(*here).order_by(Embedding.item_id)
            ).all()
            if total > LIMIT:
                ids = [ids[i] for i in np.linspace(0, len(ids) - 1, LIMIT).astype(int)]
            blobs: dict[int, bytes] = {}
            for start in range(0, len(ids), 500):
                query = select(Embedding.item_id, Embedding.vector).where(
                    *here, Embedding.item_id.in_(ids[start : start + 500])
                )
                blobs.update(session.execute(query).all())
        found = [i for i in ids if i in blobs]
        rows = [np.frombuffer(blobs[i], dtype=np.float16) for i in found]
        vectors = np.stack(rows).astype(np.float32) if rows else np.zeros((0, 1), np.float32)
        return np.array(found, dtype=np.int64), vectors

    def _describe(self, ids: list[int], kind: str) -> dict[int, tuple[Any, ...]]:
        table = Passage if kind == "passages" else Image
        said = (
            func.substr(Passage.text, 1, 160)
            if kind == "passages"
            else func.substr(func.coalesce(func.nullif(Image.caption, ""), Image.text), 1, 160)
        )
        columns = (
            table.id,
            Document.id,
            func.coalesce(func.nullif(Document.title, ""), Document.name),
            Document.path,
            table.page,
            Document.media_type,
            said,
        )
        result: dict[int, tuple[Any, ...]] = {}
        with self._catalog.read() as session:
            for start in range(0, len(ids), 500):
                query = (
                    select(*columns)
                    .join(Document, Document.id == table.document_id)
                    .where(table.id.in_(ids[start : start + 500]))
                )
                for item, *about in session.execute(query):
                    result[item] = tuple(about)
        return result


def lay_out(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Two coordinates for each of `vectors` [n, d]; the same input gives the same map."""
    import numpy as np
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    n = len(vectors)
    if n < 3:
        return np.array([[i, 0] for i in range(n)], dtype=np.float32).reshape(n, 2)
    components = min(_COMPONENTS, n, vectors.shape[1])
    flat = PCA(components, svd_solver="auto", random_state=_SEED).fit_transform(vectors)
    if n < 10:
        return np.asarray(flat[:, :2], dtype=np.float32)
    generator = np.random.default_rng(_SEED)
    chosen = np.sort(generator.choice(n, LANDMARKS, replace=False)) if n > LANDMARKS else None
    marks = flat if chosen is None else flat[chosen]
    # A start of our own: copies of one point, or no spread at all, end t-SNE's tree badly.
    spread = max(float(marks[:, :2].std()), 1e-9)
    start = 1e-4 * marks[:, :2] / spread + generator.normal(scale=1e-5, size=(len(marks), 2))
    layout = TSNE(
        2,
        perplexity=min(30, (len(marks) - 1) / 3),
        init=np.asarray(start, dtype=np.float32),
        max_iter=500,
        random_state=_SEED,
    ).fit_transform(marks)
    if chosen is None:
        return np.asarray(layout, dtype=np.float32)
    return _place(flat, marks, layout, chosen, generator)


def _place(
    flat: NDArray[np.float32],
    marks: NDArray[np.float32],
    layout: NDArray[np.float32],
    chosen: NDArray[np.int64],
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """Put each point among its nearest landmarks, weighted by closeness, slightly apart."""
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    distances, nearest = NearestNeighbors(n_neighbors=_NEAREST).fit(marks).kneighbors(flat)
    weights = 1 / (distances + 1e-3) ** 2
    weights /= weights.sum(axis=1, keepdims=True)
    placed = (layout[nearest] * weights[..., None]).sum(axis=1)
    placed += generator.normal(scale=0.003 * np.ptp(layout), size=placed.shape)
    placed[chosen] = layout
    return np.asarray(placed, dtype=np.float32)
