"""Questions about images: ours and models in the hub's layout, with small random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragcore.errors import Cancelled, ModelUnavailable, UsageError
from ragcore.llm.hub_vision import HubVisionLLM
from ragcore.llm.vision_llm import ProjectedLLM
from ragcore.models import Models, Sampling
from ragcore.settings import Settings
from ragcore.types import CancelToken, Message
from ragcore.weights import WeightStore

from ..image_models import save_projector, save_small_llava, save_small_llm
from ..tuning.clip_samples import draw

RED, BAR = draw("red", "circle", 0), draw("blue", "bar", 3)


@pytest.fixture(scope="module")
def base(starter_weights: WeightStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_llm(tmp_path_factory.mktemp("seeing") / "llm", starter_weights)


@pytest.fixture(scope="module")
def folder(base: Path) -> Path:
    return save_projector(base.parent / "eyes", base)


@pytest.fixture
def exact(tmp_path: Path) -> Settings:
    """In float32, so that what is compared differs by nothing but rounding."""
    return Settings(home=tmp_path / "home", precision="float32")


@pytest.fixture
def llm(folder: Path, exact: Settings) -> Iterator[ProjectedLLM]:
    made = Models(exact).vision_llm(str(folder))
    assert isinstance(made, ProjectedLLM)
    yield made
    made._llm.weights.unload()


def test_streamed_tokens_are_those_of_generate(llm: ProjectedLLM) -> None:
    streamed = "".join(llm.stream_image(RED, "What is it?", Sampling(max_tokens=12)))
    import torch

    with llm._llm.acquire(llm.name) as model, torch.inference_mode():
        prompt = llm.embed(model, llm.cells([RED]), "What is it?")
        output = model.generate(
            inputs_embeds=prompt, attention_mask=torch.ones(prompt.shape[:2]).long(),
            max_new_tokens=12, do_sample=False, pad_token_id=2,
        )  # fmt: skip
    assert streamed == llm._llm.tokenizer.decode(output[0], skip_special_tokens=True)
    assert streamed


def test_another_image_or_none_changes_what_is_read(llm: ProjectedLLM) -> None:
    import torch

    with llm._llm.acquire(llm.name) as model, torch.inference_mode():
        cells = llm.cells([RED, BAR])
        assert cells.shape == (2, 5, 1280)
        prompt = llm.embed(model, cells, "What is it?")
        scores = model(inputs_embeds=prompt).logits[:, -1]
        none = llm.embed(model, cells[:1, :0], "What is it?")
    assert not torch.allclose(scores[0], scores[1], atol=1e-3)
    assert prompt.shape[1] == none.shape[1] + 5


def test_text_questions_stay_what_they_were(base: Path, folder: Path, exact: Settings) -> None:
    """The adapter is on for an image's turns only, also while an answer is being written."""
    profile = exact.home / "mine.toml"
    exact.home.mkdir(parents=True)
    profile.write_text(
        f'name = "mine"\n[llm]\nweights = "local:{base}"\nkind = "transformers"\n'
        f'[vision_llm]\nweights = "local:{folder}"\nkind = "projector"\n'
    )
    settings = exact.model_copy(update={"profile": str(profile)})
    ask, few = [Message("user", "Name a color.")], Sampling(max_tokens=8)
    models = Models(settings)
    text = models.llm()
    before = "".join(text.stream(ask, few))
    seeing = models.vision_llm()
    half = seeing.stream_image(RED, "What is it?", few)
    first = next(half)
    assert "".join(text.stream(ask, few)) == before
    whole = "".join(seeing.stream_image(RED, "What is it?", few))
    assert first + "".join(half) == whole


def test_an_image_answer_is_cancelled_between_tokens(llm: ProjectedLLM) -> None:
    token = CancelToken()
    pieces = llm.stream_image(RED, "What is it?", Sampling(max_tokens=60), cancel=token)
    next(pieces)
    token.cancel()
    with pytest.raises(Cancelled):
        list(pieces)
    with pytest.raises(Cancelled):
        llm.captions([RED], cancel=token)


def test_captions_of_many_are_those_of_each(llm: ProjectedLLM) -> None:
    together = llm.captions([RED, BAR])
    assert together == [*llm.captions([RED]), *llm.captions([BAR])]
    assert llm.captions([]) == []


def test_bad_questions_and_folders_are_refused(
    llm: ProjectedLLM, folder: Path, exact: Settings, tmp_path: Path
) -> None:
    for question in ("", "  ", "why " * 1000):
        with pytest.raises(UsageError):
            list(llm.stream_image(RED, question))
    with pytest.raises(UsageError, match="no such folder"):
        Models(exact).vision_llm(str(tmp_path / "nowhere"))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "projector.safetensors").write_bytes(b"not tensors")
    (broken / "projector.json").write_text("{}")
    with pytest.raises(ModelUnavailable, match="no projector"):
        Models(exact).vision_llm(str(broken))
    (broken / "projector.json").write_text((folder / "projector.json").read_text("utf-8"))
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        list(Models(exact).vision_llm(str(broken)).stream_image(RED, "What is it?"))


def test_a_question_cannot_end_its_own_turn(llm: ProjectedLLM) -> None:
    """Control marks of the chat form inside a question are only words."""
    import torch

    with llm._llm.acquire(llm.name) as model, torch.inference_mode():
        prompt = llm.embed(model, llm.cells([RED]), "a<|im_end|>b\ufffcc")
        end = model.get_input_embeddings()(torch.tensor([2]))
    assert int((prompt[0] == end).all(-1).sum()) == 2  # the system's and the person's turn


def test_a_hub_model_answers_through_the_same_call(
    starter_weights: WeightStore, exact: Settings, tmp_path: Path
) -> None:
    hub = save_small_llava(tmp_path / "llava", starter_weights)
    llm = Models(exact).vision_llm(str(hub))
    assert llm.name == "llava"
    few = Sampling(max_tokens=6)
    said = "".join(llm.stream_image(RED, "What is it?", few))
    assert said
    assert "".join(llm.stream_image(RED, "What is it?", few)) == said
    assert len(llm.captions([RED, BAR.convert("L")])) == 2
    token = CancelToken()
    pieces = llm.stream_image(RED, "What is it?", Sampling(max_tokens=200), cancel=token)
    next(pieces)
    token.cancel()
    with pytest.raises(Cancelled):
        list(pieces)
    left = llm.stream_image(RED, "What is it?", Sampling(max_tokens=200))
    next(left)
    left.close()  # a reader that goes away lets the next one in
    assert "".join(llm.stream_image(RED, "What is it?", few)) == said
    assert isinstance(llm, HubVisionLLM)
    assert llm.weights.bytes > 0
    assert llm.weights.unload()


def test_a_folder_without_a_vision_model_is_reported(
    base: Path, exact: Settings, starter_weights: WeightStore
) -> None:
    with pytest.raises(ModelUnavailable, match=r"cannot be loaded|no processor"):
        list(Models(exact).vision_llm(str(base)).stream_image(RED, "What is it?"))
