"""What a GGUF file says, and what is said of a wrong one; adapters that do not fit."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ragcore.errors import MissingExtra, ModelUnavailable, RagcoreError, UsageError
from ragcore.llm.adapters import CONFIG, WEIGHTS
from ragcore.llm.gguf_file import find_gguf, read_gguf, read_vocabulary
from ragcore.llm.gguf_lora import adapter_gguf
from ragcore.llm.llamacpp import LlamaCppLLM
from ragcore.models import Constraint, Models, Sampling
from ragcore.settings import Settings
from ragcore.types import Message


def test_the_header_is_read(tiny_gguf: Path) -> None:
    model = read_gguf(tiny_gguf)
    assert (model.architecture, model.context_length, model.quantization) == ("llama", 2048, "F32")
    assert (model.heads, model.kv_heads, model.layers) == (4, 2, 2)
    assert model.bytes == tiny_gguf.stat().st_size
    assert model.shapes["blk.0.attn_k.weight"] == (32, 64)
    assert {"<|im_start|>", "<|im_end|>"} <= set(model.marks)


@pytest.fixture(scope="module")
def sentencepiece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of one layer and random weights whose tokens are SentencePiece's, as Llama 2's."""
    import gguf
    import numpy as np

    rng = np.random.default_rng(3)
    words = ["I", "i", "don", "'", "t", "know", ".", "blue", "red", *"abcdefghjklmnopqrsuvwxyz"]
    plain = ["\u2581", *words, *(f"\u2581{word}" for word in words)]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *plain]
    kinds = [2, 3, 3, *[6] * 256, *[1] * len(plain)]
    file = tmp_path_factory.mktemp("spm") / "spm.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(1)
    writer.add_context_length(256)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(i) for i in range(len(tokens))])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_chat_template(
        "{{ bos_token }}{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}"
    )
    shapes = {"attn_q": (32, 32), "attn_k": (32, 32), "attn_v": (32, 32), "attn_output": (32, 32),
              "ffn_gate": (64, 32), "ffn_up": (64, 32), "ffn_down": (32, 64)}  # fmt: skip
    weights = {f"blk.0.{name}.weight": rng.normal(0, 0.3, shape) for name, shape in shapes.items()}
    for name in ("blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"):
        weights[name] = np.ones(32)
    for name in ("token_embd.weight", "output.weight"):
        weights[name] = rng.normal(0, 0.5, (len(tokens), 32))
    for name, value in weights.items():
        writer.add_tensor(name, value.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_tokens_of_sentencepiece(sentencepiece: Path, tmp_path: Path) -> None:
    """The prompt begins with one beginning-of-text; words are found with the space in front."""
    llm = LlamaCppLLM(sentencepiece, name="spm", cache=tmp_path, threads=1)
    ask = [Message("user", "red </s> blue")]
    assert llm.render(ask) == "[INST] red (/ s) blue [/INST]"
    with llm.weights.lease() as loaded:
        tokens = loaded.server.tokens(llm.render(ask), marks=True)
        assert tokens.count(1) == 1
        known = read_vocabulary(sentencepiece)
        assert set(llm._tokens_of(loaded, "I")) == {
            known[text] for text in ("I", "i", "\u2581I", "\u2581i")
        }
    answer = "".join(llm.stream(ask, Sampling(max_tokens=12, banned_words=("I",))))
    assert "i" not in answer.lower().split()
    choices = Constraint(choices=("red", "blue"))
    assert "".join(llm.stream(ask, constraint=choices)) in ("red", "blue")
    assert 0 < llm.likelihood(ask, "I don't know.") < 1
    assert 0 < llm.likelihood(ask, "\u6771\u4eac") < llm.likelihood(ask, "\u6771") < 1
    pattern = r"[a-d]{3}_\d(x|y)?"
    written = Constraint(regex=pattern)
    assert re.fullmatch(pattern, "".join(llm.stream(ask, constraint=written)))
    schema = {
        "type": "object",
        "properties": {"a_b": {"type": "boolean"}, "n": {"type": "integer"}, "k": {"enum": ["-]"]}},
        "required": ["a_b", "n", "k"],
        "additionalProperties": False,
    }
    value = json.loads("".join(llm.stream(ask, constraint=Constraint(json_schema=schema))))
    assert (type(value["a_b"]), type(value["n"]), value["k"]) == (bool, int, "-]")
    for refused in (
        Constraint(regex="(?=a)a"),
        Constraint(json_schema={"type": "string", "pattern": "^a+$"}),
    ):
        with pytest.raises(UsageError, match=r"cannot be made a grammar|no schema with a pattern"):
            list(llm.stream(ask, constraint=refused))
    assert 0 < llm.likelihood(ask, answer) < 1


def _broken(tiny_gguf: Path, folder: Path, how: str) -> Path:
    data, file = tiny_gguf.read_bytes(), folder / "broken.gguf"
    made = {
        "empty": b"",
        "text": b"<!DOCTYPE html> 404",
        "version": data[:4] + b"\x07\0\0\0" + data[8:],
        "header": data[:3_000],
        "nonsense": data[:8] + b"\xff" * 64 + data[72:],
        "short": data[:-5_000],
    }
    file.write_bytes(made[how])
    return file


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("empty", "is empty"),
        ("text", "does not begin with GGUF"),
        ("version", "version 7 is unknown"),
        ("header", "ends early"),
        ("nonsense", "ends early"),
        ("short", "bytes; download it again"),
    ],
)
def test_what_is_wrong_with_a_broken_file(
    tiny_gguf: Path, tmp_path: Path, how: str, message: str
) -> None:
    file = _broken(tiny_gguf, tmp_path, how)
    with pytest.raises(ModelUnavailable, match=message) as error:
        LlamaCppLLM(file, name="broken", cache=tmp_path)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_which_file_of_a_folder(tiny_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="no GGUF file"):
        find_gguf(tmp_path)
    for name in ("a-q4.gguf", "mmproj-a.gguf"):
        (tmp_path / name).write_bytes(b"")
    assert find_gguf(tmp_path).name == "a-q4.gguf"
    (tmp_path / "a-q8.gguf").write_bytes(b"")
    with pytest.raises(UsageError, match=r"a-q4\.gguf, a-q8\.gguf"):
        find_gguf(tmp_path)
    assert find_gguf(tmp_path, "a-q8.gguf").name == "a-q8.gguf"
    with pytest.raises(ModelUnavailable, match=r"has no file b\.gguf"):
        find_gguf(tmp_path, "b.gguf")
    split = tmp_path / "split"
    split.mkdir()
    for number in (1, 2):
        (split / f"m-0000{number}-of-00002.gguf").write_bytes(b"")
    assert find_gguf(split).name == "m-00001-of-00002.gguf"


def _profile(folder: Path, weights: str, options: str = "{ threads = 1 }") -> Models:
    path = folder / "profile.toml"
    path.write_text(
        f'name = "p"\n[llm]\nkind = "llama.cpp"\nweights = "{weights}"\noptions = {options}\n'
    )
    return Models(Settings(profile=str(path), weights_cache=folder / "weights"))


def test_a_profile_names_a_file_or_a_folder(tiny_gguf: Path, tmp_path: Path) -> None:
    for weights in (str(tiny_gguf), str(tiny_gguf.parent)):
        models = _profile(tmp_path, f"local:{weights}", "{ threads = 1, slots = 1 }")
        assert models.llm().context_length == 2048
        [status] = models_status(models, f"local:{weights}")
        assert (status.state, status.size) == ("ready", tiny_gguf.stat().st_size)


def models_status(models: Models, name: str):  # type: ignore[no-untyped-def]
    from ragcore.weights import WeightStore

    return WeightStore(models.settings).status([name])


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        ("local:/nowhere/m.gguf", "{ threads = 1 }", "there is no file /nowhere/m.gguf"),
        ("TINY", "{ color = 1 }", "color"),
        ("TINY", "{ slots = 0 }", "slots must be between 1 and 64"),
        ("TINY", "{ context_length = 9999 }", "trained on 2048 tokens"),
        ("TINY", "{ idle_seconds = -1 }", "idle_seconds"),
    ],
)
def test_mistakes_in_a_profile_are_named(
    tiny_gguf: Path, tmp_path: Path, weights: str, options: str, message: str
) -> None:
    models = _profile(tmp_path, weights.replace("TINY", f"local:{tiny_gguf}"), options)
    with pytest.raises(RagcoreError, match=message):
        models.llm()


def test_an_adapter_is_no_model(tiny_gguf: Path, tiny_adapters: Path, tmp_path: Path) -> None:
    file = adapter_gguf(tiny_adapters / "left", read_gguf(tiny_gguf), tmp_path, name="left")
    with pytest.raises(ModelUnavailable, match="holds no model"):
        read_gguf(file)


def test_an_adapter_is_converted_once(tiny_gguf: Path, tiny_adapters: Path, tmp_path: Path) -> None:
    model = read_gguf(tiny_gguf)
    first = adapter_gguf(tiny_adapters / "left", model, tmp_path, name="left")
    stamp = first.stat().st_mtime_ns
    assert adapter_gguf(tiny_adapters / "left", model, tmp_path, name="left") == first
    assert first.stat().st_mtime_ns == stamp
    assert adapter_gguf(tiny_adapters / "right", model, tmp_path, name="right") != first
    assert len(list(tmp_path.iterdir())) == 2


def _changed(source: Path, folder: Path, **config: object) -> Path:
    shutil.copytree(source, folder)
    known = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(known | config))
    return folder


def test_adapters_that_do_not_fit(tiny_gguf: Path, tiny_adapters: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model, left = read_gguf(tiny_gguf), tiny_adapters / "left"

    def refused(folder: Path, message: str, kind: type[RagcoreError] = UsageError) -> None:
        with pytest.raises(kind, match=message):
            adapter_gguf(folder, model, tmp_path / "cache", name="mine")

    refused(_changed(left, tmp_path / "dora", use_dora=True), "plain LoRA")
    refused(_changed(left, tmp_path / "pattern", rank_pattern={"q_proj": 2}), "rank pattern")
    wide = _changed(left, tmp_path / "wide")
    state = load_file(wide / WEIGHTS)
    doubled = {k: v.repeat(1, 2) if "lora_A" in k else v.repeat(2, 1) for k, v in state.items()}
    save_file(doubled, wide / WEIGHTS)
    refused(wide, "another base model .*64 x 64 in the model, 128 x 128 in the adapter")
    deep = _changed(left, tmp_path / "deep")
    save_file({k.replace("layers.1.", "layers.7."): v for k, v in state.items()}, deep / WEIGHTS)
    refused(deep, r"another base model .*layers\.7")
    (deep / WEIGHTS).write_bytes(b"broken")
    refused(deep, "cannot be read", ModelUnavailable)
    assert not (tmp_path / "cache").exists()


def test_rank_stabilized_adapters_keep_their_scale(
    tiny_gguf: Path, tiny_adapters: Path, tmp_path: Path
) -> None:
    import gguf

    folder = _changed(tiny_adapters / "left", tmp_path / "rs", use_rslora=True)
    file = adapter_gguf(folder, read_gguf(tiny_gguf), tmp_path / "cache", name="rs")
    alpha = gguf.GGUFReader(file).fields["adapter.lora.alpha"].contents()
    assert alpha / 4 == pytest.approx(8 / 4**0.5)  # what peft multiplies with: alpha / sqrt(r)


def test_a_missing_package_is_one_line(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtra, match=r'pip install "ragcore\[llamacpp\]"'):
        LlamaCppLLM(tiny_gguf, name="t", cache=tmp_path)


@pytest.mark.full
def test_a_missing_openmp_library_is_one_line(tmp_path: Path) -> None:
    """With the package as it is, but for the name of the library that the loader looks for."""
    spec = find_spec("xllamacpp")
    assert spec is not None
    assert spec.origin is not None
    copy = tmp_path / "xllamacpp"
    shutil.copytree(Path(spec.origin).parent, copy)
    [binary] = copy.glob("*.so")
    data = binary.read_bytes()
    assert data.count(b"libgomp.so.1\0") == 1
    binary.write_bytes(data.replace(b"libgomp.so.1\0", b"libgomp.so.X\0"))
    script = (
        "from ragcore.llm.llamacpp_server import native\n"
        "try:\n    native()\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    assert done.stdout.strip() == (
        "ModelUnavailable llama.cpp cannot be started: the system library libgomp.so.1 is "
        "missing: apt-get install libgomp1"
    )
