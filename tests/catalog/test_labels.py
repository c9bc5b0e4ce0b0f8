"""Labels by people and by classifiers: assigned, predicted, counted, saved and forgotten."""

from __future__ import annotations

import pytest

from ragcore.catalog import Catalog, labels
from ragcore.catalog.documents import remove_documents, store_document
from ragcore.catalog.models import GivenLabel, Image, ItemLabel, Passage
from ragcore.errors import UsageError

from .conftest import make_document


def stored(catalog: Catalog, collection_id: int, texts: list[str], images: int = 2) -> int:
    with catalog.write() as session:
        new = make_document("/papers/a.txt", texts, images=images)
        new.media = [""] * images
        return store_document(session, collection_id, new)[0]


def ids(catalog: Catalog, table: type[Passage] | type[Image]) -> list[int]:
    from sqlalchemy import select

    with catalog.read() as session:
        return list(session.scalars(select(table.id).order_by(table.id)))


@pytest.fixture
def here(catalog: Catalog) -> int:
    return catalog.create_collection("letters").id


def test_labels_are_given_changed_and_taken_away(catalog: Catalog, here: int) -> None:
    stored(catalog, here, ["one", "two", "three"])
    first, second, third = ids(catalog, Passage)
    with catalog.write() as session:
        assert (
            labels.give_label(session, here, "tone", "passage", [first, second, 999], " a  b ") == 2
        )
        labels.give_label(session, here, "tone", "passage", [second, third], "c")
        labels.give_label(session, here, "other", "passage", [first], "d")
        labels.give_label(session, here, "tone", "passage", [third], None)
    with catalog.read() as session:
        given = labels.given_labels(session, here, "tone")
        assert {one.item_id: one.label for one in given} == {first: "a b", second: "c"}
    for wrong in ("  ", "x" * 201):
        with pytest.raises(UsageError), catalog.write() as session:
            labels.give_label(session, here, "tone", "passage", [first], wrong)


def test_items_of_another_collection_are_not_labelled(catalog: Catalog, here: int) -> None:
    stored(catalog, here, ["one"])
    (item,) = ids(catalog, Passage)
    other = catalog.create_collection("elsewhere").id
    with catalog.write() as session:
        assert labels.give_label(session, other, "tone", "passage", [item], "a") == 0
        assert (
            labels.store_predicted(session, other, "t", "t@1", "passage", [(item, "a", 1.0)]) == 0
        )


def test_what_classifiers_say_is_replaced_counted_and_forgotten(
    catalog: Catalog, here: int
) -> None:
    stored(catalog, here, ["one", "two"])
    images = ids(catalog, Image)
    with catalog.write() as session:
        predicted = [(images[0], "cat", 0.9), (images[1], "dog", 0.4), (12345, "dog", 1.0)]
        assert labels.store_predicted(session, here, "pets", "pets@1", "image", predicted) == 2
        labels.store_predicted(session, here, "pets", "pets@1", "image", [(images[1], "cat", 0.6)])
    with catalog.read() as session:
        assert labels.label_counts(session, here) == {"cat": 2}
        assert labels.label_counts(session, here, least=0.7) == {"cat": 1}
        assert labels.label_counts(session, here, classifier="birds") == {}
        assert labels.labels_of(session, "image", images)[images[1]] == [
            labels.PredictedLabel("pets", "cat", 0.6)
        ]
        assert len(labels.unlabelled(session, here, "pets", "pets@1", "image")) == 0
        assert labels.unlabelled(session, here, "pets", "pets@2", "image").tolist() == images
    with catalog.write() as session:
        labels.forget_predicted(session, "pets")
    with catalog.read() as session:
        assert labels.label_counts(session, here) == {}


def test_labels_go_with_their_document_and_collection(catalog: Catalog, here: int) -> None:
    from sqlalchemy import func, select

    def count() -> list[int]:
        with catalog.read() as session:
            return [
                session.scalar(select(func.count()).select_from(table)) or 0
                for table in (GivenLabel, ItemLabel)
            ]

    document = stored(catalog, here, ["one"])
    (item,) = ids(catalog, Passage)
    with catalog.write() as session:
        labels.give_label(session, here, "tone", "passage", [item], "a")
        labels.store_predicted(session, here, "tone", "t@1", "passage", [(item, "a", 0.5)])
    assert count() == [1, 1]
    with catalog.write() as session:
        remove_documents(session, here, [document])
    assert count() == [0, 0]
    stored(catalog, here, ["one"])
    (item,) = ids(catalog, Passage)
    with catalog.write() as session:
        labels.give_label(session, here, "tone", "passage", [item], "a")
    catalog.delete_collection("letters")
    assert count() == [0, 0]


def test_a_new_reading_keeps_labels_of_what_is_as_it_was(catalog: Catalog, here: int) -> None:
    stored(catalog, here, ["one", "two", "three"])
    before, images = ids(catalog, Passage), ids(catalog, Image)
    with catalog.write() as session:
        for item, label in zip(before, "abc", strict=True):
            labels.give_label(session, here, "tone", "passage", [item], label)
        labels.give_label(session, here, "shapes", "image", [images[1]], "round")
    stored(catalog, here, ["three", "one", "changed"])
    after = ids(catalog, Passage)
    assert not set(before) & set(after)
    with catalog.read() as session:
        given = {one.item_id: one.label for one in labels.given_labels(session, here, "tone")}
        assert given == {after[0]: "c", after[1]: "a"}
        (shape,) = labels.given_labels(session, here, "shapes")
        assert (shape.item_id, shape.label) == (ids(catalog, Image)[1], "round")
