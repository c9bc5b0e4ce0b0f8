"""One search, whatever it is by: words, an image, both, with something taken away."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.catalog import Catalog, Document, filters
from ragcore.errors import UnreadableFile, UsageError
from ragcore.search import calibration
from ragcore.search.hits import ScoredItem, image_hits, passage_hits
from ragcore.search.images import ImageSearch
from ragcore.search.labels import Labeller, check_labels
from ragcore.search.lexical import LexicalSearch
from ragcore.search.listings import rank_down
from ragcore.search.passages import PassageSearch, Seconds
from ragcore.search.scope import SearchScope, find_scope
from ragcore.search.stores import Stores
from ragcore.settings import Settings
from ragcore.types import (
    NONE_OF_THESE,
    Hit,
    HitKind,
    Label,
    Labelled,
    SearchQuery,
    SearchResult,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragcore.models import ImageTextEncoder, Models, Reranker, TextEncoder
    from ragcore.types import IdArray
    from ragcore.vectors import VectorStore

MAX_QUERY = 20_000  # characters; what is longer is a document, not a query
MAX_K = 1_000


class SearchEngine:
    """Searches the collections of one catalog. Safe to share between threads.

    Example:
        >>> engine = SearchEngine(catalog, stores, settings)              # doctest: +SKIP
        >>> engine.search(SearchQuery(text="wing flutter", kind="passages")).hits[0].document
    """

    def __init__(
        self,
        catalog: Catalog,
        stores: Stores,
        settings: Settings,
        *,
        models: Models,
        reranker: Reranker | None = None,
    ) -> None:
        """`reranker` takes the place of the profile's."""
        self._catalog = catalog
        self._stores = stores
        self._settings = settings
        self._models = models
        self._own_reranker = reranker
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="ragcore-search")
        self._last_labeller: Labeller | None = None
        self.lexical = LexicalSearch(catalog)
        self.passages = PassageSearch(catalog, self.lexical, lambda: self._text_encoder)
        self.images = ImageSearch(self.lexical, lambda: self._image_text_encoder)

    def search(self, query: SearchQuery) -> SearchResult:
        """The best hits that are relevant enough, and the nearest that are not.

        Of each kind at most `k`; both lists go by falling score. Raises UsageError for an empty
        or too long query, k or a cut-off out of range, an unknown collection or filter;
        UnreadableFile if the image cannot be read.
        """
        start = time.perf_counter()
        check_query(query)
        chosen = filters.Filter.of(query.where)
        names = dict.fromkeys(query.collections or (query.collection,))
        scopes = [find_scope(self._catalog, name) for name in names]
        image = self._image(query)
        seconds = Seconds()
        hits: list[Hit] = []
        below: list[Hit] = []
        for kind in _kinds(query):
            good: list[Hit] = []
            rest: list[Hit] = []
            for collection in scopes:
                cutoff = _cutoff(query, collection)
                for hit in self._of_kind(kind, query, image, collection, chosen, seconds):
                    (good if hit.score >= cutoff else rest).append(hit)
            for found in (good, rest):
                found.sort(key=lambda hit: -hit.score)
            hits.extend(good[: query.k])
            below.extend(rest[: query.k])
        cutoff = min(_cutoff(query, collection) for collection in scopes)
        hits.sort(key=lambda hit: -hit.score)
        below.sort(key=lambda hit: -hit.score)
        total = time.perf_counter() - start
        return SearchResult(tuple(hits), tuple(below), cutoff, seconds.as_dict(total))

    def label(
        self,
        labels: Sequence[str],
        *,
        collection: str,
        where: Mapping[str, str] | None = None,
        top: int = 3,
        none: bool = False,
    ) -> list[Labelled]:
        """Every image of a collection with its `top` labels, the surest ones first.

        With `none`, NONE_OF_THESE is one of them. From the vectors that are kept: no image is
        read. Raises UsageError for labels that are no choice, top < 1, an unknown collection or
        filter.
        """
        names = _names(labels, top)
        chosen = filters.Filter.of(where or {})
        scope = find_scope(self._catalog, collection)
        store = self._store(scope, "image")
        if store is None or not store.count():
            return []
        with self._catalog.search() as session:
            ids = filters.item_ids(session, chosen, scope.id, "image")
        found = dict(self._labeller(names, none).best_stored(store, ids, top))
        scored = [ScoredItem(item, best[0].probability) for item, best in found.items()]
        scored.sort(key=lambda one: (-one.score, one.id))
        with self._catalog.search_engine.connect() as connection:
            hits = image_hits(connection, scored, collection=scope.name)
        return [Labelled(hit, found[hit.id]) for hit in hits]

    def label_images(
        self,
        images: Sequence[str | Path | bytes],
        labels: Sequence[str],
        *,
        top: int = 3,
        none: bool = False,
    ) -> list[tuple[Label, ...]]:
        """The `top` labels of each image, a path or encoded bytes, best first.

        Raises UsageError as `label`, UnreadableFile for an image that cannot be read.
        """
        names = _names(labels, top)
        opened = [self._open(image) for image in images]
        vectors = self._image_text_encoder.encode_images(opened)
        return self._labeller(names, none).best(vectors, top)

    def documents(
        self, collections: Sequence[str], where: Mapping[str, str] | None = None
    ) -> list[Document]:
        """The documents of these collections that a search with these filters could find.

        By title. Raises UsageError for an unknown collection or filter.
        """
        chosen = filters.Filter.of(where or {})
        found: list[Document] = []
        for name in dict.fromkeys(collections):
            scope = find_scope(self._catalog, name)
            with self._catalog.search() as session:
                found += filters.documents_in(session, chosen, scope.id)
        return sorted(found, key=lambda row: (row.title or row.name, row.id))

    def warm_up(self) -> None:
        """Load the profile's text encoder, so that the first search does not wait for it."""
        self._text_encoder.warm_up()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    # --- by kind ---------------------------------------------------------------

    def _of_kind(
        self,
        kind: HitKind,
        query: SearchQuery,
        image: Image | None,
        collection: SearchScope,
        chosen: filters.Filter,
        seconds: Seconds,
    ) -> list[Hit]:
        allowed = self._allowed(chosen, collection.id, kind)
        if allowed is not None and not len(allowed):
            return []
        if kind == "passage":
            scored, words = self.passages.search(
                query,
                lambda: self._store(collection, "text"),
                self._pool,
                seconds,
                collection_id=collection.id,
                allowed=allowed,
                reranker=self._reranker(query),
            )
            with self._catalog.search_engine.connect() as connection:
                found = passage_hits(
                    connection, scored, collection=collection.name, words=words.words
                )
            return rank_down(found)
        store = self._store(collection, "image")
        if query.same_image and image is not None:
            scored = self._same_image(image, store, query, collection.id, allowed, seconds)
            matched: tuple[str, ...] = ()
        else:
            scored, found_words = self.images.search(
                query,
                image,
                store,
                seconds,
                collection_id=collection.id,
                allowed=allowed,
            )
            matched = found_words.words
        with self._catalog.search_engine.connect() as connection:
            return image_hits(connection, scored, collection=collection.name, words=matched)

    def _same_image(
        self,
        image: Image,
        store: VectorStore | None,
        query: SearchQuery,
        collection_id: int,
        allowed: IdArray | None,
        seconds: Seconds,
    ) -> list[ScoredItem]:
        from ragcore.search.same_image import find_same

        wanted = max(query.k, 20)
        near = {}
        if store is not None:
            near = self.images.nearest(image, store, wanted, allowed, seconds)
        start = time.perf_counter()
        found = find_same(self._catalog, collection_id, image, near, allowed=allowed)
        seconds.rerank += time.perf_counter() - start
        return found[: 2 * query.k]

    def _allowed(self, chosen: filters.Filter, collection_id: int, kind: HitKind) -> IdArray | None:
        if not chosen:
            return None
        with self._catalog.search() as session:
            return filters.item_ids(session, chosen, collection_id, kind)

    def _store(self, collection: SearchScope, modality: str) -> VectorStore | None:
        """The store of the collection's active space, which must be the encoder's."""
        space = collection.spaces.get(modality)
        if space is None:
            return None
        encoder = self._text_encoder if modality == "text" else self._image_text_encoder
        if encoder.space.name != space.name:
            raise UsageError(
                f"collection {collection.name!r} is embedded by {space.name}, the profile's model "
                f"is {encoder.space.name}: run `ragcore models use --collection "
                f"{collection.name}` to re-embed it"
            )
        return self._stores.get(collection.id, space)

    # --- models ----------------------------------------------------------------

    def _labeller(self, names: tuple[str, ...], none: bool) -> Labeller:
        """The last one is kept: pages and file after file ask for the same labels again."""
        last, wanted = self._last_labeller, (*names, NONE_OF_THESE) if none else names
        if last is None or (last.labels, last.none) != (wanted, none):
            last = self._last_labeller = Labeller(self._image_text_encoder, names, none=none)
        return last

    @property
    def _text_encoder(self) -> TextEncoder:
        return self._models.text_encoder()

    @property
    def _image_text_encoder(self) -> ImageTextEncoder:
        return self._models.image_text_encoder()

    def _reranker(self, query: SearchQuery) -> Reranker | None:
        if query.rerank is False:
            return None
        if self._own_reranker is not None:
            return self._own_reranker
        reference = self._models.profile.reranker
        if not query.rerank and (reference is None or not reference.for_search):
            return None
        found = self._models.reranker()
        if found is None and query.rerank:
            raise UsageError(
                f"profile {self._settings.profile} has no reranker here; run `ragcore models "
                "pull`, choose another profile, or add a [reranker] to one of your own"
            )
        return found

    def _image(self, query: SearchQuery) -> Image | None:
        return None if query.image is None else self._open(query.image)

    def _open(self, image: str | Path | bytes) -> Image:
        from ragcore.readers import load_image

        try:
            return load_image(image, max_megapixels=self._settings.max_megapixels, at_least=512)
        except UnreadableFile as error:
            name = "the image" if isinstance(image, bytes) else str(image)
            raise UnreadableFile(f"{name}: {error}") from None


def check_query(query: SearchQuery) -> None:
    """Raises UsageError, one line that says what to change, for a query that cannot be run."""
    if not query.text.strip() and query.image is None and not query.minus.strip():
        raise UsageError("the query is empty: give words, an image or both")
    for text in (query.text, query.minus):
        if len(text) > MAX_QUERY:
            raise UsageError(
                f"the query has {len(text):,} characters, at most {MAX_QUERY:,} are taken; "
                "ingest a long text as a file"
            )
    if not 1 <= query.k <= MAX_K:
        raise UsageError(f"k is a number from 1 to {MAX_K}, not {query.k}")
    if query.kind not in ("passages", "images", "all"):
        raise UsageError(f"kind is passages, images or all, not {query.kind!r}")
    if query.cutoff is not None and not 0 <= query.cutoff <= 1:
        raise UsageError(f"the cut-off is a number from 0 to 1, not {query.cutoff}")
    for name in ("text_weight", "image_weight", "minus_weight"):
        if not 0 <= getattr(query, name) <= 10:
            raise UsageError(f"{name} is a number from 0 to 10, not {getattr(query, name)}")
    if isinstance(query.image, str | Path) and not Path(query.image).is_file():
        raise UsageError(f"no such image: {query.image}")
    if query.kind == "passages" and not query.text.strip():
        raise UsageError("passages are found by words: give some, or search for images")
    if query.same_image and query.image is None:
        raise UsageError("to find copies of an image, give the image")


def _names(labels: Sequence[str], top: int) -> tuple[str, ...]:
    if top < 1:
        raise UsageError(f"at least one label is returned for each image, not {top}")
    return check_labels(labels)


def _kinds(query: SearchQuery) -> Sequence[HitKind]:
    if query.same_image:
        return ("image",)
    if query.kind == "all":
        return ("passage", "image") if query.text.strip() else ("image",)
    return ("passage",) if query.kind == "passages" else ("image",)


def _cutoff(query: SearchQuery, collection: SearchScope) -> float:
    if query.cutoff is not None:
        return query.cutoff
    stored: Any = collection.settings.get("cutoff")
    return float(stored) if isinstance(stored, int | float) else calibration.CUTOFF
