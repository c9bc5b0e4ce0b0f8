"""Device and precision: chosen by what is there, said aloud, never a silent fall-back."""

from __future__ import annotations

import pytest

from ragcore.errors import UsageError
from ragcore.models import device
from ragcore.models.device import bfloat16_speedup, describe, place, set_threads
from ragcore.settings import Settings


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
def test_a_missing_gpu_is_an_error_only_when_asked_for() -> None:
    assert place(Settings()).device == "cpu"
    with pytest.raises(UsageError, match=r"cuda.*RAGCORE_DEVICE=auto or cpu"):
        place(Settings(device="cuda"))


@pytest.mark.usefixtures("no_gpu")
def test_precision_as_set_and_what_a_cpu_cannot_do() -> None:
    assert place(Settings(precision="bfloat16")).precision == "bfloat16"
    assert place(Settings(precision="float32")).precision == "float32"
    with pytest.raises(UsageError, match="float16 needs a GPU"):
        place(Settings(precision="float16"))


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("instructions", "speedup", "expected"),
    [(False, 9.0, "float32"), (True, 2.8, "bfloat16"), (True, 1.1, "float32")],
)
def test_bfloat16_needs_the_instructions_and_the_gain(
    monkeypatch: pytest.MonkeyPatch, instructions: bool, speedup: float, expected: str
) -> None:
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: instructions)
    monkeypatch.setattr(device, "bfloat16_speedup", lambda: speedup)
    placed = place(Settings(device="cpu"))
    assert placed.precision == expected
    assert place(Settings(device="cpu"), "convolution").precision == "float32"
    if instructions:
        assert f"{speedup:.1f} x" in placed.why


def test_the_probe_measures() -> None:
    assert 0.01 < bfloat16_speedup() < 100
    assert bfloat16_speedup() == bfloat16_speedup()  # once a process


def test_threads_are_limited_as_set() -> None:
    import torch

    before = torch.get_num_threads()
    try:
        assert place(Settings(threads=1)).threads == 1
        assert torch.get_num_threads() == 1
        assert set_threads(0) == 1  # 0 leaves them alone
    finally:
        torch.set_num_threads(before)


def test_describe_says_what_runs_where() -> None:
    facts = describe(Settings(device="cpu"))
    assert facts["device"] == "cpu"
    assert facts["precision"] in ("float32", "bfloat16")
    assert {"threads", "why", "processor", "bfloat16", "torch", "cuda"} <= facts.keys()


@pytest.mark.gpu
def test_a_gpu_is_used_in_half_precision() -> None:
    placed = place(Settings())
    assert placed.device == "cuda"
    assert placed.precision in ("bfloat16", "float16")
    assert describe(Settings())["gpu"]
