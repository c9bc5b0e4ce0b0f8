"""The facade: verbs on `Library` and `Collection`, everything else under named parts.

The CLI, the browser pages, the API and MCP import from here and from the shared vocabulary
(`ragcore.types`, `ragcore.errors`, `ragcore.settings`, …), and nothing from the rooms below. The
names below `TYPE_CHECKING` are what the library takes and returns; they are loaded when first used.
"""

from typing import TYPE_CHECKING

from ragcore.access import LOCAL, Principal, principal_of
from ragcore.catalog import DEFAULT_COLLECTION, SCOPES, filters
from ragcore.catalog.filters import FILTERS, Filter, FilterField
from ragcore.lazy import lazily
from ragcore.library.collection import Collection
from ragcore.library.library import Library

if TYPE_CHECKING:
    from ragcore.access import Audit, KeyInfo, Keys, Sessions, host_name, same_origin
    from ragcore.answers import AnswerEvent, Reply, hit_from
    from ragcore.catalog import (
        AlbumInfo,
        ConversationInfo,
        ImageGroup,
        ImageInfo,
        ImageMarks,
        Statistics,
        TurnInfo,
        check_name,
    )
    from ragcore.diffusion import (
        CONDITIONS,
        MOST_COUNT,
        MOST_GUIDANCE,
        MOST_SCALE,
        MOST_STEPS,
        SAMPLERS,
        ControlRequest,
        GeneratedImage,
        GuidanceRequest,
        Imagined,
        ImagineRequest,
        ImagineStep,
        LoraRequest,
        as_png,
        open_image,
    )
    from ragcore.encoders import ClassifierCard
    from ragcore.ingest import JobInfo
    from ragcore.library.adapters import BARE, PROFILES_OWN
    from ragcore.library.comparing import ProfileAnswers
    from ragcore.library.model_adding import AddedModel
    from ragcore.library.model_profiles import ProfileOffer
    from ragcore.library.samples import SAMPLE, copy_documents, package_folder
    from ragcore.library.sources import SourceInfo, SourceSchedule
    from ragcore.library.uploaded_files import UploadedFile
    from ragcore.llm import AdapterInfo, ImageAnswer
    from ragcore.models import cache_lookups
    from ragcore.search import CollectionMap, Decision, DuplicateGroup, FileGroup, MapPoint
    from ragcore.weights import Profile
else:
    __getattr__ = lazily(
        __name__,
        {
            ".adapters": "BARE PROFILES_OWN",
            ".comparing": "ProfileAnswers",
            ".model_adding": "AddedModel",
            ".model_profiles": "ProfileOffer",
            ".samples": "SAMPLE copy_documents package_folder",
            ".sources": "SourceInfo SourceSchedule",
            ".uploaded_files": "UploadedFile",
            "ragcore.access": "Audit KeyInfo Keys Sessions host_name same_origin",
            "ragcore.answers": "AnswerEvent Reply hit_from",
            "ragcore.catalog": (
                "AlbumInfo ConversationInfo ImageGroup ImageInfo ImageMarks Statistics "
                "TurnInfo check_name"
            ),
            "ragcore.diffusion": (
                "CONDITIONS ControlRequest GeneratedImage GuidanceRequest ImagineRequest "
                "ImagineStep Imagined LoraRequest MOST_COUNT MOST_GUIDANCE MOST_SCALE "
                "MOST_STEPS SAMPLERS as_png open_image"
            ),
            "ragcore.encoders": "ClassifierCard",
            "ragcore.ingest": "JobInfo",
            "ragcore.llm": "AdapterInfo ImageAnswer",
            "ragcore.models": "cache_lookups",
            "ragcore.search": "CollectionMap Decision DuplicateGroup FileGroup MapPoint",
            "ragcore.weights": "Profile",
        },
    )

__all__ = [
    "BARE",
    "CONDITIONS",
    "DEFAULT_COLLECTION",
    "FILTERS",
    "LOCAL",
    "MOST_COUNT",
    "MOST_GUIDANCE",
    "MOST_SCALE",
    "MOST_STEPS",
    "PROFILES_OWN",
    "SAMPLE",
    "SAMPLERS",
    "SCOPES",
    "AdapterInfo",
    "AddedModel",
    "AlbumInfo",
    "AnswerEvent",
    "Audit",
    "ClassifierCard",
    "Collection",
    "CollectionMap",
    "ControlRequest",
    "ConversationInfo",
    "Decision",
    "DuplicateGroup",
    "FileGroup",
    "Filter",
    "FilterField",
    "GeneratedImage",
    "GuidanceRequest",
    "ImageAnswer",
    "ImageGroup",
    "ImageInfo",
    "ImageMarks",
    "ImagineRequest",
    "ImagineStep",
    "Imagined",
    "JobInfo",
    "KeyInfo",
    "Keys",
    "Library",
    "LoraRequest",
    "MapPoint",
    "Principal",
    "Profile",
    "ProfileAnswers",
    "ProfileOffer",
    "Reply",
    "Sessions",
    "SourceInfo",
    "SourceSchedule",
    "Statistics",
    "TurnInfo",
    "UploadedFile",
    "as_png",
    "cache_lookups",
    "check_name",
    "copy_documents",
    "filters",
    "hit_from",
    "host_name",
    "open_image",
    "package_folder",
    "principal_of",
    "same_origin",
]
