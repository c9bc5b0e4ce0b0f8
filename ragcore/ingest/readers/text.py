"""Plain text, whatever its encoding."""

from __future__ import annotations

from ragcore.errors import UnreadableFile
from ragcore.ingest.readers.clean import clean, decode
from ragcore.ingest.readers.contract import InputFile
from ragcore.ingest.readers.options import ReadOptions
from ragcore.types import Page, ReadDocument


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """One page, or one for each part between form feeds (as in printed manuals)."""
    text = decode(file.read_bytes())
    if text and text.count("�") > len(text) * 0.1:
        raise UnreadableFile("the text is in no known encoding: save it as UTF-8")
    warnings: tuple[str, ...] = ()
    if len(text) > options.max_characters:
        text = text[: options.max_characters]
        warnings = (f"only the first {options.max_characters} characters were kept",)
    parts = [clean(part) for part in text.split("\f")]
    while parts and not parts[-1].strip():
        parts.pop()
    if not any(part.strip() for part in parts):
        raise UnreadableFile("the file holds no text")
    pages = tuple(Page(number=n, text=part) for n, part in enumerate(parts, start=1))
    return ReadDocument(
        media_type=file.media_type,
        title="",
        pages=pages,
        paged=len(pages) > 1,
        warnings=warnings,
    )
