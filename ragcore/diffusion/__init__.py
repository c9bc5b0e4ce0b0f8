"""Images from words under control: latent diffusion, guidance and ControlNets."""

from typing import TYPE_CHECKING

from ragcore.diffusion.base import LoraDiffuser
from ragcore.diffusion.conditions import CONDITIONS, Condition, condition_error, edge_f1, extract
from ragcore.diffusion.gallery import Gallery
from ragcore.diffusion.hub_conditions import MAKES
from ragcore.diffusion.images import as_png, open_image, read_recipe, square
from ragcore.diffusion.imaginer import GeneratedImage, Imagined, Imaginer, ImagineStep
from ragcore.diffusion.request import (
    MOST_COUNT,
    MOST_GUIDANCE,
    MOST_SCALE,
    MOST_STEPS,
    SAMPLERS,
    ControlRequest,
    GuidanceRequest,
    ImagineRequest,
    LoraRequest,
)
from ragcore.lazy import lazily

if TYPE_CHECKING:
    from ragcore.diffusion.canny_stages import CannyStage as CannyStage
    from ragcore.diffusion.factories import condition_model as condition_model
    from ragcore.diffusion.latents import Probe as Probe
    from ragcore.diffusion.latents import load_probes as load_probes
    from ragcore.diffusion.negative_examples import NegativeExample as NegativeExample
else:
    __getattr__ = lazily(
        __name__,
        {
            ".canny_stages": "CannyStage",
            ".factories": "condition_model",
            ".latents": "Probe load_probes",
            ".negative_examples": "NegativeExample",
        },
    )

__all__ = [
    "CONDITIONS",
    "MAKES",
    "MOST_COUNT",
    "MOST_GUIDANCE",
    "MOST_SCALE",
    "MOST_STEPS",
    "SAMPLERS",
    "Condition",
    "ControlRequest",
    "Gallery",
    "GeneratedImage",
    "GuidanceRequest",
    "ImagineRequest",
    "ImagineStep",
    "Imagined",
    "Imaginer",
    "LoraDiffuser",
    "LoraRequest",
    "as_png",
    "condition_error",
    "edge_f1",
    "extract",
    "open_image",
    "read_recipe",
    "square",
]
