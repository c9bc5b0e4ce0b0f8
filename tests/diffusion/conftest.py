"""Fixtures of the image maker's tests: one tiny model a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragcore.diffusion import Imaginer
from ragcore.diffusion.model import LatentModel
from ragcore.weights import WeightStore

from .tiny import make_model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_model(tiny_folder: Path, starter_weights: WeightStore) -> LatentModel:
    return LatentModel(tiny_folder, starter_weights.ensure("minilm-l6-v2"))


@pytest.fixture
def imaginer(tiny_model: LatentModel) -> Imaginer:
    return Imaginer(tiny_model)
