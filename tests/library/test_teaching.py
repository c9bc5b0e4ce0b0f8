"""From ticks to filters: labels given by hand, a classifier, a labelled collection, new files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from ragcore.catalog.labels import given_labels
from ragcore.encoders.classifier import classifiers_folder
from ragcore.errors import Cancelled, UsageError
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.tuning.classifier.recipe import ClassifierData
from ragcore.types import CancelToken, SearchQuery
from tests.tuning.classifier_samples import draw_classes, recipe, save_timm


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, starter_weights: object) -> Path:
    """A home with 24 drawn images of three colors and a text, by tiny models; the
    colors are taught on five images each.
    """
    root = tmp_path_factory.mktemp("teaching")
    draw_classes(root / "files")
    (root / "files" / "note.txt").write_text("A heron waits at the weir.\n", "utf-8")
    with Library(Settings(home=root / "home", workers=1)) as library:
        assert not library.ingest([root / "files"], collection="shapes").failed
        teach(library)
    return root


@pytest.fixture
def library(filled: Path, tmp_path: Path) -> Iterator[Library]:
    import shutil

    shutil.copytree(filled / "home", tmp_path / "home")
    with Library(Settings(home=tmp_path / "home", workers=1)) as library:
        yield library


def colors(library: Library) -> dict[int, str]:
    return {
        info.id: Path(info.path).parent.name for info in library.images.list("shapes", limit=100)
    }


def teach(library: Library, each: int = 5) -> None:
    """Label `each` images of every color, and train."""
    library.labels.set_classes("colour", "image", ["red", "green", "blue"], collection="shapes")
    for name in ("red", "green", "blue"):
        items = [item for item, color in colors(library).items() if color == name][:each]
        library.labels.give("colour", "image", items, name, collection="shapes")
    job = library.jobs.wait(library.jobs.start_training("colour", collection="shapes"), 300)
    assert job.state == "done", job.error


def test_ticks_become_filters(library: Library, filled: Path, tmp_path: Path) -> None:
    card = library.classifiers.get("colour")
    assert card.labels == ("blue", "green", "red")
    assert card.space == library.documents.indexes("shapes")[1]["space"]
    assert "unknown" in card.license
    report = library.classifiers.classify("colour", collection="shapes")
    assert report.from_catalog
    assert report.labelled == 24
    truth = colors(library)
    result = library.labels.of("image", list(truth))
    right = [result[item][0].label == color for item, color in truth.items()]
    assert sum(right) >= 22
    assert (
        library.classifiers.classify("colour", collection="shapes").labelled == 0
    )  # nothing is left to do

    query = SearchQuery(
        text="an image", kind="images", collection="shapes", k=50, cutoff=0, where={"label": "Red"}
    )
    found = {hit.id for hit in library.search(query).hits}
    assert found == {item for item, said in result.items() if said[0].label == "red"}
    sure = dataclasses.replace(query, where={"label": "red", "label_confidence>=": "1"})
    assert {hit.id for hit in library.search(sure).hits} == {
        one.item_id
        for one in library.labels.given("colour", collection="shapes")
        if one.label == "red"
    }
    for where, count in (
        ({"classifier": "colour"}, 24), ({"classifier": "other"}, 0), ({"label": "no such"}, 0),
        ({"label": "red", "path": "green"}, 0),
    ):  # fmt: skip
        hits = library.search(dataclasses.replace(query, where=where)).hits
        assert len(hits) <= count
        assert bool(hits) == bool(count)
    for wrong in ("2", "-0.1", "much", "nan"):
        with pytest.raises(UsageError, match="no confidence"):
            library.search(dataclasses.replace(query, where={"label_confidence": wrong}))


def test_new_files_are_labelled_while_it_is_switched_on(library: Library, tmp_path: Path) -> None:
    library.classifiers.classify("colour", collection="shapes")
    library.classifiers.follow("colour", collection="shapes")
    assert library.classifiers.followed("shapes") == ["colour"]
    new = draw_classes(tmp_path / "new", classes=("blue",), each=1) / "blue"
    Image.new("RGB", (40, 40), "#2040d0").save(new / "0.png")
    library.ingest([new], collection="shapes")
    assert sum(library.labels.counts("shapes").values()) == 25
    library.classifiers.follow("colour", collection="shapes", on=False)
    Image.new("RGB", (40, 40), "#2040e0").save(new / "1.png")
    library.ingest([new], collection="shapes")
    assert sum(library.labels.counts("shapes").values()) == 25
    assert library.classifiers.classify("colour", collection="shapes").labelled == 1


def test_a_lost_classifier_does_not_stop_an_ingest(library: Library, tmp_path: Path) -> None:
    library.classifiers.follow("colour", collection="shapes")
    (classifiers_folder(library.admin.settings) / "colour" / "classifier.json").write_text("{")
    new = draw_classes(tmp_path / "new", classes=("blue",), each=1)
    assert library.ingest([new], collection="shapes").added == 1
    assert library.labels.counts("shapes") == {}


def test_removing_a_classifier_takes_its_labels_and_leaves_those_of_people(
    library: Library,
) -> None:
    library.classifiers.classify("colour", collection="shapes")
    library.classifiers.follow("colour", collection="shapes")
    library.classifiers.remove("colour")
    assert library.classifiers.list() == []
    assert library.classifiers.followed("shapes") == []
    assert library.labels.counts("shapes") == {}
    assert len(library.labels.given("colour", collection="shapes")) == 15
    with pytest.raises(UsageError, match="no classifier named 'colour'"):
        library.classifiers.classify("colour", collection="shapes")


def test_another_backbone_looks_at_the_files(
    library: Library, filled: Path, tmp_path: Path
) -> None:
    model = save_timm(tmp_path / "resnet")
    plan = recipe(model, filled / "files", tmp_path / "run", name="small", curve=())
    plan = plan.model_copy(
        update={"data": ClassifierData(train=str(filled / "files"), kind="images")}
    )
    library.training.classifier(plan)
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled, match="24 labels, which are kept"):
        library.classifiers.classify("small", collection="shapes", cancel=token)
    assert sum(library.labels.counts("shapes", classifier="small").values()) == 24


def test_what_to_label_next_is_of_what_is_not_labelled(library: Library) -> None:
    first = library.labels.next("size", "image", count=6, collection="shapes")
    assert len(set(first)) == 6
    following = library.labels.next("colour", "image", count=50, collection="shapes")
    assert len(following) == 9
    with library.admin.catalog.read() as session:
        row = library.admin.catalog.collection("shapes")
        done = {one.item_id for one in given_labels(session, row.id, "colour")}
    assert not done & set(following)
    assert library.labels.next("tone", "passage", collection="shapes")
    library.create_collection("empty")
    assert library.labels.next("colour", "image", collection="empty") == []


def test_classes_are_checked_and_forgotten(library: Library) -> None:
    make = library.labels.set_classes
    make("colour", "image", ["red", "green"], collection="shapes")
    library.labels.give("colour", "image", list(colors(library)), None, collection="shapes")
    with pytest.raises(UsageError, match="there is already a class 'red'"):
        make("colour", "image", ["red", " RED "], collection="shapes")
    with pytest.raises(UsageError, match="is about images"):
        make("colour", "passage", ["red", "green"], collection="shapes")
    with pytest.raises(UsageError, match="cannot name a classifier"):
        make("../color", "image", ["red", "green"], collection="shapes")
    items = list(colors(library))[:3]
    library.labels.give("colour", "image", items[:2], "red", collection="shapes")
    library.labels.give("colour", "image", items[2:], "green", collection="shapes")
    make("colour", "image", ["green", "blue"], collection="shapes")
    assert library.labels.given_counts("colour", collection="shapes") == {"green": 1}
    with pytest.raises(UsageError, match="two classes or more"):
        library.jobs.start_training("colour", collection="shapes")
    library.labels.forget_classes("colour", collection="shapes")
    assert library.labels.classes("shapes") == {}
    assert library.labels.given("colour", collection="shapes") == []


def test_the_command_line(library: Library, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from ragcore.cli.main import cli

    monkeypatch.setenv("RAGCORE_HOME", str(library.admin.settings.home))

    def run(*words: str) -> str:
        result = CliRunner().invoke(cli, list(words))
        assert result.exit_code == 0, result.output
        return result.stdout

    (card,) = json.loads(run("classifiers", "list", "--json"))["classifiers"]
    assert card["name"] == "colour"
    assert "3 classes of images, features" in run("classifiers")
    assert "labels/class" in run("classifiers", "inspect", "colour")
    result = json.loads(run("classify", "colour", "-c", "shapes", "--follow", "--json"))
    assert result["labelled"] == 24
    assert sum(result["labels"].values()) == 24
    assert result["followed"] == ["colour"]
    found = json.loads(run(
        "search", "an image", "--kind", "images", "-c", "shapes", "-k", "50", "--cutoff", "0",
        "--where", "label=red", "--where", "label_confidence>=0.3", "--json",
    ))["hits"]  # fmt: skip
    assert found
    run("classify", "colour", "-c", "shapes", "--unfollow")
    assert library.classifiers.followed("shapes") == []
    run("classifiers", "remove", "colour", "--yes")
    assert "no classifiers yet" in run("classifiers")
