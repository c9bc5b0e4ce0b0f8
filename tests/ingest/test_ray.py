"""Ingest over a Ray cluster: what one machine stores, whatever happens to the nodes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from ragcore.catalog.models import Document, Embedding, Image, Passage, SpaceRow
from ragcore.errors import UsageError
from ragcore.library import Library
from ragcore.settings import Settings
from tests.waiting import TIMEOUT, wait_until

from ..encoders.small_models import save_clip, save_text_encoder
from .ray_cluster import NODES, RayCluster

pytest.importorskip("ray")

NOTES = 300


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    # A short path: Ray's sockets are below it, and the length of their names has a limit.
    with TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        started = RayCluster(Path(folder))
        try:
            started.start()
            yield started
        finally:
            started.stop()


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small random models, on a path that all nodes see."""
    folder = tmp_path_factory.mktemp("models")
    text, clip = save_text_encoder(folder), save_clip(folder)
    path = folder / "small.toml"
    path.write_text(
        f'name = "small"\n[text_encoder]\nweights = "local:{text}"\n'
        f'kind = "sentence-transformers"\n[image_text_encoder]\nweights = "local:{clip}"\n'
        'kind = "open_clip"\n'
    )
    return path


def settings(home: Path, profile: Path) -> Settings:
    return Settings(home=home, profile=str(profile), ocr="off", device="cpu", precision="float32")


def by_ray(cluster: RayCluster, of: Settings, files: Path) -> subprocess.Popen[str]:
    """The command as a person gives it, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "ragcore.cli.main", "ingest", str(files), "--engine", "ray",
         "--address", cluster.address, "--json"],
        env={**cluster.environment, "RAGCORE_HOME": str(of.home), "RAGCORE_PROFILE": of.profile,
             "RAGCORE_OCR": of.ocr, "RAGCORE_DEVICE": "cpu", "RAGCORE_PRECISION": "float32"},
        cwd=cluster.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def content(of: Settings) -> dict[str, Any]:
    """Everything that was stored of each file: state, passages, images, and their vectors."""
    found: dict[str, Any] = {}
    with Library(of) as library, library.admin.catalog.read() as session:
        vectors = {
            (modality, row.item_id): np.frombuffer(row.vector, np.float16)
            for row, modality in session.execute(
                select(Embedding, SpaceRow.modality).join(
                    SpaceRow, SpaceRow.id == Embedding.space_id
                )
            )
        }
        for document in session.scalars(select(Document)):
            passages = session.scalars(
                select(Passage).where(Passage.document_id == document.id).order_by(Passage.start)
            ).all()
            images = session.scalars(
                select(Image).where(Image.document_id == document.id).order_by(Image.id)
            ).all()
            assert document.name not in found, "stored twice"
            found[document.name] = (
                (document.state, document.error, document.sha256, document.title),
                [(p.text, p.heading, p.page, p.page_end, p.start, p.end) for p in passages],
                [(p.page, p.pixels_sha256, p.phash, p.media) for p in images],
                [vectors["text", p.id] for p in passages],
                [vectors["image", p.id] for p in images],
            )
    return found


@pytest.fixture
def files(samples: dict[str, Path], tmp_path: Path) -> Path:
    """Files of every type, two that cannot be read, and enough notes to be in the middle of."""
    folder = tmp_path / "files"
    folder.mkdir()
    for path in samples.values():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing of it")
    (folder / "empty.txt").write_bytes(b"")
    for number in range(NOTES):
        lines = [f"Note {number}, line {n}: the tide follows the moon." for n in range(250)]
        (folder / f"note-{number:03}.txt").write_text("\n\n".join(lines))
    return folder


@pytest.mark.full
def test_stopped_gone_on_with_and_a_node_lost_it_stores_what_one_machine_does(
    cluster: RayCluster, profile: Path, files: Path, tmp_path: Path
) -> None:
    here, there = settings(tmp_path / "here", profile), settings(tmp_path / "there", profile)
    with Library(here) as library:
        expected = library.ingest([files])

    first = by_ray(cluster, there, files)
    wait_for_documents(there, first, 1)
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=300)
    assert first.returncode == 1, err
    assert json.loads(out)["cancelled"]
    stored = len(content(there))
    assert 0 < stored < NOTES, "it was stopped in the middle"

    second = by_ray(cluster, there, files)
    kept = wait_for_documents(there, second, stored + 1)
    cluster.kill(NODES[1])
    out, err = second.communicate(timeout=600)
    assert second.returncode == 0, err
    assert kept < NOTES, "a node was lost in the middle"
    report = json.loads(out)
    assert report["added"] + report["unchanged"] == expected.added
    assert {f["path"]: f["error"] for f in report["failed"]} == {
        failure.path: failure.error for failure in expected.failed
    }
    assert f"Ray node {NODES[1]} is lost" in err
    assert_same(content(here), content(there))


def assert_same(local: dict[str, Any], remote: dict[str, Any]) -> None:
    assert local.keys() == remote.keys()
    for name, (state, passages, images, *vectors) in local.items():
        assert remote[name][:3] == (state, passages, images), name
        for mine, theirs in zip(vectors, remote[name][3:], strict=True):
            assert len(mine) == len(theirs)
            np.testing.assert_allclose(np.array(mine), np.array(theirs), atol=1e-3)


def wait_for_documents(of: Settings, run: subprocess.Popen[str], count: int) -> int:
    """How many documents are stored, as soon as there are `count`."""

    def stored() -> int:
        if run.poll() is not None:
            raise AssertionError(f"it ended too early: {run.communicate()}")
        if not (of.home / "catalogue.db").exists():
            return 0
        with Library(of) as library, library.admin.catalog.read() as session:
            found = len(session.scalars(select(Document.id)).all())
        return found if found >= count else 0

    return wait_until(stored, f"the storing of {count} documents", seconds=2 * TIMEOUT, every=0.1)


def test_what_cannot_be_is_said_in_one_line(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ragcore.cli.main import main

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["ingest", str(note), *arguments])
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().err

    note = tmp_path / "note.txt"
    note.write_text("A note.")
    code, err = run("--engine", "ray", "--address", "127.0.0.2:9")
    assert code == 1
    assert "no Ray cluster answers at 127.0.0.2:9 (Connection refused)" in err
    code, err = run("--engine", "local", "--address", "127.0.0.2:9")
    assert code == 2
    assert "leave it out, or use --engine ray" in err
    with Library(settings(tmp_path / "home", profile)) as library, pytest.raises(UsageError):
        library.ingest([note], engine="spark")
