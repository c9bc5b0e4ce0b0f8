"""Another model for a collection: the old space answers until the new one is complete."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragcore.catalog.embeddings import iter_embeddings
from ragcore.errors import Cancelled, UsageError
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.types import CancelToken, Progress
from ragcore.weights import WeightStore


@pytest.fixture(scope="module")
def other_profile(tmp_path_factory: pytest.TempPathFactory, starter_weights: WeightStore) -> Path:
    """A profile whose text model has the same weights under another name: another space."""
    folder = tmp_path_factory.mktemp("profile")
    shutil.copytree(starter_weights.ensure("minilm-l6-v2"), folder / "model", symlinks=False)
    path = folder / "mine.toml"
    path.write_text(
        'name = "mine"\n'
        '[text_encoder]\nweights = "local:model"\nkind = "sentence-transformers"\n'
        '[image_text_encoder]\nweights = "starter-clip"\nkind = "open_clip"\n'
    )
    return path


@pytest.fixture
def settings(tmp_path: Path, starter_weights: WeightStore) -> Settings:
    return Settings(home=tmp_path / "home", workers=1, ocr="off", threads=2)


@pytest.fixture
def stocked(settings: Settings, tmp_path: Path) -> Iterator[Library]:
    """Six hundred notes and an image under the starter profile."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(600):
        (folder / f"{number:03}.txt").write_text(f"Note {number} is about topic {number % 7}.")
    (folder / "heron.txt").write_text("The grey heron waits in shallow water for fish.")
    Image.new("RGB", (200, 150), "teal").save(folder / "teal.png")
    with Library(settings) as library:
        library.ingest([folder])
        yield library


@pytest.fixture
def moved(stocked: Library, settings: Settings, other_profile: Path) -> Iterator[Library]:
    """The same home under the other profile."""
    changed = settings.model_copy(update={"profile": str(other_profile)})
    with Library(changed) as library:
        yield library


def active(library: Library, modality: str = "text") -> str:
    row = library.admin.catalog.active_space(
        library.admin.catalog.collection("default").id, modality
    )
    assert row is not None
    return row.name


def vectors(library: Library) -> np.ndarray:
    collection = library.admin.catalog.collection("default").id
    space = library.admin.catalog.active_space(collection, "text")
    assert space is not None
    with library.admin.catalog.read() as session:
        return np.concatenate([part for _, part in iter_embeddings(session, collection, space.id)])


def test_other_model_is_refused_until_the_collection_is_re_embedded(
    stocked: Library, moved: Library, tmp_path: Path
) -> None:
    before, old = vectors(stocked), active(stocked)
    fresh = tmp_path / "fresh.txt"
    fresh.write_text("The kingfisher dives for small fish.")
    with pytest.raises(UsageError, match="ragcore models use --collection"):
        moved.ingest([fresh], collection="default")
    report = moved.admin.reembed()
    assert report.embedded == {"text": 601, "image": 0}, "the image is in its space already"
    assert active(moved) == moved.admin.models.text_encoder().space.name != old
    np.testing.assert_allclose(vectors(moved), before, atol=2e-3)
    hits = moved.search("which bird eats fish", kind="passages", cutoff=0.0).hits
    assert hits[0].document == "heron.txt"
    assert moved.admin.doctor().healthy


def test_stopped_run_leaves_the_old_space_active_and_is_resumed(
    stocked: Library, moved: Library
) -> None:
    old = active(stocked)
    token = CancelToken()

    def stop(step: Progress) -> None:
        assert step.total == 601
        token.cancel()

    with pytest.raises(Cancelled):
        moved.admin.reembed(progress=stop, cancel=token)
    assert active(stocked) == old
    assert stocked.search("which bird eats fish", kind="passages", cutoff=0.0).hits
    report = moved.admin.reembed()
    assert 0 < report.embedded["text"] < 601, "what was embedded was not embedded again"
    assert active(moved) != old
    assert moved.admin.doctor().healthy


def test_documents_that_change_meanwhile_are_in_the_new_space(
    stocked: Library, moved: Library, tmp_path: Path
) -> None:
    changed = False

    def change(_step: Progress) -> None:
        nonlocal changed
        if not changed:
            changed = True
            (tmp_path / "notes" / "new.txt").write_text("A submarine dives under the ice.")
            (tmp_path / "notes" / "000.txt").unlink()
            stocked.ingest([tmp_path / "notes"], sync=True)

    moved.admin.reembed(progress=change)
    assert moved.documents.statistics().passages == 601
    hits = moved.search("boat below the polar ice", kind="passages", cutoff=0.0).hits
    assert hits[0].document == "new.txt"
    assert moved.admin.doctor().healthy


def test_images_whose_file_has_gone_come_from_their_thumbnails(
    stocked: Library, tmp_path: Path
) -> None:
    from sqlalchemy import delete

    from ragcore.catalog.models import Embedding

    collection = stocked.admin.catalog.collection("default").id
    space = stocked.admin.catalog.active_space(collection, "image")
    assert space is not None
    with stocked.admin.catalog.write() as session:
        session.execute(delete(Embedding).where(Embedding.space_id == space.id))
    (tmp_path / "notes" / "teal.png").unlink()
    report = stocked.admin.reembed()
    assert report.embedded == {"text": 0, "image": 1}
    assert report.from_thumbnails == 1
