"""The vocabulary that every room shares. Plain data, no behavior, no heavy imports."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ragcore.answer_parts import AnswerStep, MeantCandidate
from ragcore.answer_parts import AnswerStyle as AnswerStyle
from ragcore.notebooks import HtmlAnswer, HtmlResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]
    IdArray = NDArray[np.int64]

HitKind = Literal["passage", "image"]
SearchKind = Literal["passages", "images", "all"]
TakenFrom = Literal["", "sidecar", "exif", "xmp", "iptc", "video", "name", "file"]
PartKind = Literal["page", "sheet", "table", "image", "attachment", "text"]


# --- reading -----------------------------------------------------------------

PAGE_BREAK = "\f"  # between the texts of two pages in a document's text


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as its source lists it. `path` is its location: a path of this computer or a URL.

    `size` is in bytes (-1: not known before it is fetched). `version` is the source's own, "" for
    files of this computer. `origin` is the location of the remote folder or site that listed it,
    "" for what was named itself and for files of this computer.
    """

    path: str
    name: str
    size: int
    mtime_ns: int
    sha256: str = ""
    version: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page (slide, sheet, chapter) of a document as text.

    `number` counts from 1 without gaps, and `text` has no form feed, so that a character's page is
    that of its passage plus the form feeds between them. `label` is what is printed on it ("iv",
    "Sheet1"), if known. `headings` are (start, level, title) with `start` an offset in `text`.
    """

    number: int
    text: str
    label: str | None = None
    ocr: bool = False
    headings: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMetadata:
    """What is known of how an image was taken.

    `taken_at` is what the clock showed where it was taken, without a time zone, `utc_offset` how
    many minutes that clock was ahead of UTC, if known; `taken_from` is where the date comes from.
    `focal_length` is in millimeters, `exposure` in seconds, `aperture` the f-number; `latitude`
    and `longitude` are degrees (WGS 84). `place` is the nearest town. `rating` is 1 to 5, or -1
    (rejected). `caption` and `keywords` are people's. `orientation` is EXIF's, 1 to 8.
    """

    taken_at: dt.datetime | None = None
    utc_offset: int | None = None
    taken_from: TakenFrom = ""
    camera: str = ""
    lens: str = ""
    focal_length: float | None = None
    exposure: float | None = None
    aperture: float | None = None
    iso: int | None = None
    latitude: float | None = None
    longitude: float | None = None
    place: str = ""
    rating: int | None = None
    keywords: tuple[str, ...] = ()
    caption: str = ""
    orientation: int = 1


@dataclass(frozen=True, slots=True)
class ReadImage:
    """An image as found: the file itself or a frame (`page` is None), or one inside a document.

    `data` holds encoded bytes of an embedded image or a frame (PNG or JPEG); None for a file's own
    image, which is read from its path; that of a remote source's file has the file's bytes.
    `thumbnail` is WebP, at most 320 pixels a side. `pixels_sha256` is over the upright RGB
    pixels. `phash` holds perceptual hashes (see `ragcore.readers.images`). `text` is what OCR
    read in it. `pixels` is RGB uint8 [h, w, 3] for the encoder, made smaller (short side at most
    448): it is not stored.
    """

    width: int
    height: int
    pixels_sha256: str
    thumbnail: bytes
    phash: bytes = b""
    page: int | None = None
    data: bytes | None = None
    text: str = ""
    caption: str = ""
    pixels: NDArray[np.uint8] | None = None
    metadata: ImageMetadata | None = None  # of an image file or a video
    second: float | None = None  # of a frame of a video, from its beginning


@dataclass(frozen=True, slots=True)
class PartCounts:
    """Parts of one kind in a document: each of the `found` is one of the four that follow.

    `partial`: read, but not whole. `ignored`: decoration, repeats, and what the file only refers
    to. `ocr` is how many of the read and partial ones have text that was recognized.
    """

    found: int = 0
    read: int = 0
    partial: int = 0
    skipped: int = 0
    ignored: int = 0
    ocr: int = 0


@dataclass(frozen=True, slots=True)
class SkippedParts:
    """Parts of a document that were not read, or not whole, for one reason.

    `where` has their page numbers or names, at most some 200 characters; `partial` says that
    some of each was read.
    """

    part: PartKind
    count: int
    where: str
    why: str
    partial: bool = False

    def __str__(self) -> str:
        """One line, such as "2 pages not read (3-4): text recognition is off"."""
        what = "text" if self.part == "text" else f"{self.count:,} {self.part}"
        plural = "s" if self.count != 1 and self.part != "text" else ""
        how = "read in part" if self.partial else "not read"
        where = f" ({self.where})" if self.where else ""
        return f"{what}{plural} {how}{where}: {self.why}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What of a file was read.

    Pages are also slides, chapters and messages; `skipped` is empty where nothing is missing.
    """

    pages: PartCounts = PartCounts()
    sheets: PartCounts = PartCounts()
    tables: PartCounts = PartCounts()
    images: PartCounts = PartCounts()
    attachments: PartCounts = PartCounts()
    skipped: tuple[SkippedParts, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """What a reader returns for one file.

    Where a reader has no `coverage`, all pages and images that it returned count as read, and
    each of its `warnings` as text that was skipped. `sound` is how many seconds of sound there
    are, whose words the profile's transcriber is to add as a page (0: none).
    """

    media_type: str
    title: str
    pages: tuple[Page, ...] = ()
    images: tuple[ReadImage, ...] = ()
    paged: bool = False  # pages are real pages/slides/sheets, worth citing by number
    metadata: Mapping[str, Any] = field(default_factory=dict)  # author, created, language, …
    warnings: tuple[str, ...] = ()  # e.g. "page 3: OCR failed", kept with the document
    coverage: Coverage | None = None
    sound: float = 0.0


@dataclass(frozen=True, slots=True)
class SpeechSegment:
    """What is said from `start` to `end`, in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class PassageDraft:
    """A retrievable piece of text before it has an id.

    `start`/`end` are character offsets in the document's text, which is its pages' texts
    joined by `PAGE_BREAK`; `text == document_text[start:end]`.
    """

    text: str
    start: int
    end: int
    page: int
    page_end: int
    heading: str = ""  # "Chapter > Section", prefixed to the text when it is embedded


@dataclass(frozen=True, slots=True)
class PassageSize:
    """How long passages are: at most `tokens`, of which `overlap` stand in the one before, too.

    Both are tokens of the text encoder; `factor` of them make one of the splitter's estimate.
    """

    tokens: int = 220
    overlap: int = 0
    factor: float = 1.0

    @property
    def target(self) -> int:
        """Tokens at which a passage ends at the next good place."""
        return max(1, (self.tokens - self.overlap) * 8 // 11)

    @property
    def name(self) -> str:
        """Identifies a size; "" for the default."""
        if self == DEFAULT_PASSAGES:
            return ""
        return f"{self.tokens}-{self.overlap}x{self.factor:.2f}"


DEFAULT_PASSAGES = PassageSize()


# --- searching ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Why:
    """Why a hit was found. Scores are cosines for dense, BM25 for lexical, None where absent."""

    dense: float | None = None
    lexical: float | None = None
    rerank: float | None = None
    matched: tuple[str, ...] = ()  # words of the query as they stand in the text


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result. `score` is in [0, 1], higher is better, comparable within a kind."""

    id: int
    kind: HitKind
    score: float
    document_id: int
    document: str  # title, or file name where there is none
    path: str
    text: str  # the passage; for an image its caption or the text in it
    page: int | None = None
    page_end: int | None = None
    span: tuple[int, int] | None = None  # in the document's text
    heading: str = ""
    media_type: str = ""
    collection: str = ""
    why: Why = Why()
    caption_by: str = ""  # the model that wrote an image's caption; "": people did
    second: float | None = None  # where a frame is in its video, or where words are said


NONE_OF_THESE = "none of these"  # the label of an image that no label fits, where it is asked for


@dataclass(frozen=True, slots=True)
class Label:
    """A label and the probability that it is the one that fits, among all labels given."""

    name: str
    probability: float


@dataclass(frozen=True, slots=True)
class Labelled:
    """An image of a collection with the labels that fit it best, best first.

    The hit's score is the first label's probability.
    """

    hit: Hit
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """What to look for. At least one of `text`, `image`, `minus` must be given.

    `image` is a path or encoded bytes. `where` is a `Filter`, or its string form by field
    (docs/explanation/search.md). `cutoff` overrides the collection's relevance cut-off (0 shows
    everything).
    """

    text: str = ""
    image: str | Path | bytes | None = None
    minus: str = ""
    text_weight: float = 1.0
    image_weight: float = 1.0
    minus_weight: float = 0.5
    kind: SearchKind = "all"
    k: int = 10
    where: Mapping[str, str] = field(default_factory=dict)
    collection: str = "default"
    collections: tuple[str, ...] = ()  # searched together, instead of `collection`
    cutoff: float | None = None
    rerank: bool | None = None  # None: as the profile says
    same_image: bool = False  # image query: near-duplicates instead of the same kind of thing


@dataclass(frozen=True, slots=True)
class SearchResult(HtmlResult):
    """`hits` pass the cut-off, best first; `below` are the nearest that did not (at most k)."""

    hits: tuple[Hit, ...]
    below: tuple[Hit, ...] = ()
    cutoff: float = 0.0
    seconds: Mapping[str, float] = field(default_factory=dict)  # encode, dense, …, total


# --- answering ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Citation:
    """`n` is the number in the answer's [n].

    `quote` stands word for word in the passage, or in the caption or text of the image `image_id`
    (`passage_id` is 0 then). It begins on `page` and ends on `page_end`.
    """

    n: int
    document: str
    document_id: int
    page: int | None
    quote: str
    passage_id: int
    span: tuple[int, int] | None = None  # of the quote, in the document's text
    image_id: int | None = None
    page_end: int | None = None


@dataclass(frozen=True, slots=True)
class FieldEvidence:
    """A field of an answer in JSON, by its path ("items[0].amount").

    `value` is what the citation's quote says; None: not found in the documents. `confidence` is in
    [0, 1].
    """

    path: str
    value: str | int | float | bool | None
    citation: Citation | None
    confidence: float


@dataclass(frozen=True, slots=True)
class Answer(HtmlAnswer):
    """An answer with its evidence.

    `prompt` is exactly what the model was given, `kind` the kind of question. `composed`: made of
    quotes (of `hits`) or computed, not written by a model. `nearest` are the passages that came
    nearest where the answer is an abstention, `style` the version of the `AnswerStyle` that it was
    asked for in (empty: the plain one). `fields` are those of an answer in JSON, each with its own
    evidence. `candidates`: the question fits each of these, and the text, an abstention, asks which
    one is meant. `steps`: those of a question that was answered in several.
    """

    text: str
    citations: tuple[Citation, ...]
    abstained: bool
    hits: tuple[Hit, ...]
    prompt: str
    timings: Mapping[str, float] = field(default_factory=dict)
    question: str = ""  # as asked of the index: follow-ups rewritten to stand alone
    kind: str = "fact"
    composed: bool = False
    nearest: tuple[Hit, ...] = ()
    style: str = ""
    fields: tuple[FieldEvidence, ...] = ()
    candidates: tuple[MeantCandidate, ...] = ()
    steps: tuple[AnswerStep, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


# --- ingesting ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileFailure:
    """A file that could not be read, or was passed over, and why."""

    path: str
    error: str


@dataclass(frozen=True, slots=True)
class IncompleteFile:
    """A document that was stored without some of its file's content."""

    path: str
    skipped: tuple[SkippedParts, ...]


@dataclass(slots=True)
class IngestReport:
    """Counts of files by outcome; `passages` and `images` count what was newly stored.

    `coverage` adds up the parts of the documents that were stored, by "pages", "sheets",
    "tables", "images" and "attachments".
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    renamed: int = 0
    removed: int = 0
    failed: list[FileFailure] = field(default_factory=list)
    passages: int = 0
    images: int = 0
    seconds: float = 0.0
    cancelled: bool = False
    coverage: dict[str, PartCounts] = field(default_factory=dict)
    incomplete: list[IncompleteFile] = field(default_factory=list)
    skipped_links: int = 0  # links in folders that lead out of them
    skipped: list[FileFailure] = field(default_factory=list)  # what sources passed over, and why


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A named collection. `adapter` answers its questions (None: the profile's), in `style`."""

    id: int
    name: str
    created_at: dt.datetime
    adapter: str | None = None
    style: AnswerStyle = field(default_factory=AnswerStyle)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentInfo:
    """A document of a collection.

    `state`: ready, stale (an old version is searchable, see `error`) or failed. `path` is its
    location as whoever asks may see it. `size` is bytes; `modified_at` is the file's own time.
    `incomplete`: something of the file was not read, see `coverage`, which is None for failed
    documents and those read before there were such reports.
    """

    id: int
    collection_id: int
    path: str
    name: str
    title: str
    media_type: str
    state: str
    error: str
    warnings: tuple[str, ...]
    incomplete: bool
    coverage: Coverage | None
    paged: bool
    pages: int
    passages: int
    images: int
    size: int
    details: Mapping[str, Any]  # author, created, language, …
    modified_at: dt.datetime
    ingested_at: dt.datetime


@dataclass(frozen=True, slots=True)
class PageInfo:
    """One page's text; `start` is its offset in the document's text."""

    document_id: int
    number: int
    label: str | None
    start: int
    ocr: bool
    text: str


@dataclass(frozen=True, slots=True)
class DiffusionModelInfo:
    """What an image generator can do.

    `size` is pixels a side; other sizes are multiples of `size_step`. `condition_models` names the
    model that takes each kind of condition from an image, where one does. `loras`: it takes LoRA
    files.
    """

    name: str
    size: int
    size_step: int
    control_kinds: tuple[str, ...]
    styles: tuple[str, ...]
    condition_models: Mapping[str, str]
    loras: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugIn:
    """What an installed package registers under `name` in a group of the registry ("readers").

    `value` is where it is, "module:attribute". Where `active` is false, `error` is why it cannot
    be used. `built_in`: it ships with ragcore.
    """

    group: str
    name: str
    package: str
    version: str
    value: str
    built_in: bool
    active: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot for a progress bar. `seconds_left` is None until it can be estimated."""

    stage: str  # wait | discover | read | embed | store | done, or a model download's name
    done: int
    total: int
    rate: float = 0.0  # items per second
    seconds_left: float | None = None
    current: str = ""
    failed: int = 0


ProgressCallback = Callable[[Progress], None]


class CancelToken:
    """Set by one thread, looked at by another between units of work."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()


# --- the page view -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a page as fractions of its width and height, from the top left."""

    left: float
    top: float
    right: float
    bottom: float
