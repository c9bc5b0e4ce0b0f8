"""Each capability once with the models that people get first: the starter profile's."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragcore import Library, SearchQuery, Settings
from ragcore.cli.demo import altered, copy_files
from ragcore.diffusion import ImagineRequest
from ragcore.weights import WeightStore
from tests.tuning.classifier_samples import draw_classes
from tests.waiting import TIMEOUT

HANDBOOK = "Brightwater Instruments Staff Handbook"
COLORS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def library(
    starter_weights: WeightStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Library]:
    """The handbook, nine photographs, and 24 drawn images of three colors."""
    root = tmp_path_factory.mktemp("starter")
    copy_files(root)
    draw_classes(root / "drawn")
    settings = Settings(home=root / "home", profile="starter", ocr="off", workers=1)
    with Library(settings) as library:
        sample = [root / "documents" / "staff-handbook.pdf", root / "photographs"]
        assert not library.ingest(sample, collection="sample").failed
        assert not library.ingest([root / "drawn"], collection="drawn").failed
        yield library


@pytest.fixture(scope="module")
def photographs(library: Library) -> Path:
    return library.admin.settings.home.parent / "photographs"


def best(library: Library, query: SearchQuery) -> str:
    return Path(library.search(query).hits[0].path).name


def test_search_finds_other_words_for_the_same(library: Library) -> None:
    query = SearchQuery(text="playing foosball in working hours", collection="sample", cutoff=0)
    hit = library.search(query).hits[0]
    assert (hit.document, hit.page) == (HANDBOOK, 4)
    assert "table games" in hit.text


def test_a_question_is_answered_with_its_page(library: Library) -> None:
    question = "Are we allowed to play foosball during working hours?"
    answer = library.ask(question, collection="sample")
    assert answer.text.startswith("No")
    assert [(one.document, one.page) for one in answer.citations] == [(HANDBOOK, 4)]


def test_images_are_found_by_words(library: Library) -> None:
    query = SearchQuery(text="a flower", kind="images", collection="sample", cutoff=0)
    assert best(library, query) == "photo-08.jpg"


def test_an_altered_copy_is_found(library: Library, photographs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jpg"
    altered(Image.open(photographs / "photo-02.jpg")).save(copy)
    query = SearchQuery(image=copy, same_image=True, kind="images", collection="sample")
    assert best(library, query) == "photo-02.jpg"


def test_words_decide_what_is_made(library: Library) -> None:
    def color(prompt: str) -> np.ndarray:
        request = ImagineRequest(
            prompt=prompt, style="twemoji", seed=0, count=2, steps=12, scale=6.0
        )
        made = [Image.open(io.BytesIO(one.png)) for one in library.imagine(request).images]
        stack = np.stack([np.asarray(image.convert("RGB"), float) for image in made])
        return np.asarray(stack[stack.min(axis=-1) < 200].mean(axis=0))

    red, blue = color("red heart"), color("blue heart")
    assert red[0] - red[2] > blue[0] - blue[2] + 60


def test_captions_say_what_is_seen(library: Library, photographs: Path) -> None:
    captions = [library.images.caption(photographs / f"photo-0{n}.jpg").text for n in (8, 9)]
    assert all(len(caption.split()) > 2 for caption in captions)
    assert captions[0] != captions[1]


def test_a_classifier_learns_from_a_few_examples(library: Library) -> None:
    truth = {one.id: Path(one.path).parent.name for one in library.images.list("drawn", limit=100)}
    library.labels.set_classes("color", "image", list(COLORS), collection="drawn")
    for name in COLORS:
        items = [item for item, color in truth.items() if color == name][:5]
        library.labels.give("color", "image", items, name, collection="drawn")
    job = library.jobs.wait(library.jobs.start_training("color", collection="drawn"), TIMEOUT)
    assert job.state == "done", job.error
    library.classifiers.classify("color", collection="drawn")
    found = library.labels.of("image", list(truth))
    assert sum(found[item][0].label == color for item, color in truth.items()) >= 22
