"""Training from recipes: every task has a package; recipes and run folders are shared."""

from typing import TYPE_CHECKING

from ragcore.lazy import lazily

if TYPE_CHECKING:
    from ragcore.tuning.classifier.collection import COLLECTION as COLLECTION
    from ragcore.tuning.classifier.head import fit_head as fit_head
    from ragcore.tuning.classifier.head import worth_labelling as worth_labelling
    from ragcore.tuning.classifier.recipe import ClassifierRecipe as ClassifierRecipe
    from ragcore.tuning.classifier.train import ClassifierReport as ClassifierReport
    from ragcore.tuning.classifier.train import tune_classifier as tune_classifier
    from ragcore.tuning.clip.train import ClipReport as ClipReport
    from ragcore.tuning.clip.train import tune_clip as tune_clip
    from ragcore.tuning.diffusion.controlnet import ControlNetReport as ControlNetReport
    from ragcore.tuning.diffusion.controlnet import tune_controlnet as tune_controlnet
    from ragcore.tuning.diffusion.train import STAGES as STAGES
    from ragcore.tuning.diffusion.train import DiffusionReport as DiffusionReport
    from ragcore.tuning.diffusion.train import StageName as StageName
    from ragcore.tuning.diffusion.train import tune_diffusion as tune_diffusion
    from ragcore.tuning.extractive.train import ReaderReport as ReaderReport
    from ragcore.tuning.extractive.train import tune_reader as tune_reader
    from ragcore.tuning.lora.calibration import calibrate_model as calibrate_model
    from ragcore.tuning.lora.train import LoraReport as LoraReport
    from ragcore.tuning.lora.train import tune_lora as tune_lora
    from ragcore.tuning.recipe import parse_recipe as parse_recipe
    from ragcore.tuning.recipe import read_recipe as read_recipe
    from ragcore.tuning.vision.train import ProjectorReport as ProjectorReport
    from ragcore.tuning.vision.train import tune_projector as tune_projector
else:
    __getattr__ = lazily(
        __name__,
        {
            ".classifier.collection": "COLLECTION",
            ".classifier.head": "fit_head worth_labelling",
            ".classifier.recipe": "ClassifierRecipe",
            ".classifier.train": "ClassifierReport tune_classifier",
            ".clip.train": "ClipReport tune_clip",
            ".diffusion.controlnet": "ControlNetReport tune_controlnet",
            ".diffusion.train": "DiffusionReport STAGES StageName tune_diffusion",
            ".extractive.train": "ReaderReport tune_reader",
            ".lora.calibration": "calibrate_model",
            ".lora.train": "LoraReport tune_lora",
            ".recipe": "parse_recipe read_recipe",
            ".vision.train": "ProjectorReport tune_projector",
        },
    )
