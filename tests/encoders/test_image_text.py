"""Image-text encoders: a small model saved in the hub's layout, and starter-clip itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragcore.encoders.image_text import OpenClipEncoder
from ragcore.errors import ModelUnavailable, RagcoreError, UsageError
from ragcore.models import ModelContext, Models
from ragcore.settings import Settings
from ragcore.weights import ModelRef

CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {
        "image_size": 32,
        "layers": 1,
        "width": 32,
        "patch_size": 8,
        "head_width": 16,
    },
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 1,
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("clip")
    model = open_clip.CLIP(**json.loads(json.dumps(CONFIG)))
    save_file(model.state_dict(), path / "open_clip_model.safetensors")
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    return path


def random_images(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 255, (30 + i, 50, 3), dtype=np.uint8)) for i in range(count)
    ]


def test_vectors_are_unit_and_do_not_depend_on_batches(folder: Path, settings: Settings) -> None:
    one = OpenClipEncoder(f"local:{folder}", settings=settings, backend="torch", batch_size=1)
    many = OpenClipEncoder(f"local:{folder}", settings=settings, backend="torch", batch_size=4)
    images = random_images(7)
    vectors = many.encode_images(images)
    assert vectors.shape == (7, 24)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(vectors, one.encode_images(images), atol=1e-5)
    texts = ["a dog", "a much longer text about two dogs on a beach", ""]
    np.testing.assert_allclose(
        many.encode_texts(texts)[1], one.encode_texts(texts[1:2])[0], atol=1e-5
    )


def test_openvino_gives_the_vectors_of_torch(folder: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, weights_cache=tmp_path / "weights")
    images = random_images(3)
    torch_vectors = OpenClipEncoder(
        f"local:{folder}", settings=settings, backend="torch"
    ).encode_images(images)
    for _ in range(2):  # converted, then read back from the cache
        encoder = OpenClipEncoder(f"local:{folder}", settings=settings, backend="openvino")
        np.testing.assert_allclose(encoder.encode_images(images), torch_vectors, atol=1e-4)
        assert "openvino" in encoder.runs_on


def test_other_modes_and_nothing_at_all(folder: Path, settings: Settings) -> None:
    encoder = OpenClipEncoder(f"local:{folder}", settings=settings, backend="torch")
    gray = random_images(1)[0].convert("L")
    vectors = encoder.encode_images([gray, gray.convert("RGB"), gray.convert("RGBA")])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert encoder.encode_images([]).shape == (0, 24)
    assert encoder.encode_texts([]).shape == (0, 24)


def test_the_space_changes_with_the_weights(folder: Path, tmp_path: Path) -> None:
    import shutil

    settings = Settings(home=tmp_path)
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    before = OpenClipEncoder(f"local:{copy}", settings=settings).space
    weights = copy / "open_clip_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(bytes(data))
    after = OpenClipEncoder(f"local:{copy}", settings=settings).space
    assert before.name != after.name
    assert before.dimension == after.dimension == 24


def test_wrong_names_are_said(tmp_path: Path, settings: Settings) -> None:
    for name, error, expected in [
        ("no-such-architecture/x", UsageError, "unknown image-text model"),
        ("ViT-B-32/no-such-tag", UsageError, "no pretrained weights 'no-such-tag'"),
        (f"local:{tmp_path}", ModelUnavailable, "open_clip_config.json"),
    ]:
        with pytest.raises(error, match=expected):
            _ = OpenClipEncoder(name, settings=settings).space
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    with pytest.raises(ModelUnavailable, match="no weights"):
        _ = OpenClipEncoder(f"local:{tmp_path}", settings=settings).space
    reference = ModelRef("starter-clip", "open_clip", {"x": 1})
    context = ModelContext(settings, Models(settings), "image_text_encoder")
    with pytest.raises(UsageError, match="unknown option"):
        context.make("image_text_encoders", reference, part="image_text_encoder")


def test_a_missing_gpu_is_an_error(folder: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    encoder = OpenClipEncoder(
        f"local:{folder}", settings=Settings(home=tmp_path, device="cuda"), backend="torch"
    )
    with pytest.raises(RagcoreError, match="cuda"):
        encoder.warm_up()


def test_starter_clip_knows_things_and_scenes(starter_weights) -> None:
    """On a drawn scene only shapes of results; words against words show that meaning is kept."""
    encoder = OpenClipEncoder("starter-clip", settings=Settings())
    dog, puppy, piano = encoder.encode_texts(["a dog", "a puppy", "a grand piano"])
    assert encoder.space.dimension == 1320
    assert dog @ puppy > dog @ piano
    vectors = encoder.encode_images(random_images(2))
    assert vectors.shape == (2, 1320)
    assert np.isfinite(vectors).all()


def test_names_lean_on_classes_and_sentences_on_captions(starter_weights) -> None:
    encoder = OpenClipEncoder("starter-clip", settings=Settings())
    name, sentence = encoder.encode_texts(["dog", "a brown dog runs over a green field"])
    assert np.linalg.norm(name[256:]) > 0.8
    assert np.linalg.norm(sentence[:256]) > 0.8
    assert np.linalg.norm(sentence[256:]) > 0.05
