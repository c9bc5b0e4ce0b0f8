"""Where the networks of a diffusion model are trained, and in which number format."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragcore.diffusion import extract

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Generator, Tensor

    from ragcore.settings import Settings

    Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Hardware:
    """The device of a run. With `bfloat16` the networks compute in it; weights stay float32."""

    device: str = "cpu"
    bfloat16: bool = False

    def arithmetic(self) -> AbstractContextManager[Any]:
        """Within the block, networks compute in the run's number format."""
        import torch

        if not self.bfloat16:
            return nullcontext()
        return torch.autocast(self.device, torch.bfloat16)

    def rng(self, seed: int) -> Generator:
        """A generator on the device."""
        import torch

        return torch.Generator(self.device).manual_seed(seed)

    def pixels(self, images: Pixels) -> Tensor:
        """uint8 [n, h, w, 3] to uint8 [n, 3, h, w] on the device."""
        import torch

        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(self.device)


def hardware(settings: Settings) -> Hardware:
    """What the settings ask for. Raises UsageError if it is not there."""
    import torch

    from ragcore.models import place

    placed = place(settings, "convolution")
    if placed.device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    return Hardware(placed.device, placed.device == "cuda" and placed.precision == "bfloat16")


def conditions_of(kind: str, images: Pixels, threads: int = 0) -> Pixels:
    """Conditions uint8 [n, h, w, 3] of images, on several cores: OpenCV lets go of the lock."""
    import numpy as np

    with ThreadPoolExecutor(threads or None) as pool:
        return np.stack(list(pool.map(lambda image: extract(kind, image), images)))
