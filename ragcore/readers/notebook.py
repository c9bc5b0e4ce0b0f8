"""Jupyter notebooks (IPYNB): cells in order, with what they printed and drew."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from ragcore.errors import UnreadableFile
from ragcore.readers import html
from ragcore.readers.clean import decode, one_line
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.markdown import rendered
from ragcore.readers.options import ReadOptions
from ragcore.types import ReadDocument

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # colors of terminals
_IMAGES = ("image/png", "image/jpeg", "image/webp", "image/gif")
_ATTACHED = re.compile(r"\(attachment:([^)\s]{1,200})\)")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")
_LONGEST_OUTPUT = 20_000  # characters of one output: beyond it are logs


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """One page: Markdown as such, code and its outputs as they stand; images are kept."""
    try:
        notebook: Any = json.loads(decode(file.read_bytes()))
    except ValueError as error:
        raise UnreadableFile(f"named {file.suffix} but its JSON is damaged: {error}") from None
    cells = _cells(notebook)
    coverage = CoverageBuilder()
    markup, size = [], 0
    for number, cell in enumerate(cells, start=1):
        text = "\n".join(_cell(cell, number, coverage))
        size += len(text)
        # Images are bytes in Base64, and no text: the limit leaves room for them.
        if size > 20 * options.max_characters:
            why = "the notebook is very large: its end is not kept"
            coverage.skip("page", why, f"from cell {number}", partial=True)
            break
        markup.append(text)
    else:
        coverage.read("page")
    found = html.read_markup("\n".join(markup) or " ")
    page = found.page.page(1)
    if not page.text.strip() and not found.embedded_images:
        raise UnreadableFile("the notebook holds no text")
    images = html.embedded_images(found, options, coverage)
    metadata = notebook.get("metadata")
    title = metadata.get("title", "") if isinstance(metadata, dict) else ""
    heading = page.headings[0][2] if page.headings else ""
    return ReadDocument(
        media_type=file.media_type,
        title=(one_line(title) if isinstance(title, str) else "")[:300] or heading,
        pages=(page,),
        images=images,
        coverage=coverage.done(),
    )


def _cells(notebook: Any) -> list[Mapping[str, Any]]:
    """The cells of a notebook of form 4, or 3 (in worksheets)."""
    found = notebook.get("cells") if isinstance(notebook, dict) else None
    sheets = notebook.get("worksheets") if isinstance(notebook, dict) else None
    if found is None and isinstance(sheets, list):
        lists = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
        found = [cell for cells in lists if isinstance(cells, list) for cell in cells]
    if not isinstance(found, list):
        raise UnreadableFile("it is JSON but no Jupyter notebook: it has no cells")
    return [cell for cell in found if isinstance(cell, dict)]


def _cell(cell: Mapping[str, Any], number: int, coverage: CoverageBuilder) -> Iterator[str]:
    """A cell as HTML."""
    source = _text(cell.get("source", cell.get("input")))
    kind = cell.get("cell_type")
    if kind == "heading":  # of form 3
        level = cell.get("level")
        yield f"<h{level if level in range(1, 7) else 1}>{escape(source)}</h1>"
    elif kind == "markdown":
        yield rendered(_with_attachments(source, cell.get("attachments")))
    elif source.strip():
        yield f"<pre>{escape(source)}</pre>"
    outputs = cell.get("outputs")
    for output in outputs if isinstance(outputs, list) else ():
        if isinstance(output, dict):
            yield from _output(output, number, coverage)


def _output(output: Mapping[str, Any], number: int, coverage: CoverageBuilder) -> Iterator[str]:
    kind = output.get("output_type")
    if kind == "stream":
        yield _printed(_text(output.get("text")), number, coverage)
        return
    if kind in ("error", "pyerr"):
        yield _printed(f"{output.get('ename')}: {output.get('evalue')}", number, coverage)
        return
    data = output.get("data", output)  # form 3 has the types in the output itself
    if not isinstance(data, dict):
        return
    for media_type in _IMAGES:
        image = _text(data.get(media_type, data.get(media_type.partition("/")[2])))
        if _BASE64.fullmatch(image):
            yield f'<img src="data:{media_type};base64,{"".join(image.split())}">'
            return
    markup = _text(data.get("text/html"))
    if "<table" in markup:
        yield markup
    elif marked := _text(data.get("text/markdown")):
        yield rendered(marked)
    else:
        yield _printed(_text(data.get("text/plain", data.get("text"))), number, coverage)


def _printed(text: str, number: int, coverage: CoverageBuilder) -> str:
    text = _ANSI.sub("", text)
    if len(text) > _LONGEST_OUTPUT:
        why = f"only the first {_LONGEST_OUTPUT:,} characters of an output are kept"
        coverage.skip("text", why, f"cell {number}", partial=True)
    return f"<pre>{escape(text[:_LONGEST_OUTPUT])}</pre>" if text.strip() else ""


def _with_attachments(source: str, attachments: Any) -> str:
    """Markdown in which images that the cell holds are data addresses."""
    if not isinstance(attachments, dict):
        return source

    def data(match: re.Match[str]) -> str:
        found = attachments.get(match[1])
        types: Mapping[str, Any] = found if isinstance(found, dict) else {}
        for media_type in _IMAGES:
            image = _text(types.get(media_type))
            if _BASE64.fullmatch(image):
                return f"(data:{media_type};base64,{''.join(image.split())})"
        return match[0]

    return _ATTACHED.sub(data, source)


def _text(value: Any) -> str:
    """A text, or its lines joined; "" for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return "".join(line for line in value if isinstance(line, str))
    return ""
