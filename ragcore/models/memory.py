"""Weights in memory: loaded when needed, leased while in use, unloaded when others need the room.

Every device has one budget. Before weights that do not fit are loaded, idle ones on the same
device are unloaded, the least recently used first; weights in use are never unloaded.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ragcore.errors import ModelUnavailable

if TYPE_CHECKING:
    from ragcore.settings import Settings

T = TypeVar("T")

TIMEOUT = 120.0  # seconds that a model waits for others to be done before it gives up
_GPU_HEADROOM = 1 << 30  # bytes for activations, caches and the driver's workspaces
_HOST_HEADROOM = 512 << 20


class Budget(Protocol):
    """How many bytes of models one device can take.

    `strict` devices fail when they are full: models wait for room and are refused without it.
    `headroom` is what should stay free beside the weights.
    """

    strict: bool
    headroom: int

    def free(self, loaded: int) -> int:
        """Bytes that are left, where the models in memory take `loaded`."""
        ...


class FixedBudget:
    """A given number of bytes, whatever else is on the device."""

    strict = True
    headroom = 0

    def __init__(self, size: int) -> None:
        self.size = size

    def free(self, loaded: int) -> int:
        return self.size - loaded


class GpuBudget:
    """What the driver says is free on a GPU, and what torch has reserved there and not used."""

    strict = True
    headroom = _GPU_HEADROOM

    def free(self, loaded: int) -> int:
        import torch

        free, _ = torch.cuda.mem_get_info()
        return int(free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())


class HostBudget:
    """The computer's free memory.

    It is refused only to what is larger than all of it: the system can swap.
    """

    strict = False
    headroom = _HOST_HEADROOM

    def free(self, loaded: int) -> int:
        import psutil

        return int(psutil.virtual_memory().available)

    def total(self) -> int:
        """All memory with the swap space, in bytes."""
        import psutil

        return int(psutil.virtual_memory().total + psutil.swap_memory().total)


def device_budget(device: str, settings: Settings) -> Budget:
    """The budget of "cpu" or "cuda" by the settings."""
    if settings.model_memory_mb:
        return FixedBudget(settings.model_memory_mb << 20)
    return GpuBudget() if device == "cuda" else HostBudget()


class ModelMemory:
    """The weights of a process, and one budget for each device. Safe for threads.

    `budget` makes a device's budget; without it nothing is limited. `timeout` is how many
    seconds a model waits for others on a full device.
    """

    def __init__(
        self, budget: Callable[[str], Budget] | None = None, *, timeout: float = TIMEOUT
    ) -> None:
        self._make_budget = budget
        self._timeout = timeout
        self._budgets: dict[str, Budget] = {}
        self._changed = threading.Condition(threading.RLock())
        self._weights: list[Weights[Any]] = []

    def weights(
        self,
        load: Callable[[], T],
        *,
        part: str,
        name: str,
        device: str | Callable[[], str] = "cpu",
        precision: str = "",
        size: Callable[[], int] = lambda: 0,
        measure: Callable[[T], int] | None = None,
        idle_seconds: float = 0.0,
    ) -> Weights[T]:
        """Weights that `load` brings into memory when they are first leased.

        `size` estimates their bytes before they are loaded, `measure` counts them afterwards
        (default: the parameters and buffers of a torch module). `device` is "cpu" or "cuda", or
        says so when it is first asked. They are unloaded after
        `idle_seconds` without a lease (0: only when others need the room, or on request).
        `part` and `name` are shown in lists ("llm", "my-model").
        """
        made = Weights(
            self, load, part=part, name=name, device=device, precision=precision, size=size,
            measure=measure or module_bytes, idle_seconds=idle_seconds,
        )  # fmt: skip
        with self._changed:
            self._weights.append(made)
        return made

    def loaded(self) -> list[Weights[Any]]:
        """The weights that are in memory now, the least recently used first."""
        with self._changed:
            return sorted((w for w in self._weights if w.loaded), key=lambda w: w.last_used)

    def unload(self, name: str | None = None) -> int:
        """Unload idle weights, all or those called `name`; return how many were unloaded."""
        with self._changed:
            chosen = [w for w in self._weights if name is None or w.name == name]
            freed = [weights for weights in chosen if weights.unload(collect=False)]
        for device in {weights.device for weights in freed}:
            _collect(device)
        return len(freed)

    def _reserve(self, wanted: Weights[Any]) -> None:
        """Make room for weights that are about to be loaded. Raises ModelUnavailable."""
        if self._make_budget is None:
            return
        need = wanted.expected()
        deadline = time.monotonic() + self._timeout
        with self._changed:
            if wanted.device not in self._budgets:
                self._budgets[wanted.device] = self._make_budget(wanted.device)
            budget = self._budgets[wanted.device]
            while need + budget.headroom > (free := self._free(budget, wanted)):
                others = self._others(wanted)
                idle = [w for w in others if w.idle]
                if idle:
                    min(idle, key=lambda w: w.last_used).unload()
                    continue
                left = deadline - time.monotonic()
                if not budget.strict or left <= 0 or not any(w.used_elsewhere for w in others):
                    break
                self._changed.wait(left)
            if budget.strict and need > free:
                raise ModelUnavailable(_refusal(wanted, need, free, others))
            if isinstance(budget, HostBudget) and need > (most := budget.total()):
                raise ModelUnavailable(
                    f"{wanted.name} needs {need / 2**30:.1f} GiB of memory and this computer has "
                    f"{most / 2**30:.1f} GiB with its swap space: {_smaller(wanted.part)}"
                )
            wanted.reserved = need

    def _free(self, budget: Budget, wanted: Weights[Any]) -> int:
        """Bytes left when all that is being loaded just now is there, too."""
        others = self._others(wanted)
        loaded = sum(w.bytes for w in others)
        return budget.free(loaded) - sum(w.reserved for w in others)

    def _others(self, wanted: Weights[Any]) -> list[Weights[Any]]:
        """What else is on the device, or on its way there.

        Others are not asked for their device: to know it may take torch.
        """
        present = (w for w in self._weights if w.present and w is not wanted)
        return [w for w in present if w.device == wanted.device]


class Weights(Generic[T]):
    """One model's weights; `lease` them to use them. Made by `ModelMemory.weights`."""

    def __init__(
        self,
        memory: ModelMemory,
        load: Callable[[], T],
        *,
        part: str,
        name: str,
        device: str | Callable[[], str],
        precision: str,
        size: Callable[[], int],
        measure: Callable[[T], int],
        idle_seconds: float,
    ) -> None:
        self.part, self.name, self.precision = part, name, precision
        self.last_used = 0.0
        self.reserved = 0  # bytes, while they are being loaded
        self._device = device
        self._memory = memory
        self._changed = memory._changed
        self._load, self._size, self._measure = load, size, measure
        self._idle_seconds = idle_seconds
        self._value: T | None = None
        self._loader: int | None = None  # the thread that is loading
        self._users: list[int] = []  # their threads, one entry for each lease
        self._known_size = 0  # as measured when they were last in memory
        self._timer: threading.Timer | None = None

    @contextmanager
    def lease(self) -> Iterator[T]:
        """The loaded weights; they stay in memory until the block ends.

        Raises ModelUnavailable if they cannot be loaded or the device has no room for them.
        """
        user = threading.get_ident()
        value = self._enter(user)
        try:
            yield value
        finally:
            with self._changed:
                self._users.remove(user)
                self.last_used = time.monotonic()
                self._watch()
                self._changed.notify_all()

    @property
    def device(self) -> str:
        return self._device if isinstance(self._device, str) else self._device()

    @property
    def loaded(self) -> bool:
        return self._value is not None

    @property
    def present(self) -> bool:
        """In memory, or being loaded."""
        return self._value is not None or self._loader is not None

    @property
    def idle(self) -> bool:
        """In memory, and nobody uses them."""
        return self._value is not None and not self._users

    @property
    def used_elsewhere(self) -> bool:
        """Whether another thread uses or loads them, so that they may become idle."""
        here = threading.get_ident()
        return any(user != here for user in self._users) or self._loader not in (None, here)

    @property
    def bytes(self) -> int:
        """Their size in memory; 0 while they are not loaded."""
        value = self._value
        return self._measure(value) if value is not None else 0

    def expected(self) -> int:
        """Bytes that they will take: as measured before, else as estimated."""
        return self._known_size or self._size()

    def unload(self, *, collect: bool = True) -> bool:
        """Free the memory unless they are in use; whether it was freed.

        Without `collect` the caller calls the garbage collector, once for many of them.
        """
        with self._changed:
            if not self.idle:
                return False
            self._known_size = self.bytes
            self._value = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if collect:
                _collect(self.device)
            self._changed.notify_all()
            return True

    def _enter(self, user: int) -> T:
        with self._changed:
            while self._value is None and self._loader is not None:
                if self._loader == user:
                    raise RuntimeError(f"{self.name} needs itself to be loaded")
                self._changed.wait()
            if self._value is not None:
                self._users.append(user)
                return self._value
            self._loader = user
        value = None
        try:
            self._memory._reserve(self)
            value = self._load_now()
            return value
        finally:
            with self._changed:
                self._loader, self.reserved = None, 0
                if value is not None:
                    self._value = value
                    self._users.append(user)
                self._changed.notify_all()

    def _load_now(self) -> T:
        try:
            return self._load()
        except RuntimeError as error:
            if type(error).__name__ != "OutOfMemoryError":  # torch's, which may not be imported
                raise
            raise ModelUnavailable(
                f"{self.name} does not fit into the memory of {self.device} beside what is in use: "
                "choose a smaller profile, or set RAGCORE_DEVICE=cpu"
            ) from error

    def _watch(self) -> None:
        """Set the timer that unloads idle weights."""
        if self._timer is not None or not self._idle_seconds:
            return
        self._timer = threading.Timer(self._idle_seconds, self._unload_if_idle)
        self._timer.daemon = True
        self._timer.start()

    def _unload_if_idle(self) -> None:
        with self._changed:
            self._timer = None
            if self._value is None:
                return
            due = time.monotonic() - self.last_used >= self._idle_seconds * 0.99
            if self._users or not due or not self.unload():
                self._watch()


def module_bytes(module: Any) -> int:
    """Bytes of a torch module's parameters and buffers; 0 for what has none."""
    if not hasattr(module, "parameters"):
        return 0
    tensors = [*module.parameters(), *module.buffers()]
    return sum(int(tensor.numel()) * int(tensor.element_size()) for tensor in tensors)


def folder_bytes(folder: Path, item_size: int | None = None) -> int:
    """Bytes that a folder's weights will take in memory: safetensors, ONNX, GGUF.

    `item_size` is the size of one number there in bytes (None: as in the files).
    """
    total = 0
    for path in folder.rglob("*"):
        if path.suffix == ".safetensors":
            total += _safetensors_bytes(path, item_size)
        elif path.suffix in (".onnx", ".gguf"):
            total += path.stat().st_size
    return total


def _safetensors_bytes(path: Path, item_size: int | None) -> int:
    size = path.stat().st_size
    if item_size is None:
        return size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > size:
            return size
        try:
            header = json.loads(stream.read(length))
        except ValueError:  # loading will say what is wrong with it
            return size
    total = 0
    for key, tensor in header.items():
        if key != "__metadata__":
            begin, end = tensor["data_offsets"]
            count = 1
            for side in tensor["shape"]:
                count *= int(side)
            total += count * item_size if "F" in tensor["dtype"] else end - begin
    return total


def _collect(device: str) -> None:
    """Give freed memory back to the device, and the computer's to the system."""
    import ctypes
    import gc

    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc keeps what was freed
        trim(0)
    if device == "cuda":
        import torch

        torch.cuda.empty_cache()


def _refusal(wanted: Weights[Any], need: int, free: int, others: list[Weights[Any]]) -> str:
    using = ", ".join(sorted({w.name for w in others if w.loaded})) or "nothing of ragcore's"
    return (
        f"{wanted.name} needs {need / 2**20:.0f} MiB of {wanted.device} memory and "
        f"{max(0, free) / 2**20:.0f} MiB are free (in use: {using}): try again later, raise "
        f"RAGCORE_MODEL_MEMORY_MB, or {_smaller(wanted.part)}"
    )


def _smaller(part: str) -> str:
    """What takes less memory than a model of that part."""
    if part in ("llm", "vision_llm"):
        return (
            'load it with options = { quantization = "4bit" }, take a GGUF file '
            "(`ragcore models add FILE.gguf`), or the smaller profile starter"
        )
    return "choose a smaller profile: `ragcore models use starter`"
