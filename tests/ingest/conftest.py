"""Sound files of every type, made once a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from .ingest_samples import WRITERS


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One sound file of every type, by extension. Not to be changed by tests."""
    folder = tmp_path_factory.mktemp("samples")
    return {suffix: write(folder / f"sample{suffix}") for suffix, write in WRITERS.items()}
