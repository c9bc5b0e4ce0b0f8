"""A model folder as GGUF, read back and held against the original."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragcore.errors import UsageError
from ragcore.llm.gguf_export import Precision, export_gguf

TEXT = "Document 1 (Rules, page 12):\nThe café opens at 9:30.\n\nQuestion: When does it open?"


def logits_of(folder: Path, **how: object) -> object:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, **how)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **how).eval()
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        return ids, model(ids).logits[0], tokenizer


@pytest.mark.full
@pytest.mark.parametrize(("precision", "allowed"), [("f32", 1e-3), ("f16", 0.02)])
def test_read_back_it_says_the_same(
    tiny_model: Path, tmp_path: Path, precision: Precision, allowed: float
) -> None:
    file = export_gguf(tiny_model, tmp_path / "tiny.gguf", precision=precision)
    ids, logits, tokenizer = logits_of(tiny_model)
    read_ids, read_logits, read_tokenizer = logits_of(tmp_path, gguf_file=file.name)
    assert read_ids.tolist() == ids.tolist()
    assert read_tokenizer.chat_template == tokenizer.chat_template
    spread = float(logits.std())
    assert float((read_logits - logits).abs().max()) < allowed * spread
    assert not list(tmp_path.glob(".*"))


def test_what_is_not_a_llama_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UsageError, match="Llama"):
        export_gguf(tmp_path, tmp_path / "out.gguf")
    with pytest.raises(UsageError, match="no model"):
        export_gguf(tmp_path / "nowhere", tmp_path / "out.gguf")


def test_an_existing_file_is_kept(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "there.gguf"
    file.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists"):
        export_gguf(tiny_model, file)
    assert file.read_bytes() == b"mine"
