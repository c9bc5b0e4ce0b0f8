"""`ragcore models add`: what a model is, its license, and the profile that is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ragcore.errors import ModelUnavailable, UsageError
from ragcore.library import Library
from ragcore.library.model_adding import inspect_model
from ragcore.llm.hub_vision import HubVisionLLM
from ragcore.llm.transformers_llm import TransformersLLM
from ragcore.models import ModelMemory, Models, Sampling
from ragcore.models.device import place
from ragcore.models.memory import HostBudget
from ragcore.settings import Settings
from ragcore.types import Message
from ragcore.weights import load_profile

from ..weights.hub_server import serve_model

ASK = [Message("user", "Name three colors.")]
BERT = {"architectures": ["BertModel"], "hidden_size": 384, "max_position_embeddings": 512}


def write(folder: Path, **files: object) -> Path:
    """A folder in the hub's layout: JSON by path (dots are __, slashes are ___)."""
    for name, content in {"model__safetensors": "", **files}.items():
        path = folder / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    (folder / "model.safetensors").write_bytes(b"\0" * 1000)
    return folder


def test_each_kind_of_model_is_known_by_its_files(tmp_path: Path) -> None:
    pooling = {"word_embedding_dimension": 384}
    limit = {"max_seq_length": 256}
    encoder = write(
        tmp_path / "encoder", config__json=BERT, modules__json=[], sentence_bert_config__json=limit
    )
    write(encoder, **{"1_Pooling___config__json": pooling})
    found = inspect_model(str(encoder))
    assert (found.part, found.kind) == ("text_encoder", "sentence-transformers")
    assert (found.dimension, found.length, found.bytes) == (384, 256, 1000)
    reranker = {**BERT, "architectures": ["BertForSequenceClassification"], "id2label": {"0": "x"}}
    found = inspect_model(str(write(tmp_path / "reranker", config__json=reranker)))
    assert (found.part, found.kind, found.length) == ("reranker", "cross-encoder", 512)
    vision = {"architectures": ["Qwen3VLForConditionalGeneration"], "vision_config": {"depth": 2},
              "text_config": {"max_position_embeddings": 4096}}  # fmt: skip
    found = inspect_model(
        str(write(tmp_path / "vision", config__json=vision, chat_template__jinja="x"))
    )
    assert (found.part, found.length, found.template) == ("vision_llm", 4096, True)
    clip = {"model_cfg": {"embed_dim": 768, "text_cfg": {"context_length": 64}}}
    found = inspect_model(str(write(tmp_path / "clip", open_clip_config__json=clip)))
    assert (found.part, found.dimension, found.length) == ("image_text_encoder", 768, 64)
    index = {"_class_name": "StableDiffusionPipeline"}
    found = inspect_model(str(write(tmp_path / "sd", model_index__json=index)))
    assert (found.part, found.kind) == ("diffusion", "diffusers")


def test_what_no_profile_runs_is_one_line_that_says_why(tmp_path: Path) -> None:
    classifier = {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "", "1": ""},
    }
    for name, files, complaint in (
        ("a", {"config__json": {**BERT, "auto_map": {"AutoModel": "x.Y"}}}, "code of its own"),
        ("b", {"config__json": classifier}, "a classifier with 2 labels"),
        ("c", {"config__json": {"architectures": ["WhisperForAudio"]}}, "is a WhisperForAudio"),
        ("d", {"adapter_config__json": {}}, "`ragcore adapters add`"),
        ("e", {}, "has none of config.json"),
    ):
        with pytest.raises(UsageError, match=complaint):
            inspect_model(str(write(tmp_path / name, **files)))
    pickled = write(tmp_path / "f", config__json=BERT)
    (pickled / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="pickled weights are not read"):
        inspect_model(str(pickled))
    for name, complaint in (
        ("/no/such", "no model"), ("https://example.org/x.gguf", "no model of the hub"),
        ("word", "no model"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=complaint):
            inspect_model(name)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Has huggingface_hub ask another address, and cache below `tmp_path`."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return monkeypatch


def ask_hub(patch: pytest.MonkeyPatch, address: str) -> None:
    from huggingface_hub import constants

    patch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def test_a_license_is_shown_accepted_once_and_asked_again_when_it_changes(
    settings: Settings, tiny_model: Path, hub: pytest.MonkeyPatch
) -> None:
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    with Library(settings) as library:
        with serve_model("owner/tiny", files, license="apache-2.0") as address:
            ask_hub(hub, address)
            found = library.models.add("hub:owner/tiny", dry_run=True)
            assert (found.report.part, found.report.license) == ("llm", "apache-2.0")
            assert found.report.template
            assert (found.accepted, found.profile) == (False, None)
            assert found.need > found.report.bytes > 1000
            with pytest.raises(UsageError, match=r"license apache-2.0.*--accept-license"):
                library.models.add(f"{address.replace('127.0.0.1', 'huggingface.co')}/owner/tiny")
            added = library.models.add("hub:owner/tiny", accept_license=True)
            assert added.profile is not None
            assert library.models.add("hub:owner/tiny").accepted
        with serve_model("owner/tiny", files, license="gpl-3.0") as address:
            ask_hub(hub, address)
            assert not library.models.add("hub:owner/tiny", dry_run=True).accepted
            for name in ("hub:owner/other", "hub:owner/tiny@none"):
                with pytest.raises(ModelUnavailable, match="cannot be looked up"):
                    inspect_model(name)
    profile = load_profile(settings.model_copy(update={"profile": str(added.profile)}))
    assert profile.llm is not None
    assert (profile.llm.name, profile.llm.kind) == ("hub:owner/tiny", "transformers")
    ask_hub(hub, "http://127.0.0.1:9")
    with pytest.raises(ModelUnavailable, match="cannot be looked up"):  # nothing answers
        inspect_model("hub:owner/tiny")


def test_a_gguf_file_answers_after_it_was_added(settings: Settings, tiny_gguf: Path) -> None:
    with Library(settings) as library:
        found = library.models.add(str(tiny_gguf), dry_run=True)
        assert (found.report.kind, found.report.length, found.report.template) == (
            "llama.cpp", 2048, True,
        )  # fmt: skip
        assert found.fits
        added = library.models.add(str(tiny_gguf), accept_license=True)
        with pytest.raises(UsageError, match=r"not of kind llama\.cpp"):
            library.models.add(str(tiny_gguf), quantization="4bit")
    made = Models(settings.model_copy(update={"profile": str(added.profile)}))
    assert "".join(made.llm().stream(ASK, Sampling(max_tokens=3)))


def test_device_map_and_bits_are_options_of_the_profile(
    tiny_model: Path, settings: Settings
) -> None:
    plain, mapped = (
        TransformersLLM(tiny_model, name="tiny", placement=place(settings), device_map=one)
        for one in ("", "auto")
    )
    sampling = Sampling(max_tokens=4)
    assert list(plain.stream(ASK, sampling)) == list(mapped.stream(ASK, sampling))
    for made in (TransformersLLM, HubVisionLLM):
        with pytest.raises(UsageError, match="unknown quantization '3bit'"):
            made(tiny_model, name="tiny", placement=place(settings), quantization="3bit")
    quantized = TransformersLLM(
        tiny_model, name="tiny", placement=place(settings), quantization="4bit"
    )
    ratio = plain.weights.expected() / quantized.weights.expected()
    assert ratio == pytest.approx(plain.placement.dtype.itemsize * 2, rel=0.01)
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        with pytest.raises(ModelUnavailable, match="pip install bitsandbytes"):
            quantized.warm_up()


def test_what_is_larger_than_the_computer_is_refused_with_a_smaller_one() -> None:
    most = HostBudget().total()
    memory = ModelMemory(lambda _: HostBudget())
    for part, smaller in (("llm", "a GGUF file"), ("text_encoder", "choose a smaller profile")):
        weights = memory.weights(
            lambda: torch.nn.Linear(1, 1), part=part, name="huge", size=lambda: most + 1
        )
        with pytest.raises(ModelUnavailable, match=rf"huge needs .* GiB .*{smaller}"):
            weights.lease().__enter__()
