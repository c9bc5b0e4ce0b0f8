"""The loader, driven by a user's profile over small models in the hub's layout."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from ragcore.encoders.loader import (
    image_text_encoder,
    loaded,
    reranker,
    space_prefix,
    text_encoder,
    unload,
)
from ragcore.errors import UsageError
from ragcore.settings import Settings
from ragcore.weights import WeightStore, load_profile

from .small_models import save_clip, save_cross_encoder, save_llm, save_text_encoder

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

    pulled = WeightStore(standard_like).pull_profile(load_profile(standard_like))
    assert len(pulled) == 4
    encoder = text_encoder(standard_like)
    assert encoder.space.name == f"owner/small-encoder@{COMMIT[:8]}"
    assert encoder.encode(["the red ship", "tax law"]).shape == (2, 32)
    pictures = image_text_encoder(standard_like)
    assert pictures.space.dimension == 32
    vectors = pictures.encode_images([Image.new("RGB", (40, 30), colour) for colour in ("red", 0)])
    assert vectors.shape == (2, 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert pictures.encode_texts(["a red picture"]).shape == (1, 32)
    cross = reranker(standard_like)
    assert cross is not None
    assert cross.scores("law", ["tax law", "ship"]).shape == (2,)


def test_models_are_shared_counted_and_unloaded(standard_like: Settings) -> None:
    unload()
    encoder = text_encoder(standard_like)
    assert text_encoder(standard_like) is encoder
    assert not loaded()  # nothing is loaded before it is used
    encoder.encode(["dog"])
    (model,) = loaded()
    assert (model.part, model.device, model.precision) == ("text_encoder", "cpu", "float32")
    assert model.bytes > 10_000
    assert unload(model.name) == 1
    assert not loaded()
    assert text_encoder(standard_like) is not encoder


def test_a_profile_without_a_part_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bare.toml"
    path.write_text('name = "bare"\n')
    bare = Settings(home=tmp_path, profile=str(path))
    with pytest.raises(UsageError, match="no text encoder"):
        text_encoder(bare)
    with pytest.raises(UsageError, match="no image-text encoder"):
        image_text_encoder(bare)
    assert reranker(bare) is None


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
