"""Everything that can be called on a library, called by somebody who may read one collection.

The walk finds every public method and property of `Library`, its parts and `Collection` by itself.
What is new is an administrator's of the server until the table of scopes says otherwise; where it
does, `READ` below has to say so too, and `VALUES` what to call it with.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PillowImage
from sqlalchemy import select

from ragcore.catalog.models import (
    Album,
    AlbumImage,
    Base,
    Conversation,
    ConversationTurn,
    Document,
    Image,
    ImageMark,
    ImageMetadataRow,
    Passage,
)
from ragcore.encoders.classifier import ClassifierCard, classifiers_folder, save_classifier
from ragcore.errors import NotPermitted, RagcoreError
from ragcore.library import Collection, Library, Principal
from ragcore.library.scopes import NEEDS
from ragcore.types import AnswerStyle, SearchQuery

from .conftest import FOLDER, SECRET, fill

# What somebody with the scope read may call. Everything else has to refuse them.
READ = {
    "Library": "ask ask_stream check_schema collection collections find_collection imagine "
    "imagine_stream label search",
    "Collection": "ask ask_stream documents info label search statistics",
    "Adapters": "list used_by",
    "Admin": "",
    "Albums": "list",
    "Chats": "count create delete export_markdown get list rate rename running set_collection "
    "start stop turns",
    "Classifiers": "followed get list results",
    "Diffusion": "canny_stages check class_names condition edit_latents gallery "
    "interpolate_latents loras model negative_example probes recipe",
    "Documents": "facets file_types get headings indexes list map original page page_boxes "
    "page_image statistics",
    "Duplicates": "files images",
    "Evals": "",
    "Images": "ask ask_stream caption get groups label list marks metadata preview read thumbnail "
    "thumbnails view",
    "Jobs": "get recent wait",
    "Labels": "classes counts given given_counts items next of texts",
    "LibraryModels": "count_tokens damaged_weights device embed loaded preparation prepare "
    "process_memory profile profiles offers rerank text_space transcribe weights",
    "Sources": "",
    "Training": "",
    "Trash": "",
    "UploadedFiles": "get list",
}
# Calls that change what is the reader's own, or load models for all: allowed to.
OWN = {"Chats.create", "LibraryModels.prepare"}
OWN_FILES = {"UploadedFiles.add"}  # kept for who uploads them alone


def public(kind: type) -> Iterator[tuple[str, Any]]:
    """Name and value of everything public that a class has, parts left out."""
    for name, value in vars(kind).items():
        if not name.startswith("_") and not isinstance(value, cached_property):
            yield name, value


def parts(library: Library) -> dict[str, Any]:
    """The library, each of its parts and a handle on a collection, by the name of the class."""
    found: list[Any] = [library, library.collection("beta")]
    for name, value in vars(Library).items():
        if isinstance(value, cached_property):
            found.append(getattr(library, name))
    return {type(one).__name__: one for one in found}


@dataclasses.dataclass(frozen=True)
class Prey:
    """What there is in the other collection."""

    document: int
    image: int
    passage: int
    conversation: int
    turn: int
    job: int


@pytest.fixture
def library(tmp_path: Path, tiny_profile: Path) -> Iterator[Library]:
    from ragcore.settings import Settings

    settings = Settings(home=tmp_path / "home", profile=str(tiny_profile), workers=1, ocr="off")
    with Library(settings) as opened:
        fill(opened)
        yield opened


@pytest.fixture
def prey(library: Library) -> Prey:
    """Things of other people, of every kind that has numbers or names."""
    import torch

    beta = library.find_collection("beta").id
    card = ClassifierCard(
        name="of beta", labels=("paid", "open"), modality="text", way="features", backbone="x",
        space="x", dimension=2, temperature=1.0, collection_id=beta,
    )  # fmt: skip
    folder = classifiers_folder(library.admin.settings) / card.name
    save_classifier(folder, card, {"head.weight": torch.zeros(2, 2)}, {})
    talk = library.chats.create("key 99", collection="beta", title=SECRET)
    with library.admin.catalog.write() as session:
        album = Album(collection_id=beta, name=SECRET)
        session.add(album)
        session.flush()
        session.add(ConversationTurn(conversation_id=talk.id, role="user", content=SECRET))
        for image in session.scalars(select(Image.id).where(Image.collection_id == beta)):
            row = ImageMetadataRow(image_id=image, collection_id=beta, caption=SECRET)
            session.add(row)
            session.add(ImageMark(image_id=image, collection_id=beta, favorite=True, note=SECRET))
            session.add(AlbumImage(album_id=album.id, image_id=image, position=1))
    job = library.jobs.start("ingest", "beta", {"paths": [f"{FOLDER}/{SECRET}"]}, _nothing)
    library.jobs.wait(job)
    library.diffusion.gallery("key 99")
    with library.admin.catalog.read() as session:

        def first(column: Any, **where: Any) -> int:
            return int(session.scalars(select(column).filter_by(**where)).first() or 0)

        return Prey(
            document=first(Document.id, collection_id=beta),
            image=first(Image.id, collection_id=beta),
            passage=first(Passage.id, collection_id=beta),
            conversation=talk.id,
            turn=first(ConversationTurn.id, conversation_id=talk.id),
            job=job,
        )


def _nothing(_progress: object, _cancel: object) -> dict[str, Any]:
    return {"failed": [{"path": f"{FOLDER}/{SECRET}", "error": SECRET}]}


def png() -> bytes:
    out = io.BytesIO()
    PillowImage.new("RGB", (64, 64), "red").save(out, "PNG")
    return out.getvalue()


def values(prey: Prey, kind: str, name: str) -> dict[str, Any]:
    """Plausible arguments, by the parameter's name: the other collection's wherever there are."""
    from ragcore.diffusion import ImagineRequest

    found: dict[str, Any] = {
        "adapter": "grounded-qa", "archive": Path("/tmp/none.tar"), "beir_dir": "/tmp",
        "changes": {}, "classifier": "of beta", "collection": "beta", "context": (),
        "conversation_id": prey.conversation, "decision": "different", "directory": Path("/tmp"),
        "document_id": prey.document, "document_ids": [prey.document], "documents": [prey.document],
        "file": io.BytesIO(b"x"), "file_id": "file-0", "file_ids": ["file-0"],
        "files": [("x.txt", io.BytesIO(b"x"))], "first": png(),
        "data": png(), "folder": Path("/tmp"), "given": f"{FOLDER}/beta.txt", "history": (),
        "image": png(),
        "image_id": prey.image, "image_ids": [prey.image, prey.image + 1], "images": [png()],
        "item_ids": [prey.passage], "job_id": prey.job, "kind": "passage", "label": "paid",
        "labels": ["paid", "open"], "more_collections": ["beta"],
        "name": "beta", "names": ["starter"], "new_name": "gamma",
        "number": 1, "owner": "key 99", "passage_ids": [prey.passage], "paths": [FOLDER],
        "principal": Principal("Eve", "admin"), "profiles": ["starter"],
        "questions": Path("/tmp/questions.jsonl"),
        "query": SearchQuery(text="vault code", collection="beta"),
        "question": "What is the vault code?", "rating": 1, "recipe": Path("/tmp/recipe.toml"),
        "request": ImagineRequest(prompt="red apple", steps=1), "schema": {"type": "string"},
        "second": png(), "sha256": "0" * 64, "span": (0, 5), "style": AnswerStyle(tone="formal"),
        "source_id": 1, "sound": b"RIFF", "stream": io.BytesIO(b"x"), "target": Path("/tmp/none"),
        "url": f"{FOLDER}/beta.txt",
        "text": "vault code", "texts": ["vault code"], "title": "mine", "turn_id": prey.turn,
        "vectors": "faiss", "way": "pixels", "weights": {"grounded-qa": 1.0}, "work": _nothing,
        "where": {},
    }  # fmt: skip
    if kind == "Library" or (kind, name) == ("LibraryModels", "rerank"):
        found["query"] = "vault code"
    if kind == "Albums":
        found["name"] = SECRET
    if kind in ("Classifiers", "Labels"):
        found["name"] = "of beta"
    if (kind, name) == ("Documents", "map"):
        found["kind"] = "passages"
    if (kind, name) == ("Diffusion", "condition"):
        found["kind"] = "canny"
    if (kind, name) == ("LibraryModels", "embed"):
        found["kind"] = "query"
    return found


# Given although they have defaults: they name the other collection.
WANTED = {"collection", "document_id", "documents", "more_collections", "owner", "classifier"}


def call_with(part: Any, name: str, found: dict[str, Any]) -> Any:
    """Call a method, or read a property, and use up what it gives."""
    value = inspect.getattr_static(type(part), name)
    if isinstance(value, property):
        return getattr(part, name)
    method: Callable[..., Any] = getattr(part, name)
    given = {}
    for parameter in inspect.signature(method).parameters.values():
        if parameter.default is inspect.Parameter.empty or parameter.name in WANTED:
            assert parameter.name in found, f"the walk has no value for {name}({parameter.name})"
            given[parameter.name] = found[parameter.name]
    result = method(**given)
    if isinstance(result, AbstractContextManager) and not isinstance(result, Library):
        with result as inner:
            return inner
    return list(result) if isinstance(result, Iterator) else result


def takes_owner(part: Any, name: str) -> bool:
    method = getattr(type(part), name)
    return callable(method) and "owner" in inspect.signature(method).parameters


def rows(library: Library) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that the catalog has, by table; jobs and counters of use aside."""
    with library.admin.catalog.read() as session:
        return {
            table.name: sorted(map(tuple, session.execute(select(table))), key=repr)
            for table in Base.metadata.sorted_tables
        }


def files(library: Library) -> set[str]:
    home = library.admin.settings.home
    passing = ("catalogue.db", "maps", "indexes", "gallery")
    return {
        str(path.relative_to(home))
        for path in home.rglob("*")
        if not path.relative_to(home).parts[0].startswith(passing)
    }


def leaks(result: Any, library: Library, prey: Prey) -> list[str]:
    """What of the other collection's is in a result."""
    shown = repr(result)
    thumbnail = library.images.thumbnail(prey.image)
    wrong = [one for one in (SECRET, FOLDER, "beta.txt", "of beta") if one in shown]
    if isinstance(result, bytes) and result == thumbnail:
        wrong.append("the thumbnail")
    return wrong


def test_the_table_and_the_walk_know_the_same() -> None:
    known = {type_ for type_ in READ if type_ != "Collection"}
    found = {
        f"{kind.__name__}.{name}"
        for kind in (type(one) for one in parts(Library()).values())
        if kind is not Collection
        for name, _ in public(kind)
    }
    assert {key.partition("(")[0] for key in NEEDS} <= found, "the table names what is not there"
    may = {key for key, need in NEEDS.items() if need in ("look", "read") and "(" not in key}
    assert may == {f"{kind}.{name}" for kind in known for name in READ[kind].split()}


def test_a_reader_finds_nothing_and_changes_nothing(library: Library, prey: Prey) -> None:
    reader = library.for_principal(
        Principal("Rita", "read", 7, frozenset({library.find_collection("sample").id}))
    )
    walked = []
    for kind, part in parts(reader).items():
        allowed = set(READ[kind].split())
        for name, _ in public(type(part)):
            if dataclasses.is_dataclass(part) and name in {
                field.name for field in dataclasses.fields(part)
            }:
                continue
            what = f"{kind}.{name}"
            walked.append(what)
            before, stored = rows(library), files(library)
            for owner in ("key 99", "key 7"):  # somebody else, and themselves
                found = values(prey, kind, name) | {"owner": owner}
                if name not in allowed:
                    with pytest.raises(NotPermitted):
                        pytest.fail(f"{what} gave {call_with(part, name, found)!r}")
                    continue
                with suppress(RagcoreError):  # "there is no such …", or not this model
                    result = call_with(part, name, found)
                    assert leaks(result, library, prey) == [], what
                if not takes_owner(part, name):
                    break
            if what not in OWN:
                assert rows(library) == before, f"{what} changed the catalog"
            assert files(library) == stored, f"{what} changed files"
    assert len(walked) > 150


@pytest.mark.parametrize("scope", ["write", "admin"])
def test_who_may_change_one_collection_changes_no_other(
    library: Library, prey: Prey, scope: str
) -> None:
    """The same walk with more scope: still nothing of the other collection is seen or changed."""
    sample = library.find_collection("sample").id
    mine = library.for_principal(Principal("Wim", scope, 7, frozenset({sample})))
    refused = 0
    for kind, part in parts(mine).items():
        for name, _ in public(type(part)):
            if kind == "Collection" and name in ("library", "name"):
                continue
            what = f"{kind}.{name}"
            before, stored = rows(library), files(library)
            found = values(prey, kind, name)
            try:
                assert leaks(call_with(part, name, found), library, prey) == [], what
            except NotPermitted:
                refused += 1
            except RagcoreError:
                pass
            if what not in OWN:
                assert rows(library) == before, f"{what} changed the catalog"
            if what not in OWN_FILES:
                assert files(library) == stored, f"{what} changed files"
    assert refused > 30


def test_a_reader_of_the_collection_is_let_in(library: Library, prey: Prey) -> None:
    """The same calls give something to who may: the walk would otherwise prove nothing."""
    reader = library.for_principal(
        Principal("Bea", "read", 99, frozenset({library.find_collection("beta").id}))
    )
    every = parts(reader)
    for what in (
        "Albums.list", "Library.find_collection", "Collection.documents", "Collection.info",
        "Chats.get",
        "Chats.turns", "Classifiers.get", "Documents.get", "Documents.list", "Documents.page",
        "Documents.statistics", "Images.get", "Images.marks", "Images.metadata", "Images.thumbnail",
        "Images.thumbnails",
        "Jobs.get",
        "Labels.texts", "Labels.items",
    ):  # fmt: skip
        kind, _, name = what.partition(".")
        assert call_with(every[kind], name, values(prey, kind, name)), what


def test_paths_of_the_server_are_no_images_for_a_reader(library: Library, tmp_path: Path) -> None:
    from ragcore.diffusion import ControlRequest, ImagineRequest, LoraRequest

    path = tmp_path / "secret.png"
    path.write_bytes(png())
    reader = library.for_principal(Principal("Rita", "read", 7))
    asked: tuple[Callable[[], object], ...] = (
        lambda: reader.search(SearchQuery(image=path)),
        lambda: reader.collection("sample").search(SearchQuery(image=str(path))),
        lambda: reader.images.ask(path, "What is it?"),
        lambda: list(reader.images.ask_stream(str(path), "What is it?")),
        lambda: reader.chats.start("key 7", 1, "What is it?", collection="sample", image=path),  # type: ignore[arg-type]
        lambda: reader.images.label([path], ["a", "b"]),
        lambda: reader.diffusion.recipe(path),
        lambda: reader.imagine(ImagineRequest(start_image=path)),
        lambda: reader.imagine(ImagineRequest(controls=[ControlRequest("canny", path)])),
        lambda: reader.imagine(ImagineRequest(loras=[LoraRequest(path)])),
    )
    for ask in asked:
        with pytest.raises(NotPermitted):
            ask()


def test_what_is_somebody_elses_stays_theirs(library: Library, prey: Prey) -> None:
    eve = library.for_principal(Principal("Eve", "admin", 7, frozenset({1, 2})))
    for ask in (eve.chats.get, eve.chats.turns, eve.chats.delete, eve.chats.running):
        with pytest.raises(NotPermitted, match="somebody else's"):
            ask("key 99", prey.conversation)
    with library.admin.catalog.read() as session:
        assert session.get(Conversation, prey.conversation) is not None
    assert library.for_principal(Principal("Bea", "read", 99)).chats.get(
        "key 99", prey.conversation
    )


def test_a_stream_goes_on_as_who_began_it(library: Library) -> None:
    """What a call gives bit by bit is made with its permit, wherever it is used up."""
    beta = library.for_principal(
        Principal("Bea", "read", 99, frozenset({library.find_collection("beta").id}))
    )
    events = beta.ask_stream("How many documents are there?", collection="*")
    sample = library.for_principal(
        Principal("Rita", "read", 7, frozenset({library.find_collection("sample").id}))
    )
    assert [one.name for one in sample.collections()] == ["sample"]
    answer = [event.answer for event in events][-1]
    assert answer is not None
    assert answer.text.startswith("1 document:")
    assert "beta" in answer.text
