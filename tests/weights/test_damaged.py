"""One flipped bit in the weights: plain doctor finds it, and so does the check after a start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ragcore.models import Models
from ragcore.models.preparation import damaged_weights
from ragcore.settings import Settings
from ragcore.weights import WeightStore, load_profile
from tests.waiting import wait_until

pytestmark = [pytest.mark.full, pytest.mark.starter_models]


@pytest.fixture
def cache(tmp_path: Path, starter_weights: WeightStore) -> Path:
    """The weights cache by links, with one bit of the text encoder's weights flipped."""
    cache = tmp_path / "weights"
    shutil.copytree(Settings().weights_cache, cache, copy_function=os.link)
    [weights] = (cache / "minilm-l6-v2").glob("*/model.safetensors")
    data = bytearray(weights.read_bytes())
    data[-100] ^= 1
    weights.unlink()
    weights.write_bytes(data)
    return cache


def test_plain_doctor_finds_a_flipped_bit(cache: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "RAGCORE_HOME": str(tmp_path / "home"),
        "RAGCORE_WEIGHTS_CACHE": str(cache),
    }
    command = [sys.executable, "-m", "ragcore.cli.main", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    problems = [one for one in json.loads(done.stdout)["findings"] if one["state"] == "problem"]
    assert {one["detail"].split(";")[0] for one in problems} == {
        "minilm-l6-v2: model.safetensors differs from its checksum"
    }
    quick = subprocess.run([*command, "--quick"], capture_output=True, text=True, env=environment)
    assert quick.returncode == 0


def test_the_check_after_a_start_finds_it(cache: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", weights_cache=cache)
    assert dict(damaged_weights(settings, load_profile(settings))) == {
        "minilm-l6-v2": "model.safetensors"
    }
    models = Models(settings)
    models.prepare()
    wait_until(lambda: bool(models.damaged_weights), "the end of the check")
    assert models.damaged_weights == ("minilm-l6-v2: model.safetensors differs from its checksum",)
    assert models.preparation.state == "ready"
    models.close()
