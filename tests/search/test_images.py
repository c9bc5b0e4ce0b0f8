"""Images by words, by images, by both, and by what is written in them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from ragcore.catalog import Catalog, FileState, NewDocument
from ragcore.catalog.documents import store_document
from ragcore.errors import UnreadableFile, UsageError
from ragcore.models import ImageTextEncoder
from ragcore.readers.images import phash, pixels_sha256, thumbnail
from ragcore.search import SearchEngine, Stores
from ragcore.settings import Settings
from ragcore.types import NONE_OF_THESE, ReadDocument, ReadImage, SearchQuery
from ragcore.weights import WeightStore

from ..shared_models import models_of


def photographs() -> dict[str, Image.Image]:
    """Two photographs out of a Python package, parts of them, and drawings."""
    from sklearn.datasets import load_sample_image

    temple = Image.fromarray(load_sample_image("china.jpg"))
    flower = Image.fromarray(load_sample_image("flower.jpg"))
    receipt = Image.new("RGB", (300, 400), "white")
    draw = ImageDraw.Draw(receipt)
    for n in range(12):
        draw.text((20, 20 + 30 * n), f"item {n}   {n * 3}.50", fill="black")
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    return {
        "temple.jpg": temple,
        "flower.jpg": flower,
        "scan 0017.png": receipt,
        "roof.png": temple.crop((330, 60, 560, 240)).resize((320, 250)),
        "stripes.png": Image.fromarray(np.repeat(noise[:1], 240, axis=0)),
    }


@pytest.fixture(scope="session")
def image_encoder(starter_weights: WeightStore) -> ImageTextEncoder:
    return models_of(Settings(threads=2)).image_text_encoder()


@pytest.fixture(scope="session")
def vectors(image_encoder: ImageTextEncoder) -> dict[str, np.ndarray]:
    images = photographs()
    return dict(zip(images, image_encoder.encode_images(list(images.values())), strict=True))


@pytest.fixture
def images(
    catalog: Catalog,
    stores: Stores,
    settings: Settings,
    image_encoder: ImageTextEncoder,
    vectors: dict[str, np.ndarray],
) -> Iterator[SearchEngine]:
    row = catalog.create_collection("default")
    space = image_encoder.space
    space_id = catalog.space_id(space.name, "image", space.dimension)
    catalog.use_space(row.id, space_id, "image")
    for name, image in photographs().items():
        record = ReadImage(
            width=image.width,
            height=image.height,
            pixels_sha256=pixels_sha256(image),
            thumbnail=thumbnail(image),
            phash=phash(image),
            text="Receipt no. 4711, Zanzibar Hardware" if name.startswith("scan") else "",
        )
        new = NewDocument(
            FileState(f"/images/{name}", name, 1000, 0),
            ReadDocument("image/png", name, images=(record,)),
            [],
            image_vectors={space_id: vectors[name][None]},
            media=[""],
        )
        with catalog.write() as session:
            store_document(session, row.id, new)
    engine = SearchEngine(catalog, stores, settings, models=models_of(Settings(threads=2)))
    yield engine
    engine.close()


def names(engine: SearchEngine, **fields: object) -> list[str]:
    query = SearchQuery(kind="images", **fields)  # type: ignore[arg-type]
    return [Path(hit.path).name for hit in engine.search(query).hits]


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def test_by_words(images: SearchEngine) -> None:
    assert names(images, text="a flower", cutoff=0.0)[0] == "flower.jpg"
    assert names(images, text="a temple", cutoff=0.0)[0] in ("temple.jpg", "roof.png")


def test_by_what_is_written_in_them(images: SearchEngine) -> None:
    result = images.search(SearchQuery(text="receipt Zanzibar", kind="images"))
    hit = result.hits[0]
    assert Path(hit.path).name == "scan 0017.png"
    assert hit.kind == "image"
    assert hit.why.lexical is not None
    assert hit.why.matched == ("Receipt", "Zanzibar")
    assert hit.text.startswith("Receipt no. 4711")


def test_by_an_image(images: SearchEngine, tmp_path: Path) -> None:
    flower = photographs()["flower.jpg"]
    brighter = ImageEnhance.Brightness(flower).enhance(1.3)
    assert names(images, image=encoded(brighter, "JPEG"))[0] == "flower.jpg"
    path = tmp_path / "query.webp"
    brighter.save(path)
    assert names(images, image=path)[0] == "flower.jpg"


def test_composed(images: SearchEngine) -> None:
    temple = encoded(photographs()["temple.jpg"])
    assert names(images, image=temple, cutoff=0.0)[0] == "temple.jpg"
    moved = names(images, image=temple, text="a flower", image_weight=0.2, cutoff=0.0)
    assert moved[0] == "flower.jpg"


def test_the_same_image(images: SearchEngine) -> None:
    temple = photographs()["temple.jpg"]
    turned = temple.transpose(Image.Transpose.ROTATE_90).convert("L").convert("RGB")
    result = images.search(SearchQuery(image=encoded(turned), same_image=True))
    assert Path(result.hits[0].path).name == "temple.jpg"
    assert "flower.jpg" not in [Path(hit.path).name for hit in result.hits]
    other = Image.fromarray(np.random.default_rng(5).integers(0, 255, (200, 200, 3), np.uint8))
    assert images.search(SearchQuery(image=encoded(other), same_image=True)).hits == ()


def test_filters(images: SearchEngine) -> None:
    found = names(images, text="a flower", where={"name": "*.png"}, cutoff=0.0)
    assert set(found) == {"scan 0017.png", "roof.png", "stripes.png"}


def test_everything_at_once(images: SearchEngine, add) -> None:  # type: ignore[no-untyped-def]
    add("/docs/garden.txt", ["Plant flowers in spring, when the frost is over."])
    hits = images.search(SearchQuery(text="flowers", cutoff=0.0)).hits
    assert {hit.kind for hit in hits} == {"passage", "image"}
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)


def test_labels_of_a_collection(images: SearchEngine) -> None:
    found = images.label(["flower", "temple", "receipt"], collection="default", top=2)
    best = {Path(one.hit.path).name: one.labels[0].name for one in found}
    assert best["flower.jpg"] == "flower"
    assert best["temple.jpg"] == "temple"
    assert len(found) == 5
    assert all(len(one.labels) == 2 for one in found)
    scores = [one.hit.score for one in found]
    assert scores == sorted(scores, reverse=True)
    assert [one.hit.score for one in found] == [one.labels[0].probability for one in found]
    one = images.label(["flower", "temple"], collection="default", where={"name": "flower"})
    assert [(Path(o.hit.path).name, o.labels[0].name) for o in one] == [("flower.jpg", "flower")]
    assert sum(label.probability for label in one[0].labels) == pytest.approx(1, abs=1e-5)


def test_none_of_the_labels_is_an_answer_where_it_is_wanted(images: SearchEngine) -> None:
    names = ["flower", "temple"]
    found = images.label(names, collection="default", top=3, none=True)
    best = {Path(one.hit.path).name: one.labels[0].name for one in found}
    assert best["flower.jpg"] == "flower"
    assert best["temple.jpg"] == "temple"
    assert NONE_OF_THESE in best.values(), best
    for one in found:
        assert {label.name for label in one.labels} == {*names, NONE_OF_THESE}
        assert sum(label.probability for label in one.labels) == pytest.approx(1, abs=1e-5)
    without = images.label(names, collection="default", top=3)
    assert all(label.name != NONE_OF_THESE for one in without for label in one.labels)
    with pytest.raises(UsageError, match="given twice"):
        images.label([*names, "None of these"], collection="default", none=True)


def test_labels_of_images_agree_with_those_of_the_collection(
    images: SearchEngine, tmp_path: Path
) -> None:
    path = tmp_path / "flower.png"
    photographs()["flower.jpg"].save(path)
    labels = ["flower", "temple", "dog"]
    alone, again = images.label_images([path, path.read_bytes()], labels, top=3)
    assert alone == again
    stored = images.label(labels, collection="default", where={"name": "flower"})[0].labels
    assert [label.name for label in alone] == [label.name for label in stored]
    assert alone[0].probability == pytest.approx(stored[0].probability, abs=0.05)
    with pytest.raises(UnreadableFile, match="nowhere"):
        images.label_images([tmp_path / "nowhere.png"], labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "at least two"),
        (["dog"], "at least two"),
        (["dog", "  "], "label 2 is empty"),
        (["dog", "cat", "Dog"], "'Dog' is given twice"),
        (["a  b", "a b"], "'a b' is given twice"),
        ([str(n) for n in range(2_001)], "too many"),
        ("dog", "a list of names"),
    ],
)
def test_labels_that_are_no_choice(images: SearchEngine, labels: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        images.label(labels, collection="default")
    with pytest.raises(UsageError, match=message):
        images.label_images([b"never read"], labels)
