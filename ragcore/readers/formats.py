"""The readers that come with ragcore, as the registry knows them (`ragcore.readers`).

Light: a format's module, and the library behind it, are imported when its first file is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from ragcore.extras import require_extra
from ragcore.readers.contract import InputFile
from ragcore.readers.options import ReadOptions
from ragcore.readers.sniff import (
    ARCHIVE_TYPES,
    IMAGE_SUFFIXES,
    audio_type,
    image_type,
    starts_like_html,
    video_type,
)
from ragcore.types import ReadDocument

_OFFICE = "application/vnd.openxmlformats-officedocument."


class Format:
    """A reader of a text format, chosen by suffix: the function `read` of a module here.

    `kind` is what people call such files, plural; `office` says whether they need that extra.
    """

    def __init__(
        self,
        kind: str,
        module: str,
        suffixes: str,
        media_types: str | Sequence[str],
        *,
        office: bool = False,
    ) -> None:
        self.kind = kind
        self._module = f"ragcore.readers.{module}"
        self.suffixes: tuple[str, ...] = tuple(suffixes.split())
        self.media_types: tuple[str, ...] = (
            (media_types,) if isinstance(media_types, str) else tuple(media_types)
        )
        self.office = office

    def read(self, file: InputFile, options: ReadOptions) -> ReadDocument:
        if self.office:
            require_extra("office", self.kind)
        document: ReadDocument = import_module(self._module).read(file, options)
        return document


class RecognizedFormat(Format):
    """A reader whose files are known by their content; `recognize` gives the media type or ""."""

    def __init__(
        self,
        kind: str,
        module: str,
        suffixes: str,
        media_types: str | Sequence[str],
        recognize: Callable[[InputFile], str],
        *,
        office: bool = False,
    ) -> None:
        super().__init__(kind, module, suffixes, media_types, office=office)
        self.recognize = recognize


def _is_pdf(file: InputFile) -> str:
    return "application/pdf" if b"%PDF-" in file.head[:1024] else ""


def _is_epub(file: InputFile) -> str:
    book = "application/epub+zip"
    named = file.member("mimetype").decode("ascii", "replace").strip() == book
    return book if named or "META-INF/container.xml" in file.members else ""


def _is_office(folder: str, media_type: str) -> Callable[[InputFile], str]:
    def recognize(file: InputFile) -> str:
        members = file.members
        if "[Content_Types].xml" not in members or _is_epub(file):
            return ""
        return media_type if any(name.startswith(f"{folder}/") for name in members) else ""

    return recognize


def _is_html(file: InputFile) -> str:
    found = file.is_text and (
        file.suffix in HTML.suffixes
        or (file.suffix not in _NOT_PAGES and starts_like_html(file.head))
    )
    return "text/html" if found else ""


def _is_opendocument(file: InputFile) -> str:
    named = file.member("mimetype").decode("ascii", "replace").strip()
    named = named.removesuffix("-template")
    return named if named in OPENDOCUMENT.media_types and "content.xml" in file.members else ""


def _is_outlook(file: InputFile) -> str:
    if not file.head.startswith(_OLE) or file.suffix not in ("", ".msg"):
        return ""
    if file.suffix:
        return "application/vnd.ms-outlook"
    # Streams are named in a folder anywhere in the file, in UTF-16.
    mark = "__properties_version1.0".encode("utf-16-le")
    return "application/vnd.ms-outlook" if mark in file.read_bytes() else ""


def _is_archive(file: InputFile) -> str:
    if file.suffix in _NO_ARCHIVES:
        return ""
    if file.head.startswith(b"PK\x05\x06"):  # an archive without members
        return ARCHIVE_TYPES[0]
    if file.members:
        document = "mimetype" in file.members or "[Content_Types].xml" in file.members
        return "" if document or _is_epub(file) else ARCHIVE_TYPES[0]
    from ragcore.readers.archive import packed_tar

    return ARCHIVE_TYPES[1] if packed_tar(file) else ""


_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_DOCX = f"{_OFFICE}wordprocessingml.document"
_PPTX = f"{_OFFICE}presentationml.presentation"
_XLSX = f"{_OFFICE}spreadsheetml.sheet"
_OPEN = "application/vnd.oasis.opendocument"

PDF = RecognizedFormat("PDF files", "pdf", ".pdf", "application/pdf", _is_pdf)
DOCX = RecognizedFormat(
    "Word documents", "docx", ".docx .docm", _DOCX, _is_office("word", _DOCX), office=True
)
PPTX = RecognizedFormat(
    "PowerPoint presentations", "pptx", ".pptx .pptm", _PPTX, _is_office("ppt", _PPTX), office=True
)
XLSX = RecognizedFormat(
    "Excel workbooks", "spreadsheet", ".xlsx .xlsm", _XLSX, _is_office("xl", _XLSX), office=True
)
OPENDOCUMENT = RecognizedFormat(
    "OpenDocument files",
    "opendocument",
    ".odt .ods .odp",
    (f"{_OPEN}.text", f"{_OPEN}.spreadsheet", f"{_OPEN}.presentation"),
    _is_opendocument,
    office=True,
)
RTF = RecognizedFormat(
    "rich text files",
    "rtf",
    ".rtf",
    "application/rtf",
    lambda file: "application/rtf" if file.head.lstrip().startswith(b"{\\rtf") else "",
    office=True,
)
EPUB = RecognizedFormat(
    "EPUB books", "epub", ".epub", "application/epub+zip", _is_epub, office=True
)
HTML = RecognizedFormat("web pages", "html", ".html .htm .xhtml", "text/html", _is_html)
MARKDOWN = Format("Markdown files", "markdown", ".md .markdown", "text/markdown")
TEXT = Format(
    "plain text files",
    "text",
    ".txt .text .log .rst .org .json .jsonl .yaml .yml .toml .ini .xml",
    "text/plain",
)
LATEX = Format("LaTeX documents", "latex", ".tex", "text/x-tex", office=True)
NOTEBOOK = Format("Jupyter notebooks", "notebook", ".ipynb", "application/x-ipynb+json")
SOURCE_CODE = Format(
    "source code files",
    "source_code",
    ".py .pyi .js .mjs .cjs .ts .tsx .jsx .vue .svelte .java .kt .kts .scala .groovy .clj .c .h "
    ".cc .cpp .cxx .hh .hpp .cs .fs .vb .go .rs .swift .m .mm .d .zig .nim .ada .pas .f90 .for "
    ".rb .php .pl .pm .lua .r .jl .hs .ml .erl .ex .exs .el .lisp .scm .sql .sh .bash .zsh .fish "
    ".ps1 .bat .css .scss .less .proto .graphql .tf .cmake .gradle .dart .asm .s .v .vhd .tcl",
    "text/x-source-code",
)
CSV = Format("tables (CSV, TSV)", "csv_table", ".csv .tsv", "text/csv")
EML = Format("e-mails", "mail", ".eml", "message/rfc822")
MSG = RecognizedFormat(
    "Outlook messages", "outlook", ".msg", "application/vnd.ms-outlook", _is_outlook, office=True
)
MBOX = Format("mailboxes", "mbox", ".mbox .mbx", "application/mbox")
SUBTITLES = Format("subtitles", "subtitles", ".srt .vtt", ("application/x-subrip", "text/vtt"))
ARCHIVE = RecognizedFormat(
    "ZIP and TAR archives",
    "archive",
    ".zip .tar .tgz .tbz .tbz2 .txz",
    ARCHIVE_TYPES,
    _is_archive,
)
IMAGE = RecognizedFormat(
    "images",
    "image",
    " ".join(IMAGE_SUFFIXES),
    tuple(dict.fromkeys(IMAGE_SUFFIXES.values())),
    lambda file: image_type(file.head),
)
AUDIO = RecognizedFormat(
    "recordings",
    "audio",
    ".mp3 .m4a .m4b .wav .flac .ogg .oga .opus .aac .aif .aiff .wma .amr .mka .weba",
    (
        "audio/mpeg", "audio/mp4", "audio/wav", "audio/flac", "audio/ogg", "audio/aac",
        "audio/aiff", "audio/x-ms-wma", "audio/amr", "audio/x-matroska", "audio/webm",
    ),
    lambda file: audio_type(file.head, file.suffix),
)  # fmt: skip
VIDEO = RecognizedFormat(
    "videos",
    "video",
    ".mp4 .m4v .mov .qt .3gp .3g2 .mkv .webm .avi .mpg .mpeg .m2t .wmv .flv",
    (
        "video/mp4", "video/quicktime", "video/x-matroska", "video/webm", "video/x-msvideo",
        "video/mpeg", "video/mp2t", "video/x-ms-wmv", "video/x-flv",
    ),
    lambda file: video_type(file.head),
)  # fmt: skip
# In the order in which they are listed.
FORMATS: tuple[Format, ...] = (
    PDF, DOCX, PPTX, XLSX, OPENDOCUMENT, RTF, EPUB, HTML, MARKDOWN, TEXT, LATEX, NOTEBOOK,
    SOURCE_CODE, CSV, EML, MSG, MBOX, SUBTITLES, ARCHIVE, IMAGE, AUDIO, VIDEO,
)  # fmt: skip

# What is named like these is a document or damaged, whatever is packed in it.
_NO_ARCHIVES = frozenset(
    suffix for format_ in (DOCX, PPTX, XLSX, OPENDOCUMENT, EPUB) for suffix in format_.suffixes
)
# What is named like these and begins like a web page is either refused or text with markup in it.
_NOT_PAGES = frozenset(
    suffix for format_ in FORMATS if format_ not in (HTML, TEXT) for suffix in format_.suffixes
) | {".rst", ".json", ".svg"}
