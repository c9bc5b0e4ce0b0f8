"""Where models run and in which number format: decided once, and shown by `ragcore doctor`.

On a GPU: bfloat16 where it has it, else float16. On a CPU: float32, unless the processor has
bfloat16 instructions (AMX or AVX512-BF16) and a timed probe shows that they help. A GPU that is
asked for and missing is an error, never a silent fall-back.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from ragcore.errors import UsageError

if TYPE_CHECKING:
    import torch

    from ragcore.settings import Settings

Device = Literal["cpu", "cuda"]
Precision = Literal["float32", "bfloat16", "float16"]
Family = Literal["transformer", "convolution"]

# The probe is one feed-forward block of a small encoder on 512 tokens.
_TOKENS, _WIDTH, _INNER = 512, 384, 1536
_WORTH_IT = 1.3  # speed-up below which bfloat16's rounding is not worth taking

_threads_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model runs. `why` is one line for people."""

    device: Device
    precision: Precision
    threads: int
    why: str

    @property
    def dtype(self) -> torch.dtype:
        import torch

        dtype: torch.dtype = getattr(torch, self.precision)
        return dtype


def place(settings: Settings, family: Family = "transformer") -> Placement:
    """Choose device and precision for a family of models, and set torch's CPU threads.

    Convolutional networks stay in float32 on a CPU, where bfloat16 makes them slower.
    Raises UsageError if the settings ask for what this machine cannot do.
    """
    threads = set_threads(settings.threads)
    device = pick_device(settings)
    if settings.precision != "auto":
        why = f"precision {settings.precision} as set"
        if device == "cpu" and settings.precision == "float16":
            raise UsageError("float16 needs a GPU: set precision to auto, float32 or bfloat16")
        return Placement(device, settings.precision, threads, why)
    if device == "cuda":
        return Placement(device, *_cuda_precision(threads))
    if family == "convolution":
        return Placement(device, "float32", threads, "convolutions are fastest in float32")
    if not cpu_has_bfloat16():
        return Placement(device, "float32", threads, "this processor has no bfloat16 instructions")
    speedup = bfloat16_speedup()
    measured = f"bfloat16 is {speedup:.1f} x as fast as float32 here"
    precision: Precision = "bfloat16" if speedup >= _WORTH_IT else "float32"
    return Placement(device, precision, threads, measured)


def set_threads(threads: int) -> int:
    """Limit torch to `threads` CPU threads (0: leave its own choice); return the number."""
    import torch

    with _threads_lock:
        if threads and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return int(torch.get_num_threads())


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 matrices in hardware."""
    import torch

    known = torch.cpu.get_capabilities()
    return bool(known.get("amx_bf16") or known.get("amx_tile") or known.get("avx512_bf16"))


@lru_cache(maxsize=1)
def bfloat16_speedup() -> float:
    """Time of the probe in float32 over its time in bfloat16 (takes some 50 ms, once)."""
    import torch

    return _probe_seconds(torch.float32) / _probe_seconds(torch.bfloat16)


def _probe_seconds(dtype: torch.dtype) -> float:
    import torch

    x = torch.randn(_TOKENS, _WIDTH).to(dtype)
    up = torch.nn.Linear(_WIDTH, _INNER).to(dtype)
    down = torch.nn.Linear(_INNER, _WIDTH).to(dtype)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(8):  # the first rounds warm the caches; the best one counts
            start = time.perf_counter()
            down(torch.nn.functional.gelu(up(x)))
            best = min(best, time.perf_counter() - start)
    return best


def describe(settings: Settings) -> dict[str, str | int | float | bool]:
    """What runs where and why, for `ragcore doctor`."""
    import torch

    placed = place(settings)
    capabilities = torch.cpu.get_capabilities()
    facts: dict[str, str | int | float | bool] = {
        "device": placed.device,
        "precision": placed.precision,
        "threads": placed.threads,
        "why": placed.why,
        "processor": str(capabilities.get("cpu_name", "unknown")),
        "bfloat16": cpu_has_bfloat16(),
        "torch": torch.__version__,
        "cuda": torch.cuda.is_available(),
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        facts["gpu"] = properties.name
        facts["gpu_bytes"] = properties.total_memory
    return facts


def pick_device(settings: Settings) -> Device:
    """The device by the settings, "cuda" or "cpu".

    Raises UsageError if a GPU is required and missing.
    """
    if settings.device == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if settings.device == "cuda":
        raise UsageError(
            "device is set to cuda and torch sees no GPU here: set RAGCORE_DEVICE=auto or cpu, "
            "or check the driver with nvidia-smi"
        )
    return "cpu"


def _cuda_precision(threads: int) -> tuple[Precision, int, str]:
    import torch

    name = torch.cuda.get_device_name(0)
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bfloat16", threads, f"{name} has bfloat16"
    return "float16", threads, f"{name} has no bfloat16"
