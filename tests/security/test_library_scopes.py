"""The library itself, asked by somebody who may read one collection: nothing of others, and
nothing of everybody's is changed.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from ragcore.catalog import labels, permits
from ragcore.catalog.models import Document, Image, Passage
from ragcore.encoders.classifier import ClassifierCard, classifiers_folder, save_classifier
from ragcore.errors import NotPermitted, UsageError
from ragcore.library import Library, Principal, ingesting

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

    owner = library.admin.catalog.collection(collection).id if collection else None
    card = dataclasses.replace(CARD, name=name, collection_id=owner)
    folder = classifiers_folder(library.admin.settings) / name
    save_classifier(folder, card, {"head.weight": torch.zeros(2, 2)}, {})


def ids(library: Library, kind: type[Passage] | type[Image], collection: str) -> list[int]:
    row = library.admin.catalog.collection(collection)
    with library.admin.catalog.read() as session:
        return list(session.scalars(select(kind.id).where(kind.collection_id == row.id)))


def opened(library: Library, scope: str, *collections: str) -> Library:
    """The library as somebody has it with a scope in some collections, or in all."""
    found = frozenset(library.find_collection(name).id for name in collections)
    return library.for_principal(Principal("Ann", scope, collection_ids=found or None))


@pytest.fixture
def reader(library: Library) -> Library:
    """The library, as somebody has it who may read `sample`."""
    return opened(library, "read", "sample")


def test_a_reader_adds_no_file_for_everybody(library: Library, reader: Library) -> None:
    with pytest.raises(NotPermitted, match="admin"):
        reader.diffusion.add_lora("x.safetensors", io.BytesIO(b"weights"))
    assert not (library.admin.settings.home / "picture-loras").exists()


def test_files_for_everybody_need_an_administrator_of_all_collections(library: Library) -> None:
    file = ("x.safetensors", io.BytesIO(b"weights"))
    with pytest.raises(NotPermitted, match="for all collections"):
        opened(library, "admin", "sample").diffusion.add_lora(*file)
    assert opened(library, "admin").diffusion.add_lora(*file).name == "x.safetensors"


def test_a_reader_removes_no_document(reader: Library) -> None:
    with pytest.raises(NotPermitted, match="write"):
        reader.documents.forget_missing(["/srv"], collection="sample")
    assert reader.documents.list("sample")[1] == 1


def test_ids_of_other_collections_give_nothing(library: Library, reader: Library) -> None:
    passages, images = ids(library, Passage, "beta"), ids(library, Image, "beta")
    own = ids(library, Passage, "sample")
    beta = library.find_collection("beta").id
    with library.admin.catalog.write() as session:
        found = [(item, "paid", 0.9) for item in passages]
        labels.store_predicted(session, beta, "receipts", "receipts@1", "passage", found)
    assert library.labels.of("passage", passages), "an administrator sees them"
    assert reader.labels.texts(passages) == {}
    assert list(reader.labels.texts([*passages, *own])) == own
    assert reader.labels.of("passage", passages) == {}
    assert reader.images.thumbnails(images) == {}
    assert [one.name for one in reader.collections()] == ["sample"]
    found_images = reader.images
    for look in (found_images.get, found_images.read, found_images.view, found_images.thumbnail):
        with pytest.raises(UsageError, match="there is no image"):
            look(images[0])


def test_files_of_the_server_are_not_for_writers(library: Library, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "note.txt").write_text("The heron eats.")
    [theirs] = library.documents.upload([("x.txt", io.BytesIO(b"secret"))], collection="beta")
    [own] = library.documents.upload([("y.txt", io.BytesIO(b"own"))], collection="sample")
    sample = library.find_collection("sample").id
    writer = library.for_principal(writer_of(sample))
    given = replace(writer_of(sample), folders=(mine.resolve(),))
    for path in ("/etc/hostname", str(mine), str(theirs), "memo://desk/"):
        for ingest in (writer.ingest, writer.jobs.start_ingest):
            with pytest.raises(NotPermitted, match="allowed_roots"):
                ingest([path], collection="sample")
    ingesting.check_may_read(library._core, [theirs], "sample")
    with permits.within(given.permit()):
        ingesting.check_may_read(library._core, [mine / "note.txt", own], "sample")
    admin = replace(given, scope="admin", folders=(), key_id=None)
    with permits.within(admin.permit()):
        ingesting.check_may_read(library._core, [mine], "sample")
        with pytest.raises(NotPermitted):
            ingesting.check_may_read(library._core, [theirs], "sample")


def writer_of(collection_id: int) -> Principal:
    return Principal("Ann", "write", 7, frozenset({collection_id}))


def test_duplicates_of_other_collections_are_not_decided(library: Library) -> None:
    images = ids(library, Image, "beta") + ids(library, Image, "sample")
    opened(library, "write", "sample").duplicates.decide(images, "different")
    from ragcore.catalog.models import DuplicateDecision

    with library.admin.catalog.read() as session:
        assert session.scalars(select(DuplicateDecision)).all() == []


def test_a_classifier_belongs_to_its_collection(library: Library) -> None:
    add_classifier(library, "of beta", "beta")
    add_classifier(library, "of sample", "sample")
    add_classifier(library, "for all", None)
    mine = opened(library, "write", "sample")
    assert [card.name for card in mine.classifiers.list()] == ["for all", "of sample"]
    asked: tuple[Callable[[], object], ...] = (
        lambda: mine.classifiers.get("of beta"),
        lambda: mine.classifiers.results("of beta"),
        lambda: mine.classifiers.classify("of beta", collection="sample"),
        lambda: mine.jobs.start_classify("of beta", collection="sample"),
        lambda: mine.classifiers.follow("of beta", collection="sample"),
        lambda: mine.classifiers.remove("of beta"),
    )
    for ask in asked:
        with pytest.raises(UsageError, match="no classifier named 'of beta'") as refused:
            ask()
        assert "known: for all, of sample" in str(refused.value)
    with pytest.raises(UsageError, match="choose another name"):
        mine.jobs.start_training("of beta", collection="sample")
    with pytest.raises(NotPermitted, match="admin"):
        mine.classifiers.remove("for all")
    with pytest.raises(NotPermitted, match="admin"):
        mine.training.classifier("/etc/passwd")
    mine.classifiers.remove("of sample")
    mine = opened(library, "admin")
    assert [card.name for card in mine.classifiers.list()] == ["for all", "of beta"]
    mine.classifiers.remove("for all")


def test_a_classifier_from_before_owners_belongs_to_what_it_was_trained_on(
    library: Library,
) -> None:
    import torch

    for name, data in (("old", "collection:beta"), ("lost", "collection:gone")):
        card = dataclasses.replace(CARD, name=name, data=data)
        folder = classifiers_folder(library.admin.settings) / name
        save_classifier(folder, card, {"head.weight": torch.zeros(2, 2)}, {})
    for where, seen in (("beta", ["old"]), ("sample", [])):
        mine = opened(library, "read", where)
        assert [card.name for card in mine.classifiers.list()] == seen
    assert len(library.classifiers.list()) == 2


def test_adapters_are_everybodys(library: Library, tmp_path: Path) -> None:
    mine = opened(library, "admin", "sample")
    asked: tuple[Callable[[], object], ...] = (
        lambda: mine.adapters.remove("grounded-qa"),
        lambda: mine.adapters.combine({"grounded-qa": 1.0}, "mine"),
        lambda: mine.adapters.write("grounded-qa", tmp_path / "out"),
    )
    for ask in asked:
        with pytest.raises(NotPermitted, match="for all collections"):
            ask()


def test_models_by_any_name_are_an_administrators(reader: Library) -> None:
    for name in ("local:/etc", "hub:someone/else"):
        with pytest.raises(NotPermitted, match="admin"):
            reader.images.ask(b"x", "What is it?", model=name)


def test_names_of_other_collections_stay_unknown(library: Library) -> None:
    """What is answered about a name that is taken and one that is free is the same, word for
    word.
    """
    mine = opened(library, "admin", "sample")
    asked: tuple[Callable[[str], object], ...] = (
        lambda name: mine.admin.rename_collection("sample", name),
        lambda name: mine.create_collection(name),
        lambda name: mine.create_collection(name, exist_ok=True),
        lambda name: mine.documents.statistics(name),
        lambda name: mine.admin.delete_collection(name),
    )
    for ask in asked:
        result = []
        for name in ("beta", "zeta"):
            with pytest.raises(UsageError) as refused:
                ask(name)
            result.append(str(refused.value).replace(name, "NAME"))
        assert result[0] == result[1]
    assert {row.name for row in library.collections()} == {"sample", "beta"}


def test_readers_see_names_of_files_and_no_folders(library: Library) -> None:
    with library.admin.catalog.read() as session:
        path = session.scalars(select(Document.path)).first()
    assert path is not None
    mine = opened(library, "read", "sample")
    document = mine.documents.list("sample")[0][0]
    assert (document.path, mine.documents.get(document.id).path) == ("sample.txt", "sample.txt")
    assert mine.images.list("sample")[0].path == "sample.txt"
    assert mine.documents.facets("sample")["path"] == {}
    assert mine.documents.list("sample", search="archive")[1] == 0, "nor may they be guessed"
    assert mine.documents.list("sample", search="sample.t")[1] == 1
    assert library.documents.get(document.id).path == path
    assert library.documents.facets("sample")["path"] == {"/srv/archive/papers": 1}


def test_a_question_sees_no_other_collection(library: Library, reader: Library) -> None:
    assert reader.ask("How many documents are there?", collection="*").text.startswith(
        "1 document:"
    )
    with pytest.raises(UsageError, match="beta"):
        reader.ask("How many documents are there?", collection=["sample", "beta"])
    hidden = library.documents.list("beta")[0][0].id
    with pytest.raises(UsageError, match="there is no document"):
        reader.ask("How many documents are there?", collection="sample", documents=[hidden])
    everywhere = reader.ask("How many documents are there?", collection="sample",
                            where={"document": str(hidden)})  # fmt: skip
    assert "beta" not in everywhere.text
