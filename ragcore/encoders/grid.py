"""What an image tower sees where: its last feature map, pooled to a few cells.

A language model that answers about an image reads these cells; the pooled vector of
`encode_images` alone would not say what is where. The tower is starter-clip's, as its package
has it, so one download serves search and questions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragcore.errors import UsageError
from ragcore.models import ModelMemory, Weights, pick_device
from ragcore.settings import Settings

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from ragcore.types import FloatArray

TOWER = "efficientnet-lite0"  # the registry's name of the weights
CHANNELS = 1280  # of the tower's last feature map, which has SIDE x SIDE places
SIDE = 7
_BYTES = 14 << 20  # of the tower in float32
INPUT_SIDE = 224  # pixels a side that the tower takes; other shapes are squashed to it


@dataclass(frozen=True, slots=True)
class _Tower:
    """The loaded tower: an image to its input, a batch of inputs to feature maps."""

    preprocess: Any
    run: Callable[[torch.Tensor], torch.Tensor]


class GridEncoder:
    """Images to cells: float32 [n, side * side + 1, 1280].

    The first `side` * `side` cells are means over parts of the 7 x 7 feature map, row by row
    from the upper left; the last one is the mean over all of it. On a CPU the tower runs
    through OpenVINO where that is installed. May be used from several threads.

    Raises UsageError for a side that is not 1 to 7; ModelUnavailable, at first use, where the
    tower's weights cannot be had.
    """

    def __init__(
        self,
        side: int = 4,
        *,
        settings: Settings | None = None,
        memory: ModelMemory | None = None,
    ) -> None:
        if not 1 <= side <= SIDE:
            raise UsageError(f"the grid has 1 to {SIDE} cells a side, not {side}")
        self.side = side
        self._settings = settings or Settings()
        self.weights: Weights[_Tower] = (memory or ModelMemory()).weights(
            self._load,
            part="vision_llm",
            name=TOWER,
            device=lambda: pick_device(self._settings),
            precision="float32",
            size=lambda: _BYTES,
            measure=lambda _: _BYTES,
        )

    @property
    def cells(self) -> int:
        return self.side**2 + 1

    def encode(self, images: Sequence[Image], *, mirrored: bool = False) -> FloatArray:
        """Cells of images, or of their mirror images. Other modes than RGB are converted."""
        import numpy as np
        import torch

        if not images:
            return np.zeros((0, self.cells, CHANNELS), np.float32)

        def prepare(image: Image) -> torch.Tensor:
            ready: torch.Tensor = tower.preprocess(image.convert("RGB"))
            return ready.flip(-1) if mirrored else ready

        parts, step = [], 16
        with self.weights.lease() as tower, ThreadPoolExecutor(2) as pool:
            for start in range(0, len(images), step):
                batch = torch.stack(list(pool.map(prepare, images[start : start + step])))
                parts.append(self._pooled(tower.run(batch)))
        found: FloatArray = torch.cat(parts).numpy()
        return found

    def _pooled(self, grid: torch.Tensor) -> torch.Tensor:
        """[n, 1280, 7, 7] to [n, cells, 1280]."""
        import torch

        cells = torch.nn.functional.adaptive_avg_pool2d(grid, self.side).flatten(2)
        return torch.cat([cells, grid.mean((2, 3))[:, :, None]], 2).transpose(1, 2).contiguous()

    def _load(self) -> _Tower:
        import torch

        from ragcore.encoders.starter_clip import PREPROCESS

        trunk = _trunk(self._settings)
        from open_clip import image_transform

        preprocess = image_transform(
            INPUT_SIDE,
            is_train=False,
            mean=PREPROCESS["image_mean"],
            std=PREPROCESS["image_std"],
            interpolation=PREPROCESS["image_interpolation"],
            resize_mode=PREPROCESS["image_resize_mode"],
        )
        device = pick_device(self._settings)
        if device == "cpu":
            from ragcore.encoders.clip_openvino import compile_image_tower

            fast = compile_image_tower(
                _flat(trunk),
                size=(INPUT_SIDE, INPUT_SIDE),
                settings=self._settings,
                name=f"{TOWER}-grid",
            )
            if fast is not None:
                ready = fast
                shape = (-1, CHANNELS, SIDE, SIDE)
                return _Tower(
                    preprocess, lambda batch: torch.from_numpy(ready(batch.numpy())).reshape(shape)
                )
        trunk.to(device)

        def run(batch: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                out: torch.Tensor = trunk.forward_features(batch.to(device)).float().cpu()
            return out

        return _Tower(preprocess, run)


def _trunk(settings: Settings) -> Any:
    """The tower in torch, float32, evaluation mode."""
    import timm
    from safetensors.torch import load_file

    from ragcore.weights import WeightStore

    trunk = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    trunk.load_state_dict(load_file(WeightStore(settings).ensure(TOWER) / "model.safetensors"))
    return trunk.eval()


def _flat(trunk: Any) -> Any:
    """The tower with its feature map as one vector an image, as OpenVINO's wrapper takes it."""
    import torch

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = trunk

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            flat: torch.Tensor = self.trunk.forward_features(pixels).flatten(1)
            return flat

    return Flat().eval()
