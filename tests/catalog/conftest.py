"""A catalog on disk, and documents to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ragcore.catalog import Catalog, FileState, NewDocument
from ragcore.types import Page, PassageDraft, ReadDocument, ReadImage

if TYPE_CHECKING:
    from ragcore.types import FloatArray

DIMENSION = 8


def unit_vectors(count: int, seed: int = 0) -> FloatArray:
    """Unit vectors [count, DIMENSION]."""
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_document(
    path: str,
    texts: Sequence[str],
    *,
    images: int = 0,
    text_space: int | None = None,
    image_space: int | None = None,
    seed: int = 0,
) -> NewDocument:
    """A document of one page a passage, with random vectors in the spaces given."""
    pages, passages, start = [], [], 0
    for number, text in enumerate(texts, 1):
        pages.append(Page(number, text))
        passages.append(PassageDraft(text, start, start + len(text), number, number, "Heading"))
        start += len(text) + 1
    found = tuple(
        ReadImage(
            width=64,
            height=48,
            pixels_sha256=f"{seed:032x}{n:032x}",
            thumbnail=b"webp",
            phash=b"12345678",
            text=f"sign number {n}",
        )
        for n in range(images)
    )
    vectors = unit_vectors(len(texts) + images, seed)
    return NewDocument(
        FileState(
            path, Path(path).name, len("".join(texts)), 1_700_000_000 * 10**9, f"{seed:064x}"
        ),
        ReadDocument("text/plain", "", tuple(pages), found, paged=True, metadata={"author": "Ada"}),
        passages,
        {text_space: vectors[: len(texts)]} if text_space else {},
        {image_space: vectors[len(texts) :]} if image_space and images else {},
    )


@pytest.fixture
def url(database_url: str) -> str:
    return database_url


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    opened = Catalog(url)
    yield opened
    opened.close()


@pytest.fixture
def collection(catalog: Catalog) -> int:
    return catalog.create_collection("papers").id


@pytest.fixture
def text_space(catalog: Catalog, collection: int) -> int:
    space = catalog.space_id("words@1", "text", DIMENSION)
    catalog.use_space(collection, space, "text")
    return space


@pytest.fixture
def image_space(catalog: Catalog, collection: int) -> int:
    space = catalog.space_id("images@1", "image", DIMENSION)
    catalog.use_space(collection, space, "image")
    return space


Counter = Callable[[], dict[str, int]]


@pytest.fixture
def row_counts(catalog: Catalog) -> Counter:
    """Rows by table, as they are when it is called."""
    from sqlalchemy import func, select

    from ragcore.catalog.models import Base

    def count() -> dict[str, int]:
        with catalog.read() as session:
            return {
                table.name: session.scalar(select(func.count()).select_from(table)) or 0
                for table in Base.metadata.sorted_tables
            }

    return count
