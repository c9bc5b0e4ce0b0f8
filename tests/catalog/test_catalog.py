"""Collections and spaces."""

from __future__ import annotations

import pytest

from ragcore.catalog import Catalog
from ragcore.catalog.documents import store_document
from ragcore.errors import UsageError

from .conftest import Counter, make_document


def test_unknown_collection_names_the_known_ones(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="none yet"):
        catalog.collection("papers")
    catalog.create_collection("papers")
    with pytest.raises(UsageError, match="known: papers"):
        catalog.collection("paper")


def test_collection_is_made_once(catalog: Catalog) -> None:
    made = catalog.create_collection("papers")
    assert catalog.create_collection("papers", exist_ok=True).id == made.id
    with pytest.raises(UsageError, match="already"):
        catalog.create_collection("papers")


@pytest.mark.parametrize("name", ["", " ", "-x", "a/b", "x" * 101, "a\nb", "../up", "né;"])
def test_bad_names_are_refused(catalog: Catalog, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a collection"):
        catalog.create_collection(name)


@pytest.mark.parametrize("name", ["papers", "Büro 2026", "家族", "a.b-c_d"])
def test_good_names_are_taken(catalog: Catalog, name: str) -> None:
    assert catalog.create_collection(name).name == name


def test_rename(catalog: Catalog) -> None:
    made = catalog.create_collection("papers")
    catalog.create_collection("letters")
    catalog.rename_collection("papers", "essays")
    assert catalog.collection("essays").id == made.id
    with pytest.raises(UsageError, match="already"):
        catalog.rename_collection("essays", "letters")
    with pytest.raises(UsageError, match="no collection named"):
        catalog.rename_collection("papers", "novels")


def test_settings_are_merged_and_removed(catalog: Catalog) -> None:
    catalog.create_collection("papers")
    catalog.update_collection_settings("papers", cutoff=0.3, note="x")
    catalog.update_collection_settings("papers", note=None)
    assert catalog.collection("papers").settings == {"cutoff": 0.3}


def test_deleting_a_collection_leaves_nothing_of_it(
    catalog: Catalog, collection: int, text_space: int, image_space: int, row_counts: Counter
) -> None:
    other = catalog.create_collection("other").id
    with catalog.write() as session:
        for number, where in enumerate((collection, other)):
            document = make_document(
                f"/{number}.txt",
                ["one", "two"],
                images=2,
                text_space=text_space,
                image_space=image_space,
                seed=number,
            )
            store_document(session, where, document)
    before = row_counts()
    catalog.delete_collection("papers")
    after = row_counts()
    for table in ("documents", "passages", "images", "thumbnails", "pages", "embeddings"):
        assert before[table] == 2 * after[table] > 0, table
    assert after["spaces"] == 2, "spaces belong to no collection"


def test_ids_are_never_used_again(catalog: Catalog) -> None:
    first = catalog.create_collection("papers").id
    catalog.delete_collection("papers")
    assert catalog.create_collection("papers").id > first


def test_space_keeps_its_dimension(catalog: Catalog) -> None:
    space = catalog.space_id("words@1", "text", 8)
    assert catalog.space_id("words@1", "text", 8) == space
    with pytest.raises(UsageError, match="8 dimensions, not 16"):
        catalog.space_id("words@1", "text", 16)


def test_one_space_of_a_modality_is_active(catalog: Catalog, collection: int) -> None:
    old, new, image = (
        catalog.space_id(name, modality, 8)
        for name, modality in (("a", "text"), ("b", "text"), ("c", "image"))
    )
    assert catalog.active_space(collection, "text") is None
    catalog.use_space(collection, old, "text")
    catalog.use_space(collection, image, "image")
    catalog.use_space(collection, new, "text", state="building")
    active = catalog.active_space(collection, "text")
    assert active is not None
    assert active.id == old
    catalog.use_space(collection, new, "text")
    active = catalog.active_space(collection, "text")
    assert active is not None
    assert active.id == new
    other = catalog.active_space(collection, "image")
    assert other is not None
    assert other.id == image
