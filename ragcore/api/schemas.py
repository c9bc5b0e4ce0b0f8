"""What requests and answers look like: the models behind the OpenAPI description."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from ragcore.library import ImageInfo, ImageMarks, Statistics, filters
from ragcore.renamed import with_current_names
from ragcore.serialize import hit_json
from ragcore.types import (
    AnswerStyle,
    CollectionInfo,
    Hit,
    ImageMetadata,
    Labelled,
)

MAX_TEXT = 20_000
_DEPRECATED = {"same_picture": "same_image"}  # earlier names of fields


class StrictModel(BaseModel):
    """A request: what is not described is refused."""

    model_config = ConfigDict(extra="forbid")


class ResponseModel(BaseModel):
    """An answer whose fields are attributes of what the library returns."""

    model_config = ConfigDict(from_attributes=True)

    @classmethod
    def of(cls, found: object) -> Self:
        return cls.model_validate(found)


# --- collections ---------------------------------------------------------------


class StyleFields(StrictModel):
    """How answers are worded; what is empty is left to the model."""

    instruction: str = Field(default="", max_length=500, description="Added to the model's own.")
    tone: str = Field(default="", max_length=60, examples=["formal"])
    language: str = Field(default="", max_length=60, examples=["German"])
    length: int = Field(default=0, ge=0, le=2000, description="Words; 0: one short sentence.")

    def style(self) -> AnswerStyle:
        return AnswerStyle(**self.model_dump())


class NewCollection(StrictModel):
    """A collection to be created."""

    name: str = Field(min_length=1, max_length=100, examples=["papers"])


class Changes(StrictModel):
    """What is given is changed."""

    name: str | None = Field(default=None, min_length=1, max_length=100, examples=["old papers"])
    adapter: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="A LoRA adapter that answers here; none: the bare model; default: undo.",
    )
    style: StyleFields | None = Field(default=None, description="How answers are worded here.")


class CollectionResponse(BaseModel):
    """A collection and what it holds."""

    name: str
    created_at: datetime
    documents: int
    failed: int
    incomplete: int = Field(description="Documents of which something was not read.")
    pages: int
    passages: int
    images: int
    bytes: int
    types: dict[str, int]
    adapter: str | None = Field(description="What answers its questions; null: the profile's.")
    style: StyleFields = Field(description="How its answers are worded.")

    @classmethod
    def of(cls, info: CollectionInfo, counts: Statistics) -> CollectionResponse:
        return cls(
            adapter=info.adapter,
            style=StyleFields(**asdict(info.style)),
            name=info.name,
            created_at=info.created_at,
            documents=counts.documents,
            failed=counts.states.get("failed", 0),
            incomplete=counts.incomplete,
            pages=counts.pages,
            passages=counts.passages,
            images=counts.images,
            bytes=counts.bytes,
            types=counts.types,
        )


class CollectionList(BaseModel):
    """The collections that the key may read."""

    items: list[CollectionResponse]


class Deleted(BaseModel):
    """The name of what was deleted, and how many documents went with it."""

    deleted: str
    documents: int


# --- documents and images --------------------------------------------------------


class PartCountsResponse(ResponseModel):
    """Each of the `found` is read, partial, skipped or ignored (decoration, repeats, links).

    The text of `ocr` of them was recognized.
    """

    found: int = 0
    read: int = 0
    partial: int = 0
    skipped: int = 0
    ignored: int = 0
    ocr: int = 0


class SkippedResponse(ResponseModel):
    """Parts that were not read, or not whole (`partial`), for one reason."""

    part: Literal["page", "sheet", "table", "image", "attachment", "text"]
    count: int
    where: str = Field(description="Page numbers or names.", examples=["2-4, 7"])
    why: str
    partial: bool = False


class CoverageResponse(ResponseModel):
    """What of a file was read. Pages are also slides, chapters and messages."""

    pages: PartCountsResponse
    sheets: PartCountsResponse
    tables: PartCountsResponse
    images: PartCountsResponse
    attachments: PartCountsResponse
    skipped: list[SkippedResponse]


class DocumentResponse(ResponseModel):
    """A file as ingested. `state`: ready, stale (an older version is kept), failed."""

    id: int
    name: str
    title: str
    path: str
    media_type: str
    size: int
    state: str
    error: str
    warnings: list[str]
    incomplete: bool = Field(description="Something of the file was not read: see `coverage`.")
    coverage: CoverageResponse | None = Field(
        description="What was read; null for failed files and those read by earlier versions."
    )
    paged: bool
    pages: int
    passages: int
    images: int
    details: dict[str, Any]
    modified_at: datetime
    ingested_at: datetime


class DocumentList(BaseModel):
    """A page of a collection's documents; `total` counts all that match."""

    items: list[DocumentResponse]
    total: int
    next_cursor: str | None = Field(description="Give it as `cursor` to get the next ones.")


class PageResponse(ResponseModel):
    """A page's text. `start` is its offset in the document's text, which spans count in."""

    number: int
    label: str | None
    start: int
    ocr: bool
    text: str


class ImageResponse(BaseModel):
    """An image file, an image found inside a document, or a frame of a video.

    An image file has no `page`, a frame has its `second`.
    """

    id: int
    document_id: int
    document: str
    path: str
    page: int | None
    second: float | None = Field(description="Where a frame is in its video.")
    width: int
    height: int
    caption: str
    caption_by: str | None = Field(description="The model that wrote the caption; null: people.")
    text: str
    metadata: ImageMetadata | None = Field(
        description="How an image file was taken. `taken_at` is the clock of that place, "
        "`utc_offset` in minutes, `taken_from` its source: sidecar, exif, xmp, iptc, video, name, "
        "file."
    )

    marks: ImageMarks = Field(
        description="What people say of it; `rating` counts in place of the file's, null: that."
    )

    @classmethod
    def of(
        cls, info: ImageInfo, metadata: ImageMetadata | None, marks: ImageMarks | None
    ) -> ImageResponse:
        more = {"caption_by": info.caption_by or None, "metadata": metadata, "marks": marks}
        return cls(**asdict(info) | more | ({} if marks else {"marks": ImageMarks()}))


class ImageList(BaseModel):
    """A page of a collection's images."""

    items: list[ImageResponse]
    next_cursor: str | None


# --- jobs ----------------------------------------------------------------------


class IngestRequest(StrictModel):
    """Files and folders of the server's own computer."""

    paths: list[str] = Field(min_length=1, max_length=1000, examples=[["/srv/papers"]])
    sync: bool = Field(default=False, description="Remove documents whose files are gone.")
    passwords: list[str] = Field(default=[], max_length=20, description="For locked files.")


class Started(BaseModel):
    """Work that goes on in the background: look at `location`, or at its events."""

    job: int
    location: str
    files: list[str] = []


class JobResponse(ResponseModel):
    """`state`: running, done, failed, cancelled, interrupted, resumed."""

    id: int
    kind: str
    state: str
    progress: dict[str, Any] = Field(
        examples=[{"stage": "embed", "done": 3, "total": 8, "rate": 1.5, "failed": 0}]
    )
    report: dict[str, Any]
    error: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class JobList(BaseModel):
    """A page of a collection's jobs, newest first."""

    items: list[JobResponse]
    next_cursor: str | None


# --- search and ask ----------------------------------------------------------------

Where = Annotated[dict[str, str], WithJsonSchema(filters.json_schema())]
CURSOR: Any = Field(default=None, max_length=200, description="`next_cursor` of the page before.")


class SearchRequest(StrictModel):
    """By words, by an image, or by both; `minus` are words to move away from."""

    text: str = Field(default="", max_length=MAX_TEXT, examples=["notice period"])
    minus: str = Field(default="", max_length=MAX_TEXT)
    image: str | None = Field(default=None, description="An image file in base64.")
    kind: Literal["passages", "images", "all"] = "all"
    limit: int = Field(default=10, ge=1, le=100)
    cursor: str | None = CURSOR
    where: Where = Field(default={})
    cutoff: float | None = Field(default=None, ge=0, le=1, description="0 shows everything.")
    text_weight: float = Field(default=1.0, ge=0, le=10)
    image_weight: float = Field(default=1.0, ge=0, le=10)
    minus_weight: float = Field(default=0.5, ge=0, le=10)
    same_image: bool = Field(default=False, description="Find copies of this very image.")
    rerank: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, values: Any) -> Any:
        return with_current_names(values, _DEPRECATED, "the field")


class HitResponse(BaseModel):
    """What was found, and why. `score` is in [0, 1]."""

    id: int
    kind: Literal["passage", "image"]
    score: float
    document_id: int
    document: str
    collection: str
    path: str
    text: str
    page: int | None
    page_end: int | None
    second: float | None = Field(description="Where a frame is in its video.")
    span: tuple[int, int] | None
    heading: str
    media_type: str
    caption_by: str | None = Field(description="The model that wrote an image's caption.")
    why: dict[str, Any]

    @classmethod
    def of(cls, hit: Hit) -> HitResponse:
        return cls.model_validate(hit_json(hit))


class LabelRequest(StrictModel):
    """Names to choose between for every image of the collection."""

    labels: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        min_length=2, max_length=500, examples=[["dog", "cat", "car"]]
    )
    top: int = Field(default=3, ge=1, le=20, description="Labels for each image.")
    none: bool = Field(default=False, description='"none of these" is an answer, too.')
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = CURSOR
    where: Where = Field(default={})


class LabelResponse(BaseModel):
    """A label with its probability among all labels given."""

    label: str
    probability: float


class LabelledResponse(BaseModel):
    """An image with the labels that fit it best, best first."""

    image: HitResponse
    labels: list[LabelResponse]

    @classmethod
    def of(cls, labelled: Labelled) -> LabelledResponse:
        return cls(
            image=HitResponse.of(labelled.hit),
            labels=[
                LabelResponse(label=one.name, probability=round(one.probability, 4))
                for one in labelled.labels
            ],
        )


class LabelAnswer(BaseModel):
    """Images, the surest ones first."""

    images: list[LabelledResponse]
    total: int
    next_cursor: str | None


class SearchAnswer(BaseModel):
    """Hits by falling score; `below` are the nearest ones under the cut-off (first page only)."""

    hits: list[HitResponse]
    below: list[HitResponse]
    cutoff: float
    next_cursor: str | None
    seconds: dict[str, float]
