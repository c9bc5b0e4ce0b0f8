"""The float16 embeddings and their log."""

from __future__ import annotations

import numpy as np
import pytest

from ragcore.catalog import Catalog
from ragcore.catalog.embeddings import (
    add_embeddings,
    changes_since,
    embedding_ids,
    iter_embeddings,
    last_change,
    load_embeddings,
    remove_embeddings,
)

from .conftest import unit_vectors


@pytest.fixture
def stored(catalog: Catalog, collection: int, text_space: int) -> tuple[int, int]:
    with catalog.write() as session:
        add_embeddings(session, collection, text_space, [3, 1, 2], unit_vectors(3))
    return collection, text_space


def test_vectors_come_back_in_float16_precision(catalog: Catalog, stored: tuple[int, int]) -> None:
    collection, space = stored
    with catalog.read() as session:
        [(ids, vectors)] = iter_embeddings(session, collection, space)
        [(some, few)] = load_embeddings(session, space, np.array([2, 77]))
    assert ids.tolist() == [1, 2, 3]
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, unit_vectors(3)[[1, 2, 0]], atol=1e-3)
    assert some.tolist() == [2]
    np.testing.assert_array_equal(few[0], vectors[1])


def test_log_says_what_changed(catalog: Catalog, stored: tuple[int, int]) -> None:
    collection, space = stored
    with catalog.read() as session:
        at, added, removed = changes_since(session, collection, space, 0)
        assert (sorted(added), removed.tolist()) == ([1, 2, 3], [])
        assert at == last_change(session, collection, space)
    with catalog.write() as session:
        remove_embeddings(session, collection, [1, 99], [space])
        add_embeddings(session, collection, space, [7], unit_vectors(1))
    with catalog.read() as session:
        _, added, removed = changes_since(session, collection, space, at)
        assert (added.tolist(), removed.tolist()) == ([7], [1])
        assert embedding_ids(session, collection, space).tolist() == [2, 3, 7]
        newest = last_change(session, collection, space)
        again = changes_since(session, collection, space, newest)
        assert (again[0], len(again[1]), len(again[2])) == (newest, 0, 0)


def test_only_the_last_state_of_an_id_counts(catalog: Catalog, stored: tuple[int, int]) -> None:
    collection, space = stored
    with catalog.write() as session:
        remove_embeddings(session, collection, [1], [space])
        add_embeddings(session, collection, space, [1], unit_vectors(1, seed=9))
    with catalog.read() as session:
        _, added, removed = changes_since(session, collection, space, 0)
    assert sorted(added) == [1, 2, 3]
    assert not len(removed)


def test_spaces_are_apart(catalog: Catalog, stored: tuple[int, int], image_space: int) -> None:
    collection, space = stored
    with catalog.write() as session:
        add_embeddings(session, collection, image_space, [1], unit_vectors(1))
        remove_embeddings(session, collection, [1], [image_space])
    with catalog.read() as session:
        assert embedding_ids(session, collection, space).tolist() == [1, 2, 3]
        assert embedding_ids(session, collection, image_space).tolist() == []


def test_wrong_number_of_vectors_is_refused(catalog: Catalog, stored: tuple[int, int]) -> None:
    collection, space = stored
    with pytest.raises(ValueError, match="2 ids for 3 vectors"), catalog.write() as session:
        add_embeddings(session, collection, space, [8, 9], unit_vectors(3))


def test_nothing_in_nothing_out(catalog: Catalog, collection: int, text_space: int) -> None:
    with catalog.write() as session:
        add_embeddings(session, collection, text_space, [], unit_vectors(0))
    with catalog.read() as session:
        assert list(iter_embeddings(session, collection, text_space)) == []
        assert last_change(session, collection, text_space) == 0
