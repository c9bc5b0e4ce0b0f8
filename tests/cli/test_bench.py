"""`ragcore bench`: what is measured, saved and compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Run

NAMES = ["text encode", "text ingest", "image encode", "image ingest", "search"]


def test_a_result_is_saved_and_compared(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ragcore.library.speed.TEXTS", 6)
    monkeypatch.setattr("ragcore.library.speed.IMAGES", 3)
    saved = tmp_path / "before.json"
    first = run("bench", "--no-answer", "--save", str(saved), "--json").json
    assert list(first["measurements"]) == NAMES
    for one in first["measurements"].values():
        assert one["value"] > 0
        assert one["processor_seconds"] > 0
    assert json.loads(saved.read_text("utf-8")) == first
    again = run("bench", "--no-answer", "--baseline", str(saved))
    assert again.code == 0
    rows = [line for line in again.out.splitlines() if line.startswith(tuple(NAMES))]
    assert len(rows) == len(NAMES)
    assert all(row.endswith(" x") for row in rows)


@pytest.mark.parametrize("text", ["", "[]", '{"measurements": {}}', '{"measurements": {"a": 1}}'])
def test_a_file_that_is_no_result_is_refused(run: Run, tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text, "utf-8")
    outcome = run("bench", "--baseline", str(path))
    assert outcome.code == 2
    assert "no result of ragcore bench" in outcome.complaint
