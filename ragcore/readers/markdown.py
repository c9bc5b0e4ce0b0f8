"""Markdown: rendered to HTML (CommonMark with tables) and read like a page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ragcore.errors import UnreadableFile
from ragcore.readers import html, text
from ragcore.readers.clean import decode, one_line
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.options import ReadOptions
from ragcore.types import ReadDocument

if TYPE_CHECKING:
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.S)
_FIELD = re.compile(
    r"^(title|author|date|description|lang|language|tags)\s*:\s*(\S.*)$", re.M | re.I
)
_LARGEST = 2_000_000  # characters; beyond it the text is kept as it stands


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """One page; the title is the front matter's, else the first heading's."""
    source = decode(file.read_bytes()).replace("\r\n", "\n")
    if len(source) > min(_LARGEST, options.max_characters):
        return text.read(file, options)
    metadata: dict[str, str] = {}
    front = _FRONT_MATTER.match(source)
    if front:
        for name, value in _FIELD.findall(front.group(1)):
            key = {"lang": "language"}.get(name.lower(), name.lower())
            metadata[key] = one_line(value.strip("\"'"))
        source = source[front.end() :]
    found = html.read_markup(rendered(source))
    page = found.page.page(1)
    if not page.text.strip():
        raise UnreadableFile("the file holds no text")
    coverage = CoverageBuilder()
    coverage.read("page")
    images = html.embedded_images(found, options, coverage)
    heading = page.headings[0][2] if page.headings else ""
    return ReadDocument(
        media_type=file.media_type,
        title=metadata.pop("title", "") or heading,
        pages=(page,),
        images=images,
        metadata=metadata,
        coverage=coverage.done(),
    )


def rendered(source: str) -> str:
    """Markdown as HTML."""
    from markdown_it import MarkdownIt

    markup = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = markup.parse(source)
    _keep_lines(tokens)
    return str(markup.renderer.render(tokens, markup.options, {}))


_LABEL = re.compile(r"\s*[^\W\d_][^:]{0,40}:\s")


def _keep_lines(tokens: list[Token]) -> None:
    """A line of a paragraph that begins with a label ("Date: …") stays a line of its own."""
    for token in tokens:
        inner = token.children or []
        for at, child in enumerate(inner):
            after = "".join(one.content for one in inner[at + 1 : at + 5])
            if child.type == "softbreak" and _LABEL.match(after + " "):
                child.type, child.tag = "hardbreak", "br"
