from __future__ import annotations

from pathlib import Path

import pytest

from ragcore.errors import UsageError
from ragcore.llm.adapters import AdapterStore, attach
from ragcore.llm.transformers_llm import TransformersLLM
from ragcore.models.device import place
from ragcore.settings import Settings
from ragcore.types import Message


@pytest.fixture
def store(settings: Settings, tiny_adapters: Path) -> AdapterStore:
    made = AdapterStore(settings)
    for name in ("left", "right"):
        made.add(tiny_adapters / name)
    return made


def logits(model: Path, adapter: Path | None):
    import torch
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(model)
    if adapter is not None:
        loaded = attach(loaded, adapter, "a")
    with torch.inference_mode():
        return loaded(input_ids=torch.arange(5, 25)[None]).logits[0]


def test_list_inspect_remove(store: AdapterStore, tiny_model: Path) -> None:
    names = [info.name for info in store.list()]
    assert {"left", "right"} <= set(names)
    info = store.inspect("left")
    assert (info.rank, info.alpha, info.base) == (4, 8.0, str(tiny_model))
    assert info.targets == ("q_proj", "v_proj")
    store.remove("left")
    with pytest.raises(UsageError, match="no adapter 'left'"):
        store.inspect("left")
    with pytest.raises(UsageError, match="is not here"):
        store.remove("left")


def test_names_and_folders_are_checked(
    store: AdapterStore, tmp_path: Path, tiny_adapters: Path
) -> None:
    with pytest.raises(UsageError, match="no adapter name"):
        store.add(tiny_adapters / "left", "../outside")
    with pytest.raises(UsageError, match="exists"):
        store.add(tiny_adapters / "left")
    with pytest.raises(UsageError, match="is no adapter"):
        store.add(tmp_path, "empty")
    with pytest.raises(UsageError):
        store.remove("../left")


def test_combination_is_the_weighted_sum_of_updates(store: AdapterStore, tiny_model: Path) -> None:
    """On one linear layer: combined delta = 0.7 left + 0.3 right."""
    import torch
    from transformers import AutoModelForCausalLM

    info = store.combine({"left": 0.7, "right": 0.3}, "both")
    assert info.rank == 8

    def delta(adapter: str):
        base = AutoModelForCausalLM.from_pretrained(tiny_model)
        before = base.model.layers[1].self_attn.q_proj.weight.detach().clone()
        merged = attach(base, store.find(adapter), "x").merge_and_unload()
        return merged.model.layers[1].self_attn.q_proj.weight.detach() - before

    expected = 0.7 * delta("left") + 0.3 * delta("right")
    assert torch.allclose(delta("both"), expected, atol=2e-2)
    assert expected.abs().max() > 0.5


def test_merged_model_answers_as_with_the_adapter(
    store: AdapterStore, tiny_model: Path, tmp_path: Path
) -> None:
    import torch

    merged = store.merge("left", tmp_path / "merged")
    assert (merged / "model.safetensors").exists()
    assert (merged / "tokenizer.json").exists()
    expected = logits(tiny_model, store.find("left"))
    assert torch.allclose(logits(merged, None), expected, atol=1e-3)
    assert not torch.allclose(logits(tiny_model, None), expected, atol=1e-1)
    with pytest.raises(UsageError, match="not empty"):
        store.merge("left", merged)


def test_store_feeds_the_llm(store: AdapterStore, tiny_model: Path, settings: Settings) -> None:
    llm = TransformersLLM(
        tiny_model, name="tiny", placement=place(settings), adapter="left", adapters=store.find
    )
    llm.warm_up()
    with pytest.raises(UsageError, match="no adapter 'nothing'"):
        list(llm.stream([Message("user", "Hello")], adapter="nothing"))
    with pytest.raises(UsageError, match="no message"):
        list(llm.stream([]))
