"""Rich text (RTF): its text without formatting, and its images."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ragcore.errors import UnreadableFile
from ragcore.readers.clean import PageBuilder, one_line
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.images import describe_all
from ragcore.readers.options import ReadOptions
from ragcore.types import ReadDocument

_IMAGE = re.compile(
    r"\\pict(?P<head>(?:\{[^{}]{0,2000}\}|\\[a-z]{1,32}-?\d{0,10}\s?|\s){0,200})"
    r"(?P<data>[0-9a-fA-F][0-9a-fA-F\s]*)"
)
_FIELD = re.compile(
    r"\{\\(title|author|subject|keywords)\s((?:[^{}\\]|\\[^a-z{}]|\\u-?\d+){1,2000})\}"
)
_NOTE = re.compile(r"(?:\\\*)?\\footnote\b ?")
_CELL_END = re.compile(r"\\par\b\s*((?:\}\s*){0,5})\\cell\b")
_UNICODE = re.compile(r"\\u(-?\d{1,5})\s?(?:\\'[0-9a-f]{2}|\?)?|\\'([0-9a-f]{2})")


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """One page: where a page ends is up to the program that prints the document."""
    from striprtf.striprtf import rtf_to_text

    source = file.read_bytes().decode("latin-1")
    coverage = CoverageBuilder()
    items = list(_images(source, coverage))
    # Images are most of a file's length, and no text.
    bare = _IMAGE.sub(r"\\pict ", source)
    # Notes stand where they belong, instead of nowhere; a cell's last paragraph ends with the cell.
    bare = _CELL_END.sub(r"\1\\cell", _NOTE.sub(" ", bare))
    convert: Callable[..., str] = rtf_to_text
    # A letter beyond the first plane is written as two halves, which are joined here.
    halves = convert(bare, errors="replace").encode("utf-16", "surrogatepass")
    words = halves.decode("utf-16", "replace")
    builder = PageBuilder()
    builder.add(_paragraphs(words[: options.max_characters]))
    if len(words) > options.max_characters:
        why = f"only the first {options.max_characters:,} characters are kept"
        coverage.skip("page", why, 1, partial=True)
    elif source.rstrip("\0\r\n\t ").endswith("}"):
        coverage.read("page")
    else:
        coverage.skip("page", "the file is cut off: what followed is missing", 1, partial=True)
    wanted = items if options.max_images else []
    images = describe_all(wanted, options=options, coverage=coverage)
    if not len(builder) and not images:
        raise UnreadableFile("the document holds no text")
    about = {name: _plain(value)[:500] for name, value in _FIELD.findall(bare)}
    return ReadDocument(
        media_type=file.media_type,
        title=about.pop("title", "")[:300],
        pages=(builder.page(1),),
        images=images,
        metadata=about,
        coverage=coverage.done(),
    )


def _images(source: str, coverage: CoverageBuilder) -> Iterator[tuple[bytes, int, str]]:
    for found in _IMAGE.finditer(source):
        if not re.search(r"\\(?:png|jpeg)blip", found["head"]):
            coverage.skip("image", "a drawing of a kind that is not read (WMF, EMF, bitmap)")
            continue
        digits = "".join(found["data"].split())
        yield bytes.fromhex(digits[: len(digits) & ~1]), 1, ""


def _paragraphs(text: str) -> str:
    """Lines of table rows with cells separated as in other tables; paragraphs apart."""
    lines = []
    for line in text.split("\n"):
        if line.rstrip().endswith("|"):
            cells = [one_line(cell) for cell in line.rstrip().rstrip("|").split("|")]
            lines.append(" | ".join(cells))
        elif line.strip():
            lines.append(f"{line}\n")
    return "\n".join(lines)


def _plain(value: str) -> str:
    """A field's text with its escapes spelt out."""

    def letter(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1]) % 0x10000)
        return bytes.fromhex(match[2]).decode("cp1252", "replace")

    return one_line(_UNICODE.sub(letter, value))
