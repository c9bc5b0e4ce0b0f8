"""Labelled examples from a collection: what people ticked, with vectors the catalog has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from ragcore.catalog import Catalog, Document, Image, Passage, given_labels, load_embeddings
from ragcore.encoders import Backbone, Modality
from ragcore.errors import UsageError
from ragcore.tuning.classifier.data import LabelledExample

if TYPE_CHECKING:
    from ragcore.models import Models
    from ragcore.settings import Settings
    from ragcore.types import FloatArray, HitKind

COLLECTION = "collection:"


def owner_of(settings: Settings, train: str) -> int | None:
    """The collection that a classifier belongs to, by the recipe's training data.

    None: the data is no collection's. Raises UsageError for an unknown collection.
    """
    if not train.startswith(COLLECTION):
        return None
    catalog = Catalog(settings.catalog_url)
    try:
        return catalog.collection(train.removeprefix(COLLECTION)).id
    finally:
        catalog.close()


def ticked_examples(
    settings: Settings,
    models: Models,
    collection: str,
    classifier: str,
    backbone: str,
    kind: str = "auto",
) -> list[LabelledExample]:
    """What people labelled in a collection for a classifier.

    With the vectors that the catalog has of it where the backbone is the collection's own model.

    Raises UsageError for an unknown collection, no labels, or labels of images and passages.
    """
    catalog = Catalog(settings.catalog_url)
    try:
        row = catalog.collection(collection)
        with catalog.read() as session:
            given = given_labels(session, row.id, classifier)
        wanted = {"images": "image", "texts": "passage"}.get(kind)
        given = [one for one in given if wanted in (None, one.kind)]
        if not given:
            raise UsageError(
                f"nothing is labelled for {classifier!r} in collection {collection!r}: tick some "
                "images or passages on the page Classifiers first"
            )
        if len({one.kind for one in given}) > 1:
            raise UsageError(
                f"{classifier!r} has labels of images and of passages: set kind to one of them"
            )
        of = {one.item_id: one.label for one in given}
        vectors = _vectors(catalog, models, row.id, given[0].kind, list(of), backbone)
        with catalog.read() as session:
            return collection_items(session, settings, given[0].kind, of, vectors)
    finally:
        catalog.close()


def collection_items(
    session: Session,
    settings: Settings,
    kind: HitKind,
    labels: dict[int, str],
    vectors: dict[int, FloatArray],
) -> list[LabelledExample]:
    """Examples of these items of a catalog; those that are gone are left out."""
    found, ids = [], list(labels)
    for at in range(0, len(ids), 10_000):
        part = ids[at : at + 10_000]
        rows = _passages(session, part) if kind == "passage" else _images(session, settings, part)
        for example in rows:
            found.append(
                replace(example, label=labels[example.item], vector=vectors.get(example.item))
            )
    return found


def _passages(session: Session, ids: Sequence[int]) -> Iterator[LabelledExample]:
    query = select(Passage, Document.path, Document.title).join(
        Document, Document.id == Passage.document_id
    )
    for item, path, title in session.execute(query.where(Passage.id.in_(ids)).order_by(Passage.id)):
        text = passage_text(item.text, item.heading)
        yield LabelledExample(
            f"{title}, passage {item.ordinal + 1}", "", text, group=path, item=item.id
        )


def _images(session: Session, settings: Settings, ids: Sequence[int]) -> Iterator[LabelledExample]:
    query = select(Image, Document.path).join(Document, Document.id == Image.document_id)
    for item, path in session.execute(query.where(Image.id.in_(ids)).order_by(Image.id)):
        file = settings.media / item.media if item.media else Path(path)
        name = path if item.page is None else f"{path}, image {item.ordinal + 1}"
        yield LabelledExample(name, "", source=file, item=item.id)


def passage_text(text: str, heading: str) -> str:
    """What the text encoder was given for a passage when it was ingested."""
    return f"{heading}\n{text}" if heading else text


def _vectors(
    catalog: Catalog,
    models: Models,
    collection_id: int,
    kind: HitKind,
    ids: Sequence[int],
    backbone: str,
) -> dict[int, FloatArray]:
    modality: Modality = "text" if kind == "passage" else "image"
    space = catalog.active_space(collection_id, modality)
    if space is None or space.name != Backbone(backbone, modality, models).space:
        return {}
    wanted = np.array(sorted(ids), np.int64)
    with catalog.read() as session:
        return {
            int(item): vector
            for found, vectors in load_embeddings(session, space.id, wanted)
            for item, vector in zip(found, vectors, strict=True)
        }
