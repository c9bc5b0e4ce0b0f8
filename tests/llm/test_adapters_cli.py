"""`ragcore adapters` and a collection's own adapter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ragcore.cli.main import main
from ragcore.errors import UsageError
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.types import Answer, Hit
from ragcore.weights import WeightStore

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Call `ragcore adapters ARGUMENTS`: exit code, stdout, stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["adapters", *arguments])
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return call


def value(outcome: tuple[int, str, str]) -> Any:
    assert outcome[0] == 0, outcome[2]
    return json.loads(outcome[1])


def test_every_verb_from_the_command_line(run: Run, tiny_adapters: Path, tmp_path: Path) -> None:
    added = value(run("add", str(tiny_adapters / "left"), "--json"))
    assert (added["name"], added["rank"], added["targets"]) == ("left", 4, ["q_proj", "v_proj"])
    value(run("add", str(tiny_adapters / "right"), "--name", "second", "--json"))
    assert run("add", str(tiny_adapters / "left"))[0] == 2  # it is there
    assert run("add", str(tiny_adapters / "left"), "--replace")[0] == 0
    both = value(run("combine", "left=0.7", "second=0.3", "--name", "both", "--json"))
    assert both["rank"] == 8
    assert "NAME=WEIGHT" in run("combine", "left", "--name", "x")[2]
    names = {row["name"] for row in value(run("list", "--json"))["adapters"]}
    assert names >= {"left", "second", "both", "grounded-qa"}
    assert "left: rank 4" in run()[1]
    assert value(run("inspect", "both", "--json"))["alpha"] == 8
    merged = value(run("merge", "both", str(tmp_path / "merged"), "--json"))["folder"]
    assert (Path(merged) / "model.safetensors").is_file()
    file = value(run("export", "both", str(tmp_path / "both.gguf"), "--json"))["file"]
    assert Path(file).read_bytes()[:4] == b"GGUF"
    assert value(run("remove", "both", "--yes", "--json")) == {"removed": "both"}
    assert "no adapter 'both'" in run("inspect", "both")[2]
    assert "comes with ragcore" in run("remove", "grounded-qa", "--yes")[2]


@pytest.mark.full
def test_a_collection_answers_with_its_own_adapter(
    run: Run, settings: Settings, starter_weights: WeightStore
) -> None:
    with Library(settings) as library:
        for name in ("letters", "rules"):
            library.create_collection(name)
        library.adapters.add(library.adapters.inspect("grounded-qa-qwen").folder, "mine")
        value(run("use", "none", "-c", "letters", "--json"))
        value(run("use", "mine", "-c", "rules", "--json"))
        assert value(run("list", "--json"))["collections"] == {"letters": "none", "rules": "mine"}
        assert "choose another" in run("remove", "mine", "--yes")[2]

        text = "The ferry to Holm leaves at nine. It carries eight cars."
        hit = Hit(1, "passage", 1.0, 1, "Ferry", "ferry.txt", text, span=(0, len(text)))

        def asked(collection: str, **how: str) -> Answer:
            question = "When does the ferry leave?"
            *_, last = library.ask_stream(question, collection=collection, hits=[hit], **how)
            assert last.answer is not None
            return last.answer

        tuned, bare = asked("rules"), asked("letters")
        assert "[1]" in tuned.text
        assert tuned.text == asked("letters", adapter="grounded-qa-qwen").text  # for one request
        assert bare.text == asked("rules", adapter="none").text != tuned.text
        value(run("use", "default", "-c", "rules", "--json"))
        assert run("remove", "mine", "--yes")[0] == 0


def test_an_adapter_of_another_model_is_not_chosen(
    run: Run, settings: Settings, tiny_adapters: Path
) -> None:
    with Library(settings) as library:
        library.create_collection("letters")
        library.adapters.add(tiny_adapters / "left")
        with pytest.raises(UsageError, match="is made for"):
            library.adapters.use("left", "letters")
    code, _, complaint = run("use", "nothing", "-c", "letters")
    assert code == 2
    assert "no adapter 'nothing'" in complaint


def test_plain_peft_and_vllm_take_the_shipped_folder(
    smollm: Path, settings: Settings, starter_weights: WeightStore
) -> None:
    """Peft without ragcore gives other logits than the base; vLLM's conditions hold."""
    import torch
    from peft import PeftModel
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    folder = Library(settings).adapters.inspect("grounded-qa").folder
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(smollm), str(folder))
    ids = torch.arange(100, 120)[None]
    with torch.inference_mode():
        adapted = model(input_ids=ids).logits
        with model.disable_adapter():
            bare = model(input_ids=ids).logits
    assert (adapted - bare).abs().max() > 0.5

    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["bias"] == "none"
    assert not config["modules_to_save"]
    assert not config["use_dora"]
    assert config["r"] in (8, 16, 32, 64, 128, 256)
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        keys = list(file.keys())
    form = r"base_model.model.model.layers."
    assert all(
        k.startswith(form) and k.endswith((".lora_A.weight", ".lora_B.weight")) for k in keys
    )
    assert (folder / "adapter_model.safetensors").stat().st_size < 12e6
