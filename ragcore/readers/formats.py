"""The readers that come with ragcore, as the registry knows them (`ragcore.readers`).

Light: a format's module, and the library behind it, are imported when its first file is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from ragcore.extras import require_extra
from ragcore.readers.contract import InputFile
from ragcore.readers.options import ReadOptions
from ragcore.readers.sniff import IMAGE_SUFFIXES, image_type, starts_like_html
from ragcore.types import ReadDocument

_OFFICE = "application/vnd.openxmlformats-officedocument."


class Format:
    """A reader of a text format, chosen by suffix: the function `read` of a module here.

    `office` says what needs the extra of that name ("": nothing).
    """

    def __init__(
        self, module: str, suffixes: str, media_types: str | Sequence[str], *, office: str = ""
    ) -> None:
        self._module = f"ragcore.readers.{module}"
        self.suffixes: tuple[str, ...] = tuple(suffixes.split())
        self.media_types: tuple[str, ...] = (
            (media_types,) if isinstance(media_types, str) else tuple(media_types)
        )
        self._office = office

    def read(self, file: InputFile, options: ReadOptions) -> ReadDocument:
        if self._office:
            require_extra("office", self._office)
        document: ReadDocument = import_module(self._module).read(file, options)
        return document


class RecognizedFormat(Format):
    """A reader whose files are known by their content; `recognize` gives the media type or ""."""

    def __init__(
        self,
        module: str,
        suffixes: str,
        media_types: str | Sequence[str],
        recognize: Callable[[InputFile], str],
        *,
        office: str = "",
    ) -> None:
        super().__init__(module, suffixes, media_types, office=office)
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


_DOCX = f"{_OFFICE}wordprocessingml.document"
_PPTX = f"{_OFFICE}presentationml.presentation"
_XLSX = f"{_OFFICE}spreadsheetml.sheet"

PDF = RecognizedFormat("pdf", ".pdf", "application/pdf", _is_pdf)
DOCX = RecognizedFormat(
    "docx", ".docx .docm", _DOCX, _is_office("word", _DOCX), office="Word documents"
)
PPTX = RecognizedFormat(
    "pptx", ".pptx .pptm", _PPTX, _is_office("ppt", _PPTX), office="presentations"
)
XLSX = RecognizedFormat(
    "spreadsheet", ".xlsx .xlsm", _XLSX, _is_office("xl", _XLSX), office="Excel sheets"
)
EPUB = RecognizedFormat("epub", ".epub", "application/epub+zip", _is_epub, office="EPUB books")
HTML = RecognizedFormat("html", ".html .htm .xhtml", "text/html", _is_html)
IMAGE = RecognizedFormat(
    "image",
    " ".join(IMAGE_SUFFIXES),
    tuple(dict.fromkeys(IMAGE_SUFFIXES.values())),
    lambda file: image_type(file.head),
)
TEXT = Format(
    "text",
    ".txt .text .log .rst .org .tex .json .jsonl .yaml .yml .toml .ini .xml .py",
    "text/plain",
)
MARKDOWN = Format("markdown", ".md .markdown", "text/markdown")
CSV = Format("csv_table", ".csv .tsv", "text/csv")
EML = Format("mail", ".eml", "message/rfc822")

# What is named like these and begins like a web page is either refused or text with markup in it.
_NOT_PAGES = frozenset(
    suffix
    for format_ in (PDF, DOCX, PPTX, XLSX, EPUB, IMAGE, MARKDOWN, CSV, EML)
    for suffix in format_.suffixes
) | {".py", ".tex", ".rst", ".json", ".svg"}
