"""What runs differently on a CUDA GPU: every kind of model, in half precision.

    python -m pytest tests/gpu

Small models with random weights are saved and loaded; the starter's weights take part where
they are in the cache. Nothing is downloaded. A package that only one test needs (diffusers,
peft, xgrammar, a FAISS built for GPUs) may be missing: that test is left out, and says so.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from ragcore.encoders.reranker import CrossEncoderReranker
from ragcore.encoders.text import SentenceTransformerEncoder
from ragcore.llm.transformers_llm import TransformersLLM
from ragcore.models import Constraint, Sampling
from ragcore.models.device import Placement, place
from ragcore.settings import Settings
from ragcore.types import Message
from ragcore.weights import WeightStore

from ..encoders.small_models import save_clip, save_cross_encoder, save_llm, save_text_encoder

pytestmark = pytest.mark.gpu

GPU = Settings(device="cuda")
CPU = Placement("cpu", "float32", 1, "to compare with")
TEXTS = ["the red ship", "a dog", "", "what is the law of the sea ?", *["green river " * 20] * 9]
ASK = [Message("user", "what is the law of the sea ?")]


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def on_the_gpu(model: torch.nn.Module) -> bool:
    return all(p.is_cuda for p in model.parameters())


def cached(name: str) -> Path:
    """The folder of weights that are here already; never a download."""
    store = WeightStore(Settings())
    if store.status([name])[0].state != "ready":
        pytest.skip(f"the weights {name} are not in the cache")
    return store.ensure(name)


def text_encoder(folder: Path, placement: Placement) -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(folder, name="text", revision="0", placement=placement)


def test_the_gpu_is_chosen_by_itself_and_in_half_precision() -> None:
    for settings in (Settings(), GPU):
        for family in ("transformer", "convolution"):
            placed = place(settings, family)
            assert (placed.device, placed.precision) == ("cuda", "bfloat16"), placed
    assert place(Settings(device="cuda", precision="float16")).precision == "float16"


@pytest.mark.parametrize("precision", ["auto", "float16", "float32"])
def test_text_vectors_are_those_of_a_cpu(tmp_path: Path, precision: str) -> None:
    folder = save_text_encoder(tmp_path)
    here = text_encoder(folder, place(GPU.model_copy(update={"precision": precision})))
    vectors = here.encode(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    there = text_encoder(folder, CPU)
    assert cosines(vectors, there.encode(TEXTS)).min() > (0.9999 if "32" in precision else 0.99)
    assert here.space == there.space
    with here.weights.lease() as model:
        assert on_the_gpu(model)


def test_starter_text_vectors_keep_their_meaning() -> None:
    folder = cached("minilm-l6-v2")
    texts = ["a dog", "a puppy", "tax law", "The tide follows the moon. " * 30]
    vectors = text_encoder(folder, place(GPU)).encode(texts)
    assert cosines(vectors, text_encoder(folder, CPU).encode(texts)).min() > 0.999
    assert vectors[0] @ vectors[1] > 0.6 > 0.3 > vectors[0] @ vectors[2]


def test_reranker_keeps_its_order(tmp_path: Path) -> None:
    folder = save_cross_encoder(tmp_path)
    passages = ["the red ship", "a green river", "tax law", "what is the sea"]
    make = CrossEncoderReranker
    here = make(folder, name="r", placement=place(GPU)).scores("the sea", passages)
    there = make(folder, name="r", placement=CPU).scores("the sea", passages)
    np.testing.assert_allclose(here, there, atol=0.1)


def test_images_and_words_share_a_space(tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    from PIL import Image

    from ragcore.encoders.image_text import OpenClipEncoder

    name = f"local:{save_clip(tmp_path)}"
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(0, 255, (40 + i, 60, 3), dtype=np.uint8)) for i in range(9)
    ]
    here = OpenClipEncoder(name, settings=GPU)
    there = OpenClipEncoder(
        name, settings=Settings(device="cpu", precision="float32"), backend="torch"
    )
    assert here.runs_on.startswith("cuda bfloat16")
    image_vectors, texts = here.encode_images(images), here.encode_texts(["a dog", "the red ship"])
    assert cosines(image_vectors, there.encode_images(images)).min() > 0.99
    assert cosines(texts, there.encode_texts(["a dog", "the red ship"])).min() > 0.99
    assert on_the_gpu(here.network)


def test_starter_clip_finds_the_right_image() -> None:
    pytest.importorskip("open_clip")
    from PIL import Image

    from ragcore.encoders.image_text import OpenClipEncoder

    for name in ("minilm-l6-v2", "efficientnet-lite0"):
        cached(name)
    samples = Path(__file__).resolve().parents[2] / "data"
    paths = sorted(p for p in samples.rglob("*") if p.suffix in (".jpg", ".png", ".webp"))[:6]
    images = [Image.open(path).convert("RGB") for path in paths]
    vectors = OpenClipEncoder(settings=GPU).encode_images(images)
    other = OpenClipEncoder(settings=Settings(device="cpu")).encode_images(images)
    assert cosines(vectors, other).min() > 0.99


def test_llm_generates_in_bfloat16(tmp_path: Path) -> None:
    folder = save_llm(tmp_path)
    llm = TransformersLLM(folder, name="tiny", placement=place(GPU))
    text = "".join(llm.stream(ASK, Sampling(max_tokens=24)))
    assert text == "".join(llm.stream(ASK, Sampling(max_tokens=24)))  # greedy: the same again
    with llm.acquire() as model:
        assert on_the_gpu(model)
        assert model.dtype == torch.bfloat16
    drawn = Sampling(max_tokens=24, temperature=1.0, top_p=0.9, seed=7, repetition_penalty=1.1)
    assert "".join(llm.stream(ASK, drawn)) == "".join(llm.stream(ASK, drawn))


def test_two_answers_at_once_are_those_of_one_after_the_other(tmp_path: Path) -> None:
    llm = TransformersLLM(save_llm(tmp_path), name="tiny", placement=place(GPU))
    questions = [[Message("user", text)] for text in ("a dog", "the red ship", "tax law")]
    alone = ["".join(llm.stream(q, Sampling(max_tokens=20))) for q in questions]
    together = [""] * len(questions)

    def answer(i: int) -> None:
        together[i] = "".join(llm.stream(questions[i], Sampling(max_tokens=20)))

    threads = [threading.Thread(target=answer, args=(i,)) for i in range(len(questions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_starter_llm_answers_and_follows_a_schema() -> None:
    llm = TransformersLLM(cached("smollm2-135m-instruct"), name="smollm2", placement=place(GPU))
    ask = [Message("user", "What is the capital of France? Answer in one word.")]
    assert "paris" in "".join(llm.stream(ask, Sampling(max_tokens=24))).lower()
    pytest.importorskip("xgrammar")
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
              "additionalProperties": False}  # fmt: skip
    text = "".join(
        llm.stream(ask, Sampling(max_tokens=64), constraint=Constraint(json_schema=schema))
    )
    assert isinstance(json.loads(text)["city"], str)


def test_an_adapter_changes_the_answer(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    folder = save_llm(tmp_path)
    config = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
    )
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config)
    for key, value in model.named_parameters():
        if "lora_" in key:
            torch.nn.init.normal_(value, std=1.0)
    model.save_pretrained(tmp_path / "adapters" / "loud")
    llm = TransformersLLM(
        folder,
        name="tiny",
        placement=place(GPU),
        adapters=lambda name: tmp_path / "adapters" / name,
    )
    plain = "".join(llm.stream(ASK, Sampling(max_tokens=24)))
    assert "".join(llm.stream(ASK, Sampling(max_tokens=24), adapter="loud")) != plain
    assert "".join(llm.stream(ASK, Sampling(max_tokens=24))) == plain


def test_images_are_drawn_on_the_gpu(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    from PIL import Image

    from ragcore.diffusion import Imaginer, ImagineRequest
    from ragcore.diffusion.stable import StableModel

    from ..diffusion.tiny_stable import make_stable

    folder = make_stable(tmp_path / "sd")
    request = ImagineRequest(prompt="red apple", steps=3, seed=3)
    drawn = [
        Imaginer(StableModel(folder, name="sd", device="cuda")).imagine(request).images[0].png
        for _ in range(2)
    ]
    assert drawn[0] == drawn[1]  # one seed, one image
    assert Image.open(io.BytesIO(drawn[0])).size == (32, 32)


@pytest.mark.parametrize("kind", ["ivf", "compressed"])
def test_an_index_is_trained_on_the_gpu(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("faiss")
    from ragcore.vectors import index_types
    from ragcore.vectors.faiss_store import FaissStore

    if not index_types.gpu_available():
        pytest.skip("this FAISS was not built for GPUs")
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((20_000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = FaissStore(tmp_path / "store", 64, kind=kind, device="cuda")
    store.add(np.arange(len(vectors)), vectors)
    _, found = store.search(vectors[:100], 1)
    assert (found[:, 0] == np.arange(100)).mean() > 0.9


def test_doctor_says_what_runs_where(tmp_path: Path) -> None:
    for package in ("sqlalchemy", "alembic", "faiss"):
        pytest.importorskip(package)
    command = [sys.executable, "-m", "ragcore.cli.main", "doctor", "--json"]
    environment = {**os.environ, "RAGCORE_HOME": str(tmp_path / "home")}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.stdout, result.stderr
    device = json.loads(result.stdout)["device"]
    assert device["device"] == "cuda"
    assert device["precision"] == "bfloat16"
    assert device["gpu"]
    assert device["gpu_bytes"] > 0
