"""Texts encoded without torch: the same vectors, for the folders that allow it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ragcore.encoders.bert import Bert
from ragcore.encoders.image_text import OpenClipEncoder
from ragcore.encoders.quick_text import find_quick_text
from ragcore.encoders.text import SentenceTransformerEncoder
from ragcore.errors import ModelUnavailable
from ragcore.models import ModelMemory
from ragcore.models.device import Placement
from ragcore.settings import Settings
from ragcore.weights import WeightStore

CPU = Placement("cpu", "float32", 1, "")
TEXTS = [
    "How many days of leave are there?",
    "flutter",
    "",
    "A naïve café — “quoted”, &amp; more\tthan one\nline 東京 ﬁ",
    "The river gauge at the bridge reads two metres above its usual level. " * 12,
]


@pytest.fixture(scope="module")
def minilm() -> Path:
    return WeightStore(Settings()).ensure("minilm-l6-v2")


def encoder(
    folder: Path, *, quick: bool, memory: ModelMemory | None = None, **options: object
) -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(
        folder,
        name="minilm",
        revision="0",
        placement=CPU,
        options=options,
        memory=memory,
        quick=quick,
    )


@pytest.mark.parametrize("options", [{}, {"query_prompt": "query: ", "max_tokens": 16}])
def test_quick_vectors_are_the_models_own(minilm: Path, options: dict[str, object]) -> None:
    memory = ModelMemory()
    quick = encoder(minilm, quick=True, memory=memory, **options)
    full = encoder(minilm, quick=False, **options)
    found = quick.encode(TEXTS, kind="query")
    assert [one.precision for one in memory.loaded()] == ["float32 (numpy)"]
    assert quick.space == full.space
    expected = full.encode(TEXTS, kind="query")
    assert found.dtype == np.float32
    assert np.sum(found * expected, axis=1).min() > 0.99999


def test_many_texts_load_the_model_which_then_does_all(minilm: Path) -> None:
    memory = ModelMemory()
    quick = encoder(minilm, quick=True, memory=memory)
    first = quick.encode(TEXTS[:1])
    passages = quick.encode(["The bridge was closed for repairs. " * 6] * 80)
    assert [one.precision for one in memory.loaded()] == ["float32"]
    assert len(passages) == 80
    np.testing.assert_allclose(quick.encode(TEXTS[:1]), first, atol=1e-5)


def test_starter_clip_reads_words_without_its_image_tower() -> None:
    memory = ModelMemory()
    settings = Settings(precision="auto")
    quick = OpenClipEncoder("starter-clip", settings=settings, memory=memory)
    words = [*TEXTS, "a dog", "two children play football in the park"]
    found = quick.encode_texts(words)
    assert [one.precision for one in memory.loaded()] == ["float32 (numpy, texts only)"]
    full = OpenClipEncoder("starter-clip", settings=Settings(precision="float32"))
    assert quick.space == full.space
    assert np.sum(found * full.encode_texts(words), axis=1).min() > 0.9999


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("config.json", {"model_type": "mpnet"}),
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"position_embedding_type": "relative_key"}),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}),
        ("1_Pooling/config.json", {"include_prompt": False}),
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("sentence_bert_config.json", {"max_seq_length": None}),
    ],
)
def test_other_models_are_left_to_torch(
    minilm: Path, tmp_path: Path, file: str, changed: dict[str, object]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(minilm, folder, copy_function=_link)
    assert find_quick_text(folder) is not None
    path = folder / file
    config = json.loads(path.read_text("utf-8")) | changed
    path.unlink()  # a link to the original
    path.write_text(json.dumps(config), "utf-8")
    assert find_quick_text(folder) is None


def test_the_first_token_is_pooled_where_the_folder_says_so(minilm: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(minilm, folder, copy_function=_link)
    path = folder / "1_Pooling" / "config.json"
    path.unlink()
    path.write_text(
        json.dumps({"word_embedding_dimension": 384, "pooling_mode_cls_token": True}), "utf-8"
    )
    found = encoder(folder, quick=True).encode(TEXTS)
    expected = encoder(folder, quick=False).encode(TEXTS)
    assert np.sum(found * expected, axis=1).min() > 0.99999


def test_a_folder_without_its_tensors_is_refused_in_one_line(minilm: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(minilm, folder, copy_function=_link)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").write_text("{}", "utf-8")
    assert Bert.can_read(folder)
    with pytest.raises(ModelUnavailable, match="cannot be loaded as a text encoder"):
        encoder(folder, quick=True).encode(["a"])


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(source)
