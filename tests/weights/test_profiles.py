"""Profiles: ours are complete, a user's own is read, mistakes are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ragcore.errors import MissingExtra, ModelUnavailable, UsageError
from ragcore.models import Models
from ragcore.settings import Settings
from ragcore.weights import (
    ModelRef,
    Profile,
    WeightStore,
    load_profile,
    origin_of,
    profile_names,
)
from ragcore.weights.profiles import parse_profile
from ragcore.weights.registry import find_entry

MINIMAL = (
    'name = "mine"\n[text_encoder]\nweights = "minilm-l6-v2"\nkind = "sentence-transformers"\n'
)


def test_our_profiles_are_complete() -> None:
    assert profile_names() == ["large", "standard", "starter", "tiny"]
    for name in profile_names():
        profile = load_profile(Settings(profile=name))
        assert profile.name == name
        assert profile.description
        assert profile.text_encoder
        assert profile.image_text_encoder
        assert profile.llm
        for _, reference in profile.parts():
            for weights in (reference.name, *reference.also):
                assert find_entry(weights).license != "unknown"


def test_starter_needs_no_hub() -> None:
    for _, reference in load_profile(Settings()).parts():
        names = [reference.name, *reference.also, *find_entry(reference.name).requires]
        assert {find_entry(name).provider for name in names} <= {"wheel", "parts", "package"}


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\n'
        '[text_encoder]\nweights = "local:models/text"\nkind = "sentence-transformers"\n'
        'options = { query_prompt = "query: " }\n'
        '[llm]\nweights = "gpt-oss"\nkind = "openai"\noptions = { url = "x" }\n'
    )
    profile = load_profile(Settings(profile=str(path)))
    assert profile.text_encoder == ModelRef(
        f"local:{tmp_path}/models/text", "sentence-transformers", {"query_prompt": "query: "}
    )
    assert profile.llm is not None
    assert not profile.llm.needs_weights
    assert profile.llm.name == "gpt-oss"
    assert (profile.reranker, profile.image_text_encoder) == (None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "max = 3\n", "unknown key 'text_encoder.max'"),
        ("color = 1\n" + MINIMAL, "unknown key 'color'"),
        (MINIMAL.replace("minilm-l6-v2", "minilm"), "text_encoder: unknown weights 'minilm'"),
        (
            MINIMAL.replace("sentence-transformers", "word2vec"),
            "unknown kind 'word2vec': use ollama",
        ),
        (MINIMAL.replace('name = "mine"\n', ""), "name: field required"),
        (MINIMAL.replace("weights =", "weight ="), "text_encoder.weights: field required"),
        (MINIMAL.replace('"minilm-l6-v2"', "7"), "text_encoder.weights: "),
        ("name = \n", "not valid TOML"),
        (MINIMAL + 'also = ["nothing"]\n', "unknown weights 'nothing'"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_profile(text, where="mine.toml")
    assert str(error.value).startswith("mine.toml: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_profiles(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown profile 'huge': use large, standard, starter"):
        load_profile(Settings(profile="huge"))
    with pytest.raises(UsageError, match="cannot be read"):
        load_profile(Settings(profile=str(tmp_path / "no.toml")))


def test_parts_name_the_control_nets() -> None:
    text = MINIMAL + '[controlnets.canny]\nweights = "hub:a/b@c"\nkind = "diffusers"\n'
    profile: Profile = parse_profile(text, where="x")
    assert [part for part, _ in profile.parts()] == ["text_encoder", "controlnet.canny"]


FALLBACK = """
name = "two"
[llm]
weights = "local:{missing}"
kind = "{kind}"
[llm.otherwise]
weights = "local:{folder}"
kind = "transformers"
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_another_model_stands_in_where_the_first_cannot_be_had(
    tmp_path: Path, small: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = FALLBACK.format(missing=tmp_path / "none.gguf", folder=small, kind="transformers")
    profile = parse_profile(text, where="two")
    store = WeightStore(Settings(home=tmp_path, weights_cache=tmp_path / "cache"))
    assert store.pull_profile(profile) == {f"local:{small}": small}
    (line,) = caplog.messages
    assert line.startswith(f"local:{small} stands in for local:{tmp_path / 'none.gguf'}: ")
    assert profile.llm is not None
    assert store.fetch(profile.llm) == profile.llm.otherwise


def test_another_model_stands_in_where_the_extra_is_missing(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ragcore import extras

    text = FALLBACK.format(missing=small, folder=small, kind="llama.cpp")
    reference = parse_profile(text, where="two").llm
    assert reference is not None
    assert reference.extra == "llamacpp"
    store = WeightStore(Settings(home=tmp_path, weights_cache=tmp_path / "cache"))
    assert store.fetch(reference) == reference
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    assert store.fetch(reference) == reference.otherwise
    monkeypatch.undo()
    alone = replace(reference, otherwise=None)
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    with pytest.raises(MissingExtra, match=r"ragcore\[llamacpp\]"):
        store.fetch(alone)


def test_only_a_language_model_has_another_one() -> None:
    text = FALLBACK.format(missing="/a", folder="/b", kind="onnx").replace("llm", "reranker")
    with pytest.raises(UsageError, match=r"unknown key 'reranker\.otherwise'"):
        parse_profile(text, where="two")


def test_two_formats_of_one_model_have_one_origin() -> None:
    assert origin_of("qwen2.5-0.5b") == origin_of("qwen2.5-0.5b-gguf") == "qwen2.5-0.5b-gguf"
    assert origin_of("hub:a/b") == "hub:a/b"


RERANKER = """
name = "reranked"
[reranker]
weights = "local:{folder}"
kind = "onnx"
search = {search}
optional = {optional}
"""


def test_work_goes_on_without_an_optional_reranker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def models(optional: str) -> Models:
        path = tmp_path / f"{optional}.toml"
        text = RERANKER.format(folder=tmp_path / "none", search="false", optional=optional)
        path.write_text(text)
        return Models(Settings(home=tmp_path, weights_cache=tmp_path / "cache", profile=str(path)))

    strict = models("false")
    assert strict.profile.reranker is not None
    assert not strict.profile.reranker.for_search
    with pytest.raises(ModelUnavailable):
        strict.reranker()
    relaxed = models("true")
    assert relaxed.reranker() is None
    assert relaxed.reranker() is None
    (line,) = caplog.messages
    assert line.startswith(f"going on without local:{tmp_path / 'none'}, an optional model: ")
    store = WeightStore(relaxed.settings)
    assert store.pull_profile(relaxed.profile) == {}
