"""One budget for each device: what is loaded, leased and unloaded, with weights of given sizes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ragcore.errors import ModelUnavailable
from ragcore.models import FixedBudget, ModelMemory, Weights, folder_bytes, module_bytes

WAIT = 60.0  # seconds at most


def memory_of(size: int, *, timeout: float = WAIT) -> ModelMemory:
    return ModelMemory(lambda device: FixedBudget(size), timeout=timeout)


def weights(
    memory: ModelMemory,
    name: str,
    size: int,
    *,
    load: Callable[[], bytearray] | None = None,
    device: str = "cpu",
) -> Weights[bytearray]:
    return memory.weights(
        load or (lambda: bytearray(size)),
        part="llm",
        name=name,
        device=device,
        size=lambda: size,
        measure=len,
    )


def names(memory: ModelMemory) -> list[str]:
    return [one.name for one in memory.loaded()]


def used(one: Weights[bytearray]) -> None:
    with one.lease():
        pass


def test_the_least_recently_used_makes_room() -> None:
    memory = memory_of(100)
    first, second, third = (weights(memory, name, 40) for name in ("first", "second", "third"))
    used(first)
    used(second)
    used(first)
    assert names(memory) == ["second", "first"]
    used(third)
    assert names(memory) == ["first", "third"]
    used(second)
    assert names(memory) == ["third", "second"]
    assert second.bytes == 40


def test_as_many_leave_as_must() -> None:
    memory = memory_of(100)
    small = [weights(memory, str(number), 30) for number in range(3)]
    for one in small:
        used(one)
    used(weights(memory, "large", 70))
    assert names(memory) == ["2", "large"]


def test_other_devices_are_other_budgets() -> None:
    memory = memory_of(100)
    here, there = weights(memory, "here", 80), weights(memory, "there", 80, device="cuda")
    used(here)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ragcore.models.memory._collect", lambda device: None)  # no GPU here
        used(there)
        assert names(memory) == ["here", "there"]


def test_what_is_in_use_is_never_unloaded() -> None:
    memory = memory_of(100, timeout=0.2)
    kept, other = weights(memory, "kept", 60), weights(memory, "other", 60)
    with kept.lease() as value:
        assert not kept.unload()
        assert memory.unload() == 0
        with pytest.raises(ModelUnavailable, match=r"other needs .* \(in use: kept\)"):
            used(other)
        with kept.lease() as again:
            assert again is value
    assert names(memory) == ["kept"]
    used(other)
    assert names(memory) == ["other"]


def test_one_waits_for_another_to_be_done() -> None:
    memory = memory_of(100)
    first, second = weights(memory, "first", 60), weights(memory, "second", 60)
    leased, done = threading.Event(), threading.Event()

    def work() -> None:
        with first.lease():
            leased.set()
            assert done.wait(WAIT)

    with ThreadPoolExecutor(2) as pool:
        working = pool.submit(work)
        assert leased.wait(WAIT)
        waiting = pool.submit(used, second)
        assert names(memory) == ["first"]
        assert not waiting.done()
        done.set()
        working.result(WAIT)
        waiting.result(WAIT)
    assert names(memory) == ["second"]


def test_ones_own_lease_is_not_waited_for() -> None:
    """A thread that holds what fills the device would wait for itself: it fails at once."""
    memory = memory_of(100, timeout=1e6)
    first, second = weights(memory, "first", 60), weights(memory, "second", 60)
    with first.lease(), pytest.raises(ModelUnavailable):
        used(second)


def test_they_load_once_however_many_ask() -> None:
    memory, loads = memory_of(100), []
    together = threading.Barrier(6)

    def load() -> bytearray:
        loads.append(1)
        return bytearray(10)

    one = weights(memory, "one", 10, load=load)

    def ask(_: int) -> int:
        together.wait(WAIT)
        with one.lease() as value:
            return id(value)

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(ask, range(6)))) == 1
    assert len(loads) == 1


def test_two_that_load_at_once_do_not_take_the_same_room() -> None:
    memory = memory_of(100, timeout=0.2)
    loading, go = threading.Event(), threading.Event()

    def slow() -> bytearray:
        loading.set()
        assert go.wait(WAIT)
        return bytearray(60)

    first, second = weights(memory, "first", 60, load=slow), weights(memory, "second", 60)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(used, first)
        assert loading.wait(WAIT)
        with pytest.raises(ModelUnavailable):
            used(second)
        go.set()
        waiting.result(WAIT)
    assert names(memory) == ["first"]


def test_a_load_that_failed_can_be_tried_again() -> None:
    memory, tries = memory_of(100), []

    def load() -> bytearray:
        tries.append(1)
        if len(tries) == 1:
            raise ModelUnavailable("the file is not there")
        return bytearray(10)

    one = weights(memory, "one", 60, load=load)
    with pytest.raises(ModelUnavailable, match="not there"):
        used(one)
    assert not one.loaded
    used(one)
    assert one.loaded
    used(weights(memory, "other", 40))
    assert names(memory) == ["one", "other"], "what it had reserved is not counted twice"


def test_what_never_fits_says_how_much_there_is() -> None:
    memory = memory_of(100 << 20)
    with pytest.raises(ModelUnavailable, match=r"huge needs 300 MiB of cpu memory and 100 MiB"):
        used(weights(memory, "huge", 300 << 20))


def test_a_device_that_is_full_at_loading_is_reported_in_one_line() -> None:
    class OutOfMemoryError(RuntimeError):
        """As torch's."""

    def load() -> bytearray:
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate …")

    with pytest.raises(ModelUnavailable, match="does not fit into the memory of cpu"):
        used(weights(ModelMemory(), "one", 1, load=load))


def test_without_a_budget_all_stay() -> None:
    memory = ModelMemory()
    for number in range(5):
        used(weights(memory, str(number), 1 << 40, load=lambda: bytearray(10)))
    assert len(memory.loaded()) == 5
    assert memory.unload("3") == 1
    assert memory.unload() == 4


def test_sizes_are_read_from_the_files(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    layer = torch.nn.Linear(10, 20)
    (tmp_path / "inner").mkdir()
    save_file(layer.state_dict(), tmp_path / "inner" / "model.safetensors")
    (tmp_path / "model.onnx").write_bytes(b"x" * 50)
    (tmp_path / "readme.txt").write_text("not counted")
    assert module_bytes(layer) == 220 * 4
    assert folder_bytes(tmp_path, 4) == 220 * 4 + 50
    assert folder_bytes(tmp_path, 2) == 220 * 2 + 50
    assert folder_bytes(tmp_path) > 220 * 4 + 50
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 20)
    assert folder_bytes(tmp_path, 2) == 220 * 2 + 50 + 20


@pytest.mark.gpu
def test_a_gpu_is_one_budget() -> None:
    import torch

    from ragcore.models.memory import GpuBudget

    budget = GpuBudget()
    before = budget.free(0)
    size = before // 2 - budget.headroom

    def load() -> torch.Tensor:
        return torch.empty(size, dtype=torch.uint8, device="cuda")

    memory = ModelMemory(lambda device: budget)
    tensors = [
        memory.weights(
            load, part="llm", name=str(number), device="cuda", size=lambda: size,
            measure=lambda tensor: tensor.numel(),
        )
        for number in range(3)
    ]  # fmt: skip
    for one in tensors:
        with one.lease() as tensor:
            assert tensor.is_cuda
    assert [one.name for one in memory.loaded()] == ["1", "2"]
    assert abs(before - 2 * size - budget.free(0)) < 64 << 20
    memory.unload()
    assert abs(before - budget.free(0)) < 64 << 20
