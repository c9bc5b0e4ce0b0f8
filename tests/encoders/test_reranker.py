"""Rerankers: cross-encoders of the hub and the optional int8 ONNX one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragcore.encoders.onnx import OnnxReranker, OnnxTextEncoder
from ragcore.encoders.reranker import CrossEncoderReranker
from ragcore.errors import ModelUnavailable, UsageError
from ragcore.models.device import Placement
from ragcore.settings import Settings
from ragcore.weights import WeightStore

from .small_models import save_cross_encoder

CPU = Placement("cpu", "float32", 1, "as the test wants")
QUERY = "how many people live in Berlin?"
PASSAGES = [
    "Paris is the capital of France.",
    "Berlin has a population of 3.7 million registered inhabitants.",
    "Berlin is known for its museums.",
]


def optional(name: str) -> Path:
    """An optional entry's folder; the test is left out where it is neither here nor to be had."""
    try:
        return WeightStore(Settings()).ensure(name)
    except ModelUnavailable as error:
        pytest.skip(str(error))


def test_scores_are_the_cross_encoders_logits(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = save_cross_encoder(tmp_path)
    reranker = CrossEncoderReranker(folder, name="small", placement=CPU, options={"batch_size": 2})
    passages = ["the red ship", "a cat is a cat", "tax law of the sea", "dog"]
    scores = reranker.scores("what is law ?", passages)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        for passage, score in zip(passages, scores, strict=True):
            pair = tokenizer("what is law ?", passage, return_tensors="pt", truncation=True)
            assert model(**pair).logits[0, 0].item() == pytest.approx(score, abs=1e-5)
    assert scores.dtype == np.float32
    assert len(set(scores.tolist())) == 4
    assert reranker.scores("x", []).shape == (0,)
    assert reranker.weights.bytes > 0


def test_a_classifier_is_no_reranker(tmp_path: Path) -> None:
    folder = save_cross_encoder(tmp_path, outputs=3)
    with pytest.raises(ModelUnavailable, match="one output, this cross-encoder has 3"):
        CrossEncoderReranker(folder, name="small", placement=CPU).warm_up()


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown option 'k'"):
        CrossEncoderReranker(tmp_path, name="small", placement=CPU, options={"k": 1})
    with pytest.raises(ModelUnavailable, match="cannot be loaded as a cross-encoder"):
        CrossEncoderReranker(tmp_path, name="small", placement=CPU).scores("a", ["b"])
    with pytest.raises(ModelUnavailable, match="cannot be loaded as an ONNX model"):
        OnnxReranker(tmp_path, name="small").scores("a", ["b"])


def test_the_onnx_reranker_puts_the_answer_first() -> None:
    reranker = OnnxReranker(optional("ms-marco-minilm-l12"), name="ms-marco", threads=1)
    scores = reranker.scores(QUERY, PASSAGES)
    assert scores.argmax() == 1
    assert scores.argmin() == 0
    assert scores.dtype == np.float32
    assert reranker.scores(QUERY, []).shape == (0,)


def test_the_onnx_text_encoder_gives_unit_vectors() -> None:
    encoder = OnnxTextEncoder(
        optional("bge-small-en-v1.5"),
        name="bge",
        revision="0",
        threads=1,
        options={"pooling": "cls", "query_prompt": "Represent this sentence: "},
    )
    vectors = encoder.encode(PASSAGES)
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert (vectors @ encoder.encode([QUERY], "query")[0]).argmax() == 1
    assert encoder.encode([]).shape == (0, 384)
    assert encoder.space.name.startswith("bge@0+")
