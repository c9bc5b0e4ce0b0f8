"""Depth, surface normals and key points by models of the hub through transformers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from ragcore.diffusion.conditions import extract, normals_of_depth
from ragcore.diffusion.skeleton import draw_skeletons
from ragcore.errors import ModelUnavailable, UsageError
from ragcore.models import Weights, module_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

# What a model of each kind makes.
MAKES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"depth-estimation": ("depth", "normals"), "pose-estimation": ("pose",)}
)


class ConditionModel(Protocol):
    """Takes conditions from images, RGB uint8 [h, w, 3] both."""

    def condition(self, kind: str, pixels: Pixels) -> Pixels: ...

    def bytes(self) -> int: ...


class DepthModel:
    """Any depth estimation model of a folder in transformers' layout.

    Raises ModelUnavailable if the folder holds none.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        self._processor = _loaded(AutoImageProcessor, folder, "depth estimation")
        self._model = _loaded(AutoModelForDepthEstimation, folder, "depth estimation")
        self._model.to(device).eval().requires_grad_(False)
        self._device = device

    def bytes(self) -> int:
        return module_bytes(self._model)

    def condition(self, kind: str, pixels: Pixels) -> Pixels:
        return self.normals(pixels) if kind == "normals" else self.depth(pixels)

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


class PoseModel:
    """Key points of people by a ViTPose model, drawn as ControlNets for poses have seen them.

    `detector` is the folder of an object detection model that finds the people. Without it, or
    where it finds nobody, one person is looked for in the whole image. Raises ModelUnavailable.
    """

    def __init__(self, folder: Path, *, detector: Path | None = None, device: str = "cpu") -> None:
        from transformers import (
            AutoImageProcessor,
            AutoModelForObjectDetection,
            VitPoseForPoseEstimation,
        )

        what = "pose estimation"
        self._processor = _loaded(AutoImageProcessor, folder, what)
        self._model = _loaded(VitPoseForPoseEstimation, folder, what).to(device).eval()
        self._device = device
        self._finder: tuple[Any, Any] | None = None
        if detector is not None:
            found = _loaded(AutoModelForObjectDetection, detector, "object detection")
            self._finder = (
                _loaded(AutoImageProcessor, detector, "object detection"),
                found.to(device).eval(),
            )

    def bytes(self) -> int:
        finder = module_bytes(self._finder[1]) if self._finder else 0
        return module_bytes(self._model) + finder

    def condition(self, kind: str, pixels: Pixels) -> Pixels:
        return draw_skeletons(pixels.shape[:2], self.people(pixels))

    def people(self, pixels: Pixels) -> list[NDArray[np.float32]]:
        """For every person the 17 key points of COCO as (x, y, how sure), float32 [17, 3]."""
        import numpy as np
        import torch
        from PIL import Image

        image = Image.fromarray(pixels)
        boxes = self._boxes(image)
        inputs = self._processor(images=image, boxes=[boxes], return_tensors="pt")
        experts = getattr(self._model.config.backbone_config, "num_experts", 1)
        more = {"dataset_index": torch.zeros(len(boxes), dtype=torch.long)} if experts > 1 else {}
        with torch.no_grad():
            found = self._model(
                inputs["pixel_values"].to(self._device),
                **{name: value.to(self._device) for name, value in more.items()},
            )
        people = self._processor.post_process_pose_estimation(found, boxes=[boxes])[0]
        return [
            np.concatenate([one["keypoints"].numpy(), one["scores"].numpy()[:, None]], axis=1)
            for one in people
        ]

    def _boxes(self, image: Any) -> list[list[float]]:
        """Where people are, as (left, top, width, height); the whole image if nobody is found."""
        import torch

        whole = [[0.0, 0.0, float(image.width), float(image.height)]]
        if self._finder is None:
            return whole
        processor, model = self._finder
        with torch.no_grad():
            found = model(**processor(images=image, return_tensors="pt").to(self._device))
        (detected,) = processor.post_process_object_detection(
            found, threshold=0.5, target_sizes=[(image.height, image.width)]
        )
        names = {number: str(name).lower() for number, name in model.config.id2label.items()}
        boxes = [
            [left, top, right - left, bottom - top]
            for (left, top, right, bottom), label in zip(
                detected["boxes"].tolist(), detected["labels"].tolist(), strict=True
            )
            if names.get(label) == "person" and right > left and bottom > top
        ]
        return boxes or whole


# What makes a model of each kind from its folders, the second one being its helper's.
_MAKERS: Mapping[str, Callable[[Sequence[Path], str], ConditionModel]] = MappingProxyType(
    {
        "depth-estimation": lambda folders, device: DepthModel(folders[0], device=device),
        "pose-estimation": lambda folders, device: PoseModel(
            folders[0], detector=folders[1] if len(folders) > 1 else None, device=device
        ),
    }
)


class ConditionModels:
    """Models for conditions by kind, each loaded when it is first needed. Safe for threads."""

    def __init__(self, models: Mapping[str, Weights[ConditionModel]] | None = None) -> None:
        self._models = dict(models or {})
        self._lock = threading.Lock()

    @property
    def names(self) -> dict[str, str]:
        """The model's name for every kind of condition that one makes."""
        return {kind: weights.name for kind, weights in self._models.items()}

    def extract(self, kind: str, pixels: Pixels) -> Pixels:
        """The condition of an image, by a model or by OpenCV. Errors as of `conditions.extract`.

        Raises ModelUnavailable where the model cannot be had.
        """
        if kind not in self._models:
            return extract(kind, pixels)
        with self._models[kind].lease() as model, self._lock:
            return model.condition(kind, pixels)


def open_model(kind: str, folders: Sequence[Path], *, device: str = "cpu") -> ConditionModel:
    """A model by what it does, one of `MAKES`; further folders are its helpers.

    Raises UsageError for another kind, ModelUnavailable.
    """
    if kind not in _MAKERS:
        raise UsageError(f"unknown kind {kind!r} of a condition's model: use {', '.join(MAKES)}")
    return _MAKERS[kind](folders, device)


def _loaded(kind: Any, folder: Path, what: str) -> Any:
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelUnavailable(f"{folder} holds no {what} model") from error
