"""`ragcore models find` and `use` with servers of this computer."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from .. import model_servers as servers
from .conftest import Run

pytestmark = pytest.mark.starter_models


def test_a_served_model_is_found_and_used_for_good(run: Run, tmp_path: Path) -> None:
    with servers.model_server(servers.ollama()) as server:
        port = str(server.port)
        found = run("models", "find", "--port", port, "--json").json["servers"]
        [ollama] = [one for one in found if one["url"] == server.url]
        assert [model["task"] for model in ollama["models"]] == ["chat", "chat", "embedding"]
        out = run("models", "find", "--port", port).out
        assert f"ollama 0.12.3 at {server.url}" in out
        assert "ollama:qwen3:4b" in out
        used = run("models", "use", "ollama:qwen3:4b", "--port", port, "--json").json
        home = tmp_path / "home"
        assert used["profile"] == str(home / "profiles" / "ollama-qwen3-4b.toml")
        assert tomllib.loads((home / "settings.toml").read_text()) == {"profile": used["profile"]}
        # the next choice keeps the first
        assert (
            run("models", "use", "ollama:llava:7b", "--as", "vision_llm", "--port", port).code == 0
        )
        parts = run("models", "list", "--json").json["parts"]
        assert (parts["llm"], parts["vision_llm"]) == ("qwen3:4b", "llava:7b")
        complaint = run("models", "use", "ollama:none", "--port", port).complaint
        assert "the ollama server has no model 'none'; it has qwen3:4b" in complaint
        assert run("models", "list", "--json").json["parts"]["llm"] == "qwen3:4b"


def test_options_of_served_models_go_with_them(run: Run) -> None:
    assert "go with a served model" in run("models", "use", "tiny", "--as", "llm").complaint
    assert "70000 is no port" in run("models", "find", "--port", "70000").complaint
    assert "write KIND:NAME" in run("models", "use", "nobody:model").complaint


def test_a_model_is_shown_before_it_is_added(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "modules.json").write_text("[]")
    config = {"architectures": ["BertModel"], "hidden_size": 384, "max_position_embeddings": 512}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"\0" * 1000)
    shown = run("models", "add", str(folder), "--dry-run")
    assert "text_encoder (sentence-transformers, BertModel)" in shown.out
    assert "license    unknown" in shown.out
    found = run("models", "add", str(folder), "--dry-run", "--json").json
    assert (found["dimension"], found["fits"], found["profile"]) == (384, True, None)
    refused = run("models", "add", str(folder), "--json")
    assert refused.code == 2
    assert "accept it by --accept-license" in refused.complaint
    added = run("models", "add", str(folder), "--accept-license", "--json").json
    assert run("models", "list", "--json").json["parts"]["text_encoder"] == f"local:{folder}"
    assert added["profile"] == str(tmp_path / "home" / "profiles" / "encoder.toml")
