"""Pictures from words under control: latent diffusion, guides and ControlNets."""

from ragcore.diffusion.conditions import CONDITIONS, Condition, condition_error, edge_f1, extract
from ragcore.diffusion.gallery import Gallery
from ragcore.diffusion.imaginer import Imagined, Imaginer, ImagineStep, MadePicture
from ragcore.diffusion.pictures import read_recipe
from ragcore.diffusion.request import ControlRequest, GuideRequest, ImagineRequest, LoraRequest

__all__ = [
    "CONDITIONS",
    "Condition",
    "ControlRequest",
    "Gallery",
    "GuideRequest",
    "ImagineRequest",
    "ImagineStep",
    "Imagined",
    "Imaginer",
    "LoraRequest",
    "MadePicture",
    "condition_error",
    "edge_f1",
    "extract",
    "read_recipe",
]
