"""Conversions: tensors under the right names, the same model before and after."""

from __future__ import annotations

import pytest

from ragcore.errors import ModelUnavailable
from ragcore.weights import WeightStore
from ragcore.weights.convert import pair_in_order


def test_pairs_go_by_position_and_check_shapes() -> None:
    import torch

    ours = {"a": torch.zeros(2, 3), "b": torch.zeros(3)}
    paired = pair_in_order({"x": torch.ones(2, 3), "y": torch.full((3,), 2.0)}, ours)
    assert list(paired) == ["a", "b"]
    assert paired["b"].tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(ModelUnavailable, match="expected 2 tensors"):
        pair_in_order({"x": torch.ones(2, 3)}, ours)
    with pytest.raises(ModelUnavailable, match=r"tensor y has shape \(4,\), b wants \(3,\)"):
        pair_in_order({"x": torch.ones(2, 3), "y": torch.ones(4)}, ours)


@pytest.mark.full
def test_the_image_tower_recognizes_a_photograph(starter_weights: WeightStore) -> None:
    """EfficientNet-Lite0 under timm's names knows what is on scikit-learn's sample images."""
    import timm
    import torch
    from PIL import Image
    from safetensors.torch import load_file
    from sklearn.datasets import load_sample_image

    model = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    weights = load_file(starter_weights.ensure("efficientnet-lite0") / "model.safetensors")
    assert len([name for name in weights if not name.endswith("num_batches_tracked")]) == 247
    model.load_state_dict(weights, strict=True)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    names = timm.data.ImageNetInfo()
    for image, label in (("flower.jpg", "daisy"), ("china.jpg", "palace")):
        with torch.inference_mode():
            batch = transform(Image.fromarray(load_sample_image(image)))[None]
            best = model(batch)[0].topk(5).indices.tolist()
        found = [names.index_to_description(i) for i in best]
        wanted = {"daisy": ("daisy", "dahlia", "bee"), "palace": ("palace", "boathouse", "temple")}
        assert any(word in name for name in found for word in wanted[label]), found


def test_the_llm_speaks_and_its_tokenizer_is_exact(starter_weights: WeightStore) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = starter_weights.ensure("smollm2-135m-instruct")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "Tom's 2 cats — naïve — cost 1,234.50 €\n\n\tdef f(x): return x  # 漢字 🙂"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer.tokenize("in 2023") == ["in", "Ġ", "2", "0", "2", "3"]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    question = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = model.generate(**inputs, max_new_tokens=16, do_sample=False)
    answer = tokenizer.decode(output[0][inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert "Paris" in answer
    assert output[0][-1].item() == tokenizer.eos_token_id
