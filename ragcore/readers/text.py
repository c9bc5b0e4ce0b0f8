"""Plain text, whatever its encoding."""

from __future__ import annotations

from ragcore.errors import UnreadableFile
from ragcore.readers.clean import clean, decode
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.options import ReadOptions
from ragcore.types import Page, ReadDocument


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """One page, or one for each part between form feeds (as in printed manuals)."""
    text = decode(file.read_bytes())
    if text and text.count("�") > len(text) * 0.1:
        raise UnreadableFile("the text is in no known encoding: save it as UTF-8")
    limit, cut = options.max_characters, 0
    if len(text) > limit:
        cut = text.count("\f", limit) + 1
        text = text[:limit]
    parts = [clean(part) for part in text.split("\f")]
    while parts and not parts[-1].strip():
        parts.pop()
    if not any(part.strip() for part in parts):
        raise UnreadableFile("the file holds no text")
    pages = tuple(Page(number=n, text=part) for n, part in enumerate(parts, start=1))
    coverage = CoverageBuilder()
    coverage.read("page", len(pages) - (1 if cut else 0))
    if cut:
        why = f"only the first {limit:,} characters are kept"
        coverage.skip("page", why, len(pages), partial=True)
        if cut > 1:
            coverage.skip("page", why, range(len(pages) + 1, len(pages) + cut))
    return ReadDocument(
        media_type=file.media_type,
        title="",
        pages=pages,
        paged=len(pages) > 1,
        coverage=coverage.done(),
    )
