"""The hub provider over a real local hub cache: offline, pinned, checked."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ragcore.errors import ModelUnavailable
from ragcore.settings import Settings
from ragcore.weights import WeightStore
from ragcore.weights.registry import Entry

from .hub_server import COMMIT as SERVED
from .hub_server import serve_model

COMMIT = "1" * 39 + "a"
LATER = "2" * 39 + "b"


def add_snapshot(cache: Path, repo: str, commit: str, files: dict[str, bytes]) -> Path:
    """Write a model into a hub cache as huggingface_hub lays it out."""
    root = cache / f"models--{repo.replace('/', '--')}"
    snapshot = root / "snapshots" / commit
    for name, data in files.items():
        large = name.endswith(".safetensors")
        digest = hashlib.sha256(data) if large else hashlib.sha1(data)
        blob = root / "blobs" / digest.hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(blob)
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / "main").write_text(commit)
    return snapshot


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, offline."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return cache


@pytest.fixture
def store(tmp_path: Path) -> WeightStore:
    entry = Entry(name="named", provider="hub", repo="owner/model", license="MIT")
    return WeightStore(Settings(weights_cache=tmp_path / "weights"), entries={"named": entry})


MODEL = {"model.safetensors": b"weights", "config.json": b"{}", "1_Pooling/config.json": b"{}"}


def test_cached_models_are_used_offline(hub_cache: Path, store: WeightStore) -> None:
    snapshot = add_snapshot(hub_cache, "owner/model", COMMIT, MODEL)
    assert store.ensure("hub:owner/model") == snapshot
    assert store.ensure("named") == snapshot
    assert store.ensure(f"hub:owner/model@{COMMIT}") == snapshot
    assert store.revision("named") == COMMIT[:8]
    assert store.status()[0].state == "ready"
    assert store.verify("named") == ()


def test_what_is_not_there_says_that_we_are_offline(hub_cache: Path, store: WeightStore) -> None:
    with pytest.raises(ModelUnavailable, match=r"owner/model is not on this machine.*HF_HUB_OFF"):
        store.ensure("named")
    assert store.status()[0].state == "missing"


def test_a_model_without_safe_weights_is_refused(hub_cache: Path, store: WeightStore) -> None:
    add_snapshot(hub_cache, "owner/model", COMMIT, {"pytorch_model.bin": b"x", "config.json": b""})
    with pytest.raises(ModelUnavailable, match="safetensors"):
        store.ensure("named")


def test_a_damaged_blob_is_found(hub_cache: Path, store: WeightStore) -> None:
    snapshot = add_snapshot(hub_cache, "owner/model", COMMIT, MODEL)
    (snapshot / "model.safetensors").resolve().write_bytes(b"weightz")
    assert store.verify("named") == ("model.safetensors",)
    with pytest.raises(ModelUnavailable, match="damaged"):
        store.repair("named")


def test_the_first_commit_stays(hub_cache: Path, store: WeightStore, tmp_path: Path) -> None:
    """A branch that moves on in the shared cache does not change an embedding space."""
    first = add_snapshot(hub_cache, "owner/model", COMMIT, MODEL)
    assert store.ensure("named") == first
    add_snapshot(hub_cache, "owner/model", LATER, {**MODEL, "model.safetensors": b"newer"})
    assert store.ensure("named") == first
    assert store.revision("hub:owner/model") == COMMIT[:8]
    note = json.loads((tmp_path / "weights" / ".hub" / "owner--model.json").read_text())
    assert (note["repo"], note["commit"]) == ("owner/model", COMMIT)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in MODEL.items()}
    assert note["files"] == hashes
    (status,) = [one for one in store.status() if one.name == "named"]
    assert (status.commit, status.sha256) == (COMMIT, hashes)


def test_a_hub_model_without_a_name_is_listed_with_what_was_first_used(
    hub_cache: Path, store: WeightStore
) -> None:
    snapshot = add_snapshot(hub_cache, "owner/other", COMMIT, MODEL)
    store.ensure(f"hub:owner/other@{COMMIT}")
    listed = {one.name: one for one in store.status()}
    assert listed[f"hub:owner/other@{COMMIT}"].commit == COMMIT
    # A small file, whose name in the hub's cache is no SHA-256, is compared as well.
    (snapshot / "config.json").resolve().write_bytes(b"[]")
    assert "config.json" in store.verify(f"hub:owner/other@{COMMIT}")


def test_a_file_that_is_damaged_at_first_use_is_not_noted(
    hub_cache: Path, store: WeightStore
) -> None:
    snapshot = add_snapshot(hub_cache, "owner/model", COMMIT, MODEL)
    (snapshot / "model.safetensors").resolve().write_bytes(b"weightz")
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors is damaged"):
        store.ensure("named")


DOWNLOAD = """
import json, sys
from pathlib import Path
from ragcore.errors import RagcoreError
from ragcore.settings import Settings
from ragcore.types import CancelToken
from ragcore.weights import WeightStore
store = WeightStore(Settings(weights_cache=Path(sys.argv[1])))
seen = []
try:
    folder = store.ensure(sys.argv[2], seen.append, file=sys.argv[3])
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    last = [p for p in seen if p.current == "download"][-1]
    print(json.dumps({"files": files, "done": last.done, "total": last.total,
                      "revision": store.revision(sys.argv[2]), "wrong": store.verify(sys.argv[2])}))
except RagcoreError as error:
    print(json.dumps({"error": str(error)}))
"""


def download(address: str, tmp_path: Path, name: str, file: str = "") -> dict[str, object]:
    """Ensure `name` in a fresh process whose hub is at `address`."""
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf")}
    environment = {k: v for k, v in environment.items() if k != "HF_HUB_OFFLINE"}
    result = subprocess.run(
        [sys.executable, "-c", DOWNLOAD, str(tmp_path / "weights"), name, file],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    answer: dict[str, object] = json.loads(result.stdout)
    return answer


def test_one_file_of_many_is_fetched(tmp_path: Path) -> None:
    files = {"m-q4.gguf": bytes(100_000), "m-q8.gguf": bytes(200_000), "config.json": b"{}"}
    with serve_model("owner/model-gguf", files) as address:
        found = download(address, tmp_path, "hub:owner/model-gguf", "m-q4.gguf")
    assert found["files"] == ["m-q4.gguf"]
    assert (found["done"], found["wrong"]) == (100_000, [])


def test_a_download_takes_only_safe_files_and_counts_bytes(tmp_path: Path) -> None:
    files = {
        "model.safetensors": bytes(1_000_000),
        "config.json": b"{}",
        "1_Pooling/config.json": b"[]",
        "pytorch_model.bin": b"a pickle",
        "onnx/model.safetensors": b"an export that nobody asked for",
    }
    with serve_model("owner/model", files) as address:
        answer = download(address, tmp_path, "hub:owner/model")
        assert answer == {
            "files": ["1_Pooling/config.json", "config.json", "model.safetensors"],
            "done": 1_000_004,
            "total": 1_000_004,
            "revision": SERVED[:8],
            "wrong": [],
        }
        missing = download(address, tmp_path, "hub:owner/other")
        assert missing == {"error": "hub:owner/other: the hub has no model owner/other"}
    unreachable = download(address, tmp_path, "hub:owner/third")
    assert "the model hub cannot be reached: go online" in str(unreachable["error"])
