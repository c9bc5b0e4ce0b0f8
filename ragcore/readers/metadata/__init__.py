"""Image metadata: EXIF, XMP, IPTC, sidecars and file names."""

from ragcore.readers.metadata.read import (
    NO_BLOCKS,
    Blocks,
    blocks_of,
    image_metadata,
    orientation,
    sidecar_of,
    with_file_date,
)

__all__ = [
    "NO_BLOCKS", "Blocks", "blocks_of", "image_metadata", "orientation", "sidecar_of",
    "with_file_date",
]  # fmt: skip
