"""The composition root, driven by a profile over small models in the hub's layout."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ragcore import extensions
from ragcore.encoders.factories import space_prefix
from ragcore.errors import UsageError
from ragcore.models import FixedBudget, ModelContext, ModelMemory, Models, Sampling
from ragcore.settings import Settings
from ragcore.types import Message
from ragcore.weights import ModelRef, WeightStore

from ..encoders.small_models import save_clip, save_cross_encoder, save_llm, save_text_encoder

COMMIT = "3" * 39 + "c"


def put_into_hub_cache(folder: Path, cache: Path, repo: str) -> None:
    """Lay a saved model out as huggingface_hub's cache does after a download."""
    root = cache / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    for number, path in enumerate(p for p in folder.rglob("*") if p.is_file()):
        blob = root / "blobs" / f"{number:040x}"
        link = root / "snapshots" / COMMIT / path.relative_to(folder)
        blob.parent.mkdir(exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        path.rename(blob)
        link.symlink_to(blob)


@pytest.fixture
def standard_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A profile shaped like `standard`: two parts from the (offline) hub, two local ones."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    put_into_hub_cache(save_text_encoder(tmp_path), cache, "owner/small-encoder")
    put_into_hub_cache(save_clip(tmp_path), cache, "owner/small-clip")
    save_cross_encoder(tmp_path)
    save_llm(tmp_path)
    profile = tmp_path / "profile.toml"
    profile.write_text(
        'name = "small"\n'
        '[text_encoder]\nweights = "hub:owner/small-encoder"\nkind = "sentence-transformers"\n'
        '[image_text_encoder]\nweights = "hub:owner/small-clip"\nkind = "open_clip"\n'
        '[reranker]\nweights = "local:reranker"\nkind = "cross-encoder"\n'
        '[llm]\nweights = "local:llm"\nkind = "transformers"\n'
    )
    return Settings(
        home=tmp_path / "home",
        weights_cache=tmp_path / "weights",
        profile=str(profile),
        device="cpu",
        precision="float32",
    )


def test_a_whole_profile_of_hub_and_local_models(standard_like: Settings) -> None:
    from PIL import Image

    models = Models(standard_like)
    pulled = WeightStore(standard_like).pull_profile(models.profile)
    assert len(pulled) == 4
    encoder = models.text_encoder()
    assert encoder.space.name == f"owner/small-encoder@{COMMIT[:8]}"
    assert encoder.encode(["the red ship", "tax law"]).shape == (2, 32)
    images = models.image_text_encoder()
    assert images.space.dimension == 32
    vectors = images.encode_images([Image.new("RGB", (40, 30), color) for color in ("red", 0)])
    assert vectors.shape == (2, 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert images.encode_texts(["a red image"]).shape == (1, 32)
    cross = models.reranker()
    assert cross is not None
    assert cross.scores("law", ["tax law", "ship"]).shape == (2,)


def test_models_are_shared_counted_and_unloaded(standard_like: Settings) -> None:
    models = Models(standard_like)
    encoder = models.text_encoder()
    assert models.text_encoder() is encoder
    assert not models.loaded()  # nothing is loaded before it is used
    before = encoder.encode(["dog"])
    (model,) = models.loaded()
    assert (model.part, model.device, model.precision) == ("text_encoder", "cpu", "float32")
    assert model.bytes > 10_000
    assert models.unload("another") == 0
    assert models.unload(model.name) == 1
    assert not models.loaded()
    assert models.text_encoder() is encoder, "it loads again"
    np.testing.assert_array_equal(encoder.encode(["dog"]), before)
    other = Models(standard_like)
    assert other.text_encoder() is not encoder, "two roots share nothing"


def test_every_model_of_a_profile_is_in_one_list(standard_like: Settings) -> None:
    from PIL import Image

    models = Models(standard_like)
    models.text_encoder().warm_up()
    models.image_text_encoder().encode_images([Image.new("RGB", (40, 30))])
    reranker = models.reranker()
    assert reranker is not None
    reranker.scores("law", ["tax law"])
    models.llm().warm_up()
    parts = [model.part for model in models.loaded()]
    assert parts == ["text_encoder", "image_text_encoder", "reranker", "llm"], "by last use"
    assert all(model.bytes > 1000 for model in models.loaded())
    models.close()
    assert not models.loaded()


def test_one_object_however_many_ask_at_once(
    standard_like: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ragcore.encoders.text import SentenceTransformerEncoder

    loads = []
    load = SentenceTransformerEncoder._load

    def counted(self: SentenceTransformerEncoder) -> object:
        loads.append(threading.get_ident())
        return load(self)

    monkeypatch.setattr(SentenceTransformerEncoder, "_load", counted)
    models = Models(standard_like)
    together = threading.Barrier(8)

    def ask(_: int) -> object:
        together.wait(60)
        encoder = models.text_encoder()
        encoder.encode(["a dog"])
        return encoder

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert len(set(map(id, found))) == 1
    assert len(loads) == 1


def test_models_hand_a_full_device_over(standard_like: Settings) -> None:
    """The budget holds one of the models at a time; every call still gets its answer."""
    free = Models(standard_like)
    expected = free.text_encoder().encode(["a dog"])
    text = "".join(free.llm().stream([Message("user", "dog")], Sampling(max_tokens=4)))
    sizes = {model.part: model.bytes for model in free.loaded()}
    room = max(sizes.values()) + 1000
    assert sum(sizes.values()) > room
    models = Models(standard_like, memory=ModelMemory(lambda device: FixedBudget(room)))
    for _ in range(2):
        np.testing.assert_array_equal(models.text_encoder().encode(["a dog"]), expected)
        assert [model.part for model in models.loaded()] == ["text_encoder"]
        said = models.llm().stream([Message("user", "dog")], Sampling(max_tokens=4))
        assert "".join(said) == text
        assert [model.part for model in models.loaded()] == ["llm"]


def test_a_profile_without_a_part_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bare.toml"
    path.write_text('name = "bare"\n')
    bare = Models(Settings(home=tmp_path, profile=str(path)))
    for ask, result in (
        (bare.text_encoder, "no text encoder"),
        (bare.image_text_encoder, "no image-text encoder"),
        (bare.llm, "no LLM"),
        (bare.vision_llm, "no model for questions about images"),
        (bare.diffuser, "makes no images"),
    ):
        with pytest.raises(UsageError, match=result):
            ask()
    assert bare.reranker() is None


def test_what_is_no_contract_is_named(
    standard_like: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Half:
        def count_tokens(self, text: str) -> int:
            return 1

    def factory(reference: ModelRef, options: object, context: ModelContext) -> Half:
        assert context.part == "llm"
        return Half()

    monkeypatch.setattr("ragcore.llm.factories.transformers", factory)
    extensions.rediscover()
    try:
        with pytest.raises(UsageError, match=r"a Half, which has no name: it is no LLM"):
            Models(standard_like).llm()
    finally:
        extensions.rediscover()


def test_space_names_are_short() -> None:
    assert space_prefix("minilm-l6-v2") == "minilm-l6-v2"
    assert space_prefix("hub:BAAI/bge-small-en-v1.5@main") == "BAAI/bge-small-en-v1.5"
    assert space_prefix("local:/models/mine/") == "mine"


def test_the_starter_does_not_say_that_it_is_random(
    starter_weights: WeightStore, caplog: pytest.LogCaptureFixture
) -> None:
    from ragcore.encoders.starter_clip import load_starter

    load_starter(Settings())
    assert "No pretrained weights" not in caplog.text
    logging.warning("No pretrained weights loaded for another")
    assert "for another" in caplog.text, "others may still say so"
