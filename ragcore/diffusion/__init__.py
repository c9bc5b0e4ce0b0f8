"""Images from words under control: latent diffusion, guidance and ControlNets."""

from ragcore.diffusion.conditions import CONDITIONS, Condition, condition_error, edge_f1, extract
from ragcore.diffusion.gallery import Gallery
from ragcore.diffusion.images import read_recipe
from ragcore.diffusion.imaginer import GeneratedImage, Imagined, Imaginer, ImagineStep
from ragcore.diffusion.request import ControlRequest, GuidanceRequest, ImagineRequest, LoraRequest

__all__ = [
    "CONDITIONS",
    "Condition",
    "ControlRequest",
    "Gallery",
    "GeneratedImage",
    "GuidanceRequest",
    "ImagineRequest",
    "ImagineStep",
    "Imagined",
    "Imaginer",
    "LoraRequest",
    "condition_error",
    "edge_f1",
    "extract",
    "read_recipe",
]
