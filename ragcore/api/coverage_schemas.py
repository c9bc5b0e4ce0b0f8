"""What of a document was read: the models behind the OpenAPI description."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class PartCountsResponse(BaseModel):
    """Each of the `found` is read, partial, skipped or ignored (decoration, repeats, links); the
    text of `ocr` of them was recognized."""

    found: int = 0
    read: int = 0
    partial: int = 0
    skipped: int = 0
    ignored: int = 0
    ocr: int = 0


class SkippedResponse(BaseModel):
    """Parts that were not read, or not whole (`partial`), for one reason."""

    part: Literal["page", "sheet", "table", "image", "attachment", "text"]
    count: int
    where: str = Field(description="Page numbers or names.", examples=["2-4, 7"])
    why: str
    partial: bool = False


class CoverageResponse(BaseModel):
    """What of a file was read. Pages are also slides, chapters and messages."""

    pages: PartCountsResponse
    sheets: PartCountsResponse
    tables: PartCountsResponse
    images: PartCountsResponse
    attachments: PartCountsResponse
    skipped: list[SkippedResponse]
