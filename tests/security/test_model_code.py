"""No code of a model is ever run: loaders say so, and configurations that name code are refused."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from ragcore.encoders.clip_models import find_clip
from ragcore.errors import ModelUnavailable
from ragcore.settings import Settings
from ragcore.weights import WeightStore, refuse_remote_code

ROOT = Path(__file__).resolve().parents[2]
LOADERS = ("SentenceTransformer", "CrossEncoder")


def loader_calls(path: Path) -> list[ast.Call]:
    """Calls that open a model by the libraries which can run its code."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr == "from_pretrained":
            owner = node.func.value
            if not (isinstance(owner, ast.Name) and owner.id == "PeftModel"):  # it takes no such
                found.append(node)
        elif isinstance(node.func, ast.Name) and node.func.id in LOADERS:
            found.append(node)
    return found


def test_every_loader_is_reported_not_to_trust_code() -> None:
    seen = 0
    for path in sorted((ROOT / "ragcore").rglob("*.py")):
        for call in loader_calls(path):
            seen += 1
            given = {word.arg: word.value for word in call.keywords}
            where = f"{path.relative_to(ROOT)}:{call.lineno}"
            for name, value in (("trust_remote_code", False), ("local_files_only", True)):
                if name == "local_files_only" and any(word.arg is None for word in call.keywords):
                    continue  # among the options that are passed on
                said = given.get(name)
                assert isinstance(said, ast.Constant), f"{where} does not say {name}"
                assert said.value is value, f"{where}: {name} is {said.value}"
    assert seen > 15, "the check looks for the calls that there are"


CASES = {
    "auto_map": ("config.json", {"auto_map": {"AutoModel": "modeling.Model"}}),
    "auto_map of a tokenizer": ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": "t.T"}}),
    "auto_map below": ("text/config.json", {"text_config": {"auto_map": {"AutoModel": "m.M"}}}),
    "code of another repository": ("config.json", {"model": "someone/else--modeling.Model"}),
    "trust asked for": ("processor_config.json", {"trust_remote_code": True}),
    "a module of its own": ("modules.json", [{"type": "custom_pooling.Pooling", "path": ""}]),
    "a pipeline's own file": ("model_index.json", {"_class_name": ["pipeline.py", "Pipeline"]}),
    "a pipeline's own part": ("model_index.json", {"unet": ["my_unet", "UNet"]}),
    "a text model elsewhere": (
        "open_clip_config.json",
        {"model_cfg": {"text_cfg": {"hf_model_name": "someone/else"}, "embed_dim": 8}},
    ),
    "a vision model elsewhere": (
        "open_clip_config.json",
        {"model_cfg": {"vision_cfg": {"timm_model_name": "hf-hub:someone/else"}, "embed_dim": 8}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_folder_that_names_code_is_refused(case: str, tmp_path: Path) -> None:
    file, content = CASES[case]
    folder = tmp_path / "model"
    (folder / file).parent.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    if file != "config.json":
        (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / file).write_text(json.dumps(content))
    settings = Settings(home=tmp_path / "home", weights_cache=tmp_path / "weights")
    for open_it in (
        lambda: WeightStore(settings).ensure(f"local:{folder}"),
        lambda: WeightStore(settings).folder_of(str(folder)),
        lambda: find_clip(f"local:{folder}", settings=settings),
    ):
        with pytest.raises(ModelUnavailable, match="ragcore runs no code of a model") as refused:
            open_it()
        assert "\n" not in str(refused.value)


def test_ordinary_models_are_taken(tmp_path: Path) -> None:
    module = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
    files = {
        "config.json": {"architectures": ["BertModel"], "_name_or_path": "nreimers/MiniLM"},
        "modules.json": [module],
        "model_index.json": {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "U"]},
        "tokenizer.json": {"auto_map": "a word of the vocabulary"},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "broken.json").write_text("{")
    refuse_remote_code(tmp_path, "ordinary")
    module["type"] = "custom.Transformer"
    (tmp_path / "modules.json").write_text(json.dumps([module]))
    with pytest.raises(ModelUnavailable, match=r"modules\.json"):
        refuse_remote_code(tmp_path, "ordinary")


def test_what_ships_with_ragcore_passes() -> None:
    store = WeightStore(Settings())
    for name in ("grounded-qa", "grounded-qa-qwen", "starter-emoji", "starter-projector"):
        folder = store.find(name)
        assert folder is not None
        refuse_remote_code(folder, name)
