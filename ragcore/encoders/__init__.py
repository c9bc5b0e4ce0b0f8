"""Models that turn texts and images into vectors, and what is built on them."""

from typing import TYPE_CHECKING

from ragcore.encoders.grid import CHANNELS, TOWER, GridEncoder
from ragcore.lazy import lazily

if TYPE_CHECKING:
    from ragcore.encoders.backbones import PROFILE as PROFILE
    from ragcore.encoders.backbones import Backbone as Backbone
    from ragcore.encoders.backbones import Modality as Modality
    from ragcore.encoders.backbones import Tower as Tower
    from ragcore.encoders.backbones import to_device as to_device
    from ragcore.encoders.classifier import WAYS as WAYS
    from ragcore.encoders.classifier import Classifier as Classifier
    from ragcore.encoders.classifier import ClassifierCard as ClassifierCard
    from ragcore.encoders.classifier import Way as Way
    from ragcore.encoders.classifier import add_lora as add_lora
    from ragcore.encoders.classifier import check_classifier_name as check_classifier_name
    from ragcore.encoders.classifier import classifier_folder as classifier_folder
    from ragcore.encoders.classifier import classifiers_folder as classifiers_folder
    from ragcore.encoders.classifier import list_classifiers as list_classifiers
    from ragcore.encoders.classifier import remove_classifier as remove_classifier
    from ragcore.encoders.classifier import runs_folder as runs_folder
    from ragcore.encoders.classifier import save_classifier as save_classifier
    from ragcore.encoders.classifier import softmax as softmax
    from ragcore.encoders.clip_models import CONFIG_FILE as CONFIG_FILE
    from ragcore.encoders.clip_models import STARTER as STARTER
    from ragcore.encoders.clip_models import LoadedClip as LoadedClip
    from ragcore.encoders.clip_models import load_clip as load_clip
    from ragcore.encoders.extractive import Window as Window
    from ragcore.encoders.extractive import WindowMaker as WindowMaker
    from ragcore.encoders.extractive_reader import ExtractiveReader as ExtractiveReader
    from ragcore.encoders.extractive_reader import SpanInputs as SpanInputs
    from ragcore.encoders.extractive_reader import SpanOutputs as SpanOutputs
    from ragcore.encoders.extractive_reader import SpanScale as SpanScale
    from ragcore.encoders.extractive_reader import save_extractive as save_extractive
    from ragcore.encoders.factories import space_prefix as space_prefix
    from ragcore.encoders.image_text import OpenClipEncoder as OpenClipEncoder
    from ragcore.encoders.image_text import image_size as image_size
    from ragcore.encoders.zero_shot import calibration_of as calibration_of
    from ragcore.encoders.zero_shot import classify_vectors as classify_vectors
    from ragcore.encoders.zero_shot import label_vectors as label_vectors
    from ragcore.encoders.zero_shot import probabilities as probabilities
else:
    __getattr__ = lazily(
        __name__,
        {
            ".backbones": "Backbone Modality PROFILE Tower to_device",
            ".classifier": (
                "Classifier ClassifierCard WAYS Way add_lora check_classifier_name "
                "classifier_folder classifiers_folder list_classifiers remove_classifier "
                "runs_folder save_classifier softmax"
            ),
            ".clip_models": "CONFIG_FILE LoadedClip STARTER load_clip",
            ".extractive": "Window WindowMaker",
            ".extractive_reader": (
                "ExtractiveReader SpanInputs SpanOutputs SpanScale save_extractive"
            ),
            ".factories": "space_prefix",
            ".image_text": "OpenClipEncoder image_size",
            ".zero_shot": "calibration_of classify_vectors label_vectors probabilities",
        },
    )

__all__ = [
    "CHANNELS",
    "TOWER",
    "GridEncoder",
]
