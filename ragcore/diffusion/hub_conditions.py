"""Depth and surface normals by a model of the hub through transformers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.diffusion.conditions import normals_of_depth
from ragcore.errors import ModelUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]


class DepthModel:
    """Any depth estimation model of a folder in transformers' layout.

    Raises ModelUnavailable if the folder holds none.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            self._processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            self._model: Any = AutoModelForDepthEstimation.from_pretrained(
                folder, local_files_only=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelUnavailable(f"{folder} holds no depth estimation model") from error
        self._model.to(device).eval().requires_grad_(False)
        self._device = device

    def depth(self, pixels: Pixels) -> Pixels:
        """Relative depth of RGB uint8 [h, w, 3]: near is bright, the whole range is used."""
        import numpy as np
        import torch
        from PIL import Image
        from torch.nn import functional

        inputs = self._processor(images=Image.fromarray(pixels), return_tensors="pt")
        with torch.no_grad():
            found = self._model(**inputs.to(self._device)).predicted_depth
        resized = functional.interpolate(
            found[:, None].float(), size=pixels.shape[:2], mode="bicubic", align_corners=False
        )[0, 0].cpu()
        low, high = resized.min(), resized.max()
        scaled = ((resized - low) / (high - low).clamp_min(1e-20) * 255).round().byte().numpy()
        return np.repeat(scaled[..., None], 3, axis=2)

    def normals(self, pixels: Pixels) -> Pixels:
        """Surface normals of the depth, as `normals_of_depth` draws them."""
        return normals_of_depth(self.depth(pixels))
