"""A file joined from pieces in several packages, or taken from the hub; and its conversion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ragcore.errors import ModelUnavailable
from ragcore.settings import Settings
from ragcore.weights import WeightStore
from ragcore.weights.registry import Entry, WheelPart, registered

from .conftest import sha256, write_wheel
from .hub_server import serve_model

PIECES = (b"GGUF" + bytes(range(256)) * 40, bytes(range(255, -1, -1)) * 30, b"the end")
WHOLE = b"".join(PIECES)
Cut = Callable[..., Entry]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return Settings(home=tmp_path / "home", weights_cache=tmp_path / "cache")


@pytest.fixture
def cut(wheelhouse: Path) -> Cut:
    """Make three packages that pip can find; return the entry of the file in them."""

    def make(pieces: tuple[bytes, ...] = PIECES) -> Entry:
        parts = []
        for number, piece in enumerate(pieces, 1):
            name = f"piece-{number}"
            wheel = write_wheel(wheelhouse, name, {"part.bin": piece})
            member = f"piece_{number}/model/part.bin"
            parts.append(WheelPart(name, "1.0", sha256(wheel.read_bytes()), member))
        return Entry(
            name="cut",
            provider="parts",
            files={"model.gguf": sha256(WHOLE)},
            parts=tuple(parts),
            download_size=len(WHOLE),
            disk_size=len(WHOLE),
        )

    return make


def store_of(own: Settings, *entries: Entry) -> WeightStore:
    return WeightStore(own, entries={entry.name: entry for entry in entries})


def test_pieces_are_joined_in_order_and_nothing_else_stays(own: Settings, cut: Cut) -> None:
    store = store_of(own, cut())
    folder = store.ensure("cut")
    assert (folder / "model.gguf").read_bytes() == WHOLE
    assert store.verify("cut") == ()
    assert not list((own.weights_cache / ".partial").iterdir())
    assert store.remove("cut") >= len(WHOLE)


def test_an_interrupted_pull_keeps_whole_pieces(own: Settings, cut: Cut, wheelhouse: Path) -> None:
    entry = cut()
    store = store_of(own, entry)
    last = wheelhouse / "piece_3-1.0-py3-none-any.whl"
    kept = last.read_bytes()
    last.unlink()
    with pytest.raises(ModelUnavailable, match=r"piece-3 1\.0 cannot be downloaded"):
        store.ensure("cut")
    for wheel in wheelhouse.glob("*.whl"):  # pieces 1 and 2 are not asked for again
        wheel.unlink()
    last.write_bytes(kept)
    assert (store.ensure("cut") / "model.gguf").read_bytes() == WHOLE


def test_other_bytes_are_refused(own: Settings, cut: Cut) -> None:
    store = store_of(own, cut((*PIECES[:2], b"another")))
    with pytest.raises(ModelUnavailable, match=r"model\.gguf does not have the expected checksum"):
        store.ensure("cut")
    assert store.find("cut") is None


def test_the_hub_is_asked_first(
    own: Settings, cut: Cut, monkeypatch: pytest.MonkeyPatch, wheelhouse: Path
) -> None:
    from huggingface_hub import constants

    entry = replace(cut(), repo="team/cut", revision="4" * 39 + "d")
    for wheel in wheelhouse.glob("*.whl"):
        wheel.unlink()
    with serve_model("team/cut", {"model.gguf": WHOLE}) as address:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        folder = store_of(own, entry).ensure("cut")
    assert sorted(p.name for p in folder.iterdir()) == [".manifest.json", "model.gguf"]
    assert (folder / "model.gguf").read_bytes() == WHOLE


def test_without_the_hub_the_packages_are_taken(
    own: Settings, cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    with serve_model("team/other", {"model.gguf": b""}) as address:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        folder = store_of(own, replace(cut(), repo="team/cut")).ensure("cut")
    assert (folder / "model.gguf").read_bytes() == WHOLE


def test_a_model_is_made_from_another_entrys_files(
    own: Settings, tmp_path: Path, starter_weights: WeightStore
) -> None:
    """The tiny model as GGUF and back: the same weights, rounded to bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from ragcore.llm.gguf_export import export_gguf

    from ..image_models import save_small_llm

    model = save_small_llm(tmp_path / "model", starter_weights)
    (tmp_path / "gguf").mkdir()
    export_gguf(model, tmp_path / "gguf" / "model.gguf", precision="f32")
    entries = {
        "raw": Entry(name="raw", provider="local", path=str(tmp_path / "gguf")),
        "made": Entry(
            name="made", provider="converted", made_from="raw", convert="gguf-to-transformers"
        ),
    }
    folder = WeightStore(own, entries=entries).ensure("made")
    before = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).state_dict()
    after = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    assert before.keys() <= after.keys()
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, rtol=2**-8, atol=0)
    text = "How many days? 12"
    tokens = [AutoTokenizer.from_pretrained(f)(text).input_ids for f in (model, folder)]
    assert tokens[0] == tokens[1]


def test_pieces_of_the_registry_are_whole() -> None:
    cut_up = [entry for entry in registered().values() if entry.provider == "parts"]
    assert cut_up
    for entry in cut_up:
        assert len(entry.files) == 1, entry.name
        assert entry.parts, entry.name
        assert all(len(part.sha256) == 64 for part in entry.parts), entry.name
    made = [entry for entry in registered().values() if entry.provider == "converted"]
    assert all(registered()[entry.made_from].files == entry.files for entry in made)
