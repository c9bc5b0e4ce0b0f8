"""The library itself, asked by somebody who may read one collection: nothing of others, and
nothing of everybody's is changed."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from ragcore.catalog import labels, permits
from ragcore.catalog.models import Document, Image, Passage
from ragcore.encoders.classifier import ClassifierCard, classifiers_folder, save_classifier
from ragcore.errors import NotPermitted, UsageError
from ragcore.library import Library

CARD = ClassifierCard(
    name="receipts",
    labels=("paid", "open"),
    modality="text",
    way="features",
    backbone="minilm-l6-v2",
    space="minilm",
    dimension=2,
    temperature=1.0,
)


def add_classifier(library: Library, name: str, collection: str | None) -> None:
    import torch

    owner = library.catalog.collection(collection).id if collection else None
    card = dataclasses.replace(CARD, name=name, collection_id=owner)
    folder = classifiers_folder(library.settings) / name
    save_classifier(folder, card, {"head.weight": torch.zeros(2, 2)}, {})


def ids(library: Library, kind: type[Passage] | type[Image], collection: str) -> list[int]:
    row = library.catalog.collection(collection)
    with library.catalog.read() as session:
        return list(session.scalars(select(kind.id).where(kind.collection_id == row.id)))


def asking(library: Library, scope: str, *collections: str) -> permits.Permit:
    """What somebody with a scope may do in some collections, or in all."""
    found = {library.catalog.collection(name).id for name in collections}
    return permits.Permit(found or None, scope)


@pytest.fixture
def reader(library: Library) -> Iterator[Library]:
    """The library, as somebody has it who may read `sample`."""
    with permits.within(asking(library, "read", "sample")):
        yield library


def test_a_reader_adds_no_file_for_everybody(reader: Library) -> None:
    with pytest.raises(NotPermitted, match="admin"):
        reader.add_picture_lora("x.safetensors", io.BytesIO(b"weights"))
    assert not (reader.settings.home / "picture-loras").exists()


def test_files_for_everybody_need_an_administrator_of_all_collections(library: Library) -> None:
    file = ("x.safetensors", io.BytesIO(b"weights"))
    with (
        permits.within(asking(library, "admin", "sample")),
        pytest.raises(NotPermitted, match="for all collections"),
    ):
        library.add_picture_lora(*file)
    with permits.within(asking(library, "admin")):
        assert library.add_picture_lora(*file).name == "x.safetensors"


def test_a_reader_removes_no_document(reader: Library) -> None:
    with pytest.raises(NotPermitted, match="write"):
        reader.forget_missing(["/srv"], collection="sample")
    assert reader.documents("sample")[1] == 1


def test_ids_of_other_collections_give_nothing(library: Library) -> None:
    passages, images = ids(library, Passage, "beta"), ids(library, Image, "beta")
    own = ids(library, Passage, "sample")
    beta = library.catalog.collection("beta").id
    with library.catalog.write() as session:
        found = [(item, "paid", 0.9) for item in passages]
        labels.tell_labels(session, beta, "receipts", "receipts@1", "passage", found)
    assert library.labels_of("passage", passages), "an administrator sees them"
    with permits.within(asking(library, "read", "sample")):
        assert library.passage_texts(passages) == {}
        assert list(library.passage_texts([*passages, *own])) == own
        assert library.labels_of("passage", passages) == {}
        assert library.thumbnails(images) == {}
        assert library.catalog.document_counts().keys() == {library.catalog.collection("sample").id}
        for look in (library.image, library.image_bytes, library.image_view, library.thumbnail):
            with pytest.raises(UsageError, match="there is no image"):
                look(images[0])


def test_duplicates_of_other_collections_are_not_decided(library: Library) -> None:
    images = ids(library, Image, "beta") + ids(library, Image, "sample")
    with permits.within(asking(library, "write", "sample")):
        library.duplicates.decide(images, "different")
    from ragcore.catalog.models import DuplicateDecision

    with library.catalog.read() as session:
        assert session.scalars(select(DuplicateDecision)).all() == []


def test_a_classifier_belongs_to_its_collection(library: Library) -> None:
    add_classifier(library, "of beta", "beta")
    add_classifier(library, "of sample", "sample")
    add_classifier(library, "for all", None)
    with permits.within(asking(library, "write", "sample")):
        assert [card.name for card in library.classifiers()] == ["for all", "of sample"]
        asked: tuple[Callable[[], object], ...] = (
            lambda: library.classifier("of beta"),
            lambda: library.classifier_results("of beta"),
            lambda: library.classify("of beta", collection="sample"),
            lambda: library.start_classify("of beta", collection="sample"),
            lambda: library.follow_classifier("of beta", collection="sample"),
            lambda: library.remove_classifier("of beta"),
        )
        for ask in asked:
            with pytest.raises(UsageError, match="no classifier named 'of beta'") as refused:
                ask()
            assert "known: for all, of sample" in str(refused.value)
        with pytest.raises(UsageError, match="choose another name"):
            library.start_teaching("of beta", collection="sample")
        with pytest.raises(NotPermitted, match="admin"):
            library.remove_classifier("for all")
        with pytest.raises(NotPermitted, match="admin"):
            library.tune_classifier("/etc/passwd")
        library.remove_classifier("of sample")
    with permits.within(asking(library, "admin")):
        assert [card.name for card in library.classifiers()] == ["for all", "of beta"]
        library.remove_classifier("for all")


def test_a_classifier_from_before_owners_belongs_to_what_it_was_trained_on(
    library: Library,
) -> None:
    import torch

    for name, data in (("old", "collection:beta"), ("lost", "collection:gone")):
        card = dataclasses.replace(CARD, name=name, data=data)
        folder = classifiers_folder(library.settings) / name
        save_classifier(folder, card, {"head.weight": torch.zeros(2, 2)}, {})
    for where, seen in (("beta", ["old"]), ("sample", [])):
        with permits.within(asking(library, "read", where)):
            assert [card.name for card in library.classifiers()] == seen
    assert len(library.classifiers()) == 2


def test_adapters_are_everybodys(library: Library, tmp_path: Path) -> None:
    with permits.within(asking(library, "admin", "sample")):
        asked: tuple[Callable[[], object], ...] = (
            lambda: library.remove_adapter("grounded-qa"),
            lambda: library.combine_adapters({"grounded-qa": 1.0}, "mine"),
            lambda: library.write_adapter("grounded-qa", tmp_path / "out"),
        )
        for ask in asked:
            with pytest.raises(NotPermitted, match="for all collections"):
                ask()


def test_models_by_any_name_are_an_administrators(reader: Library) -> None:
    for name in ("local:/etc", "hub:someone/else"):
        with pytest.raises(NotPermitted, match="admin"):
            reader.models.vision_llm(name)


def test_names_of_other_collections_stay_unknown(library: Library) -> None:
    """What is answered about a name that is taken and one that is free is the same, word for
    word."""
    with permits.within(asking(library, "admin", "sample")):
        asked: tuple[Callable[[str], object], ...] = (
            lambda name: library.rename_collection("sample", name),
            lambda name: library.create_collection(name),
            lambda name: library.create_collection(name, exist_ok=True),
            lambda name: library.statistics(name),
            lambda name: library.delete_collection(name),
        )
        for ask in asked:
            told = []
            for name in ("beta", "zeta"):
                with pytest.raises(UsageError) as refused:
                    ask(name)
                told.append(str(refused.value).replace(name, "NAME"))
            assert told[0] == told[1]
    assert {row.name for row in library.collections()} == {"sample", "beta"}


def test_readers_see_names_of_files_and_no_folders(library: Library) -> None:
    with library.catalog.read() as session:
        path = session.scalars(select(Document.path)).first()
    assert path is not None
    with permits.within(asking(library, "read", "sample")):
        assert permits.shown_path(path) == "sample.txt"
        assert library.facets("sample")["path"] == {}
        assert library.documents("sample", search="archive")[1] == 0, "nor may they be guessed"
        assert library.documents("sample", search="sample.t")[1] == 1
    assert permits.shown_path(path) == path
    assert library.facets("sample")["path"] == {"/srv/archive/papers": 1}


def test_a_question_sees_no_other_collection(reader: Library) -> None:
    assert reader.ask("How many documents are there?", collection="*").text.startswith(
        "1 document:"
    )
    with pytest.raises(UsageError, match="beta"):
        reader.ask("How many documents are there?", collection=["sample", "beta"])
    with permits.within(permits.Permit()):
        hidden = reader.documents("beta")[0][0].id
    with pytest.raises(UsageError, match="there is no document"):
        reader.ask("How many documents are there?", collection="sample", documents=[hidden])
    everywhere = reader.ask("How many documents are there?", collection="sample",
                            where={"document": str(hidden)})  # fmt: skip
    assert "beta" not in everywhere.text
