"""Files to passages and images: discover, read, split, embed, store."""

from typing import TYPE_CHECKING

from ragcore.ingest.split import passage_input
from ragcore.ingest.split import split as split_document
from ragcore.lazy import lazily

if TYPE_CHECKING:
    from ragcore.ingest.captioning import CaptionReport as CaptionReport
    from ragcore.ingest.captioning import caption_collection as caption_collection
    from ragcore.ingest.discover import open_sources as open_sources
    from ragcore.ingest.embed import Embedder as Embedder
    from ragcore.ingest.embed import SpaceIds as SpaceIds
    from ragcore.ingest.engines import Engine as Engine
    from ragcore.ingest.engines import LocalEngine as LocalEngine
    from ragcore.ingest.jobs import JobInfo as JobInfo
    from ragcore.ingest.jobs import JobRunner as JobRunner
    from ragcore.ingest.jobs import Work as Work
    from ragcore.ingest.labelling import LabelReport as LabelReport
    from ragcore.ingest.labelling import label_collection as label_collection
    from ragcore.ingest.memory import reader_limit as reader_limit
    from ragcore.ingest.page_view import page_boxes as page_boxes
    from ragcore.ingest.page_view import page_image as page_image
    from ragcore.ingest.pipeline import IngestPipeline as IngestPipeline
    from ragcore.ingest.pool import ReaderProcess as ReaderProcess
    from ragcore.ingest.ray_engine import RayEngine as RayEngine
    from ragcore.ingest.reembed import Reembedding as Reembedding
    from ragcore.ingest.reembed import ReembedReport as ReembedReport
    from ragcore.ingest.refresh import MetadataReport as MetadataReport
    from ragcore.ingest.refresh import refresh_metadata as refresh_metadata
    from ragcore.ingest.sizes import Sizes as Sizes
    from ragcore.ingest.sizes import check_sizes as check_sizes
    from ragcore.ingest.sizes import reach_of as reach_of
    from ragcore.ingest.speech import Transcription as Transcription
    from ragcore.ingest.speech import sound_segments as sound_segments
    from ragcore.ingest.uploads import Uploads as Uploads
    from ragcore.ingest.uploads import safe_name as safe_name
    from ragcore.ingest.uploads import store_file as store_file
    from ragcore.ingest.worker import ReadRequest as ReadRequest
else:
    __getattr__ = lazily(
        __name__,
        {
            ".captioning": "CaptionReport caption_collection",
            ".discover": "open_sources",
            ".embed": "Embedder SpaceIds",
            ".engines": "Engine LocalEngine",
            ".jobs": "JobInfo JobRunner Work",
            ".labelling": "LabelReport label_collection",
            ".memory": "reader_limit",
            ".page_view": "page_boxes page_image",
            ".pipeline": "IngestPipeline",
            ".pool": "ReaderProcess",
            ".ray_engine": "RayEngine",
            ".reembed": "ReembedReport Reembedding",
            ".refresh": "MetadataReport refresh_metadata",
            ".sizes": "Sizes check_sizes reach_of",
            ".speech": "Transcription sound_segments",
            ".uploads": "Uploads safe_name store_file",
            ".worker": "ReadRequest",
        },
    )

__all__ = [
    "passage_input",
    "split_document",
]
