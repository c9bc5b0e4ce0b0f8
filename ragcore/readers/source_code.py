"""Source code: the text as it stands; definitions are headings, so that passages begin there."""

from __future__ import annotations

import re
from dataclasses import replace

from ragcore.readers import text
from ragcore.readers.contract import InputFile
from ragcore.readers.options import ReadOptions
from ragcore.types import Page, ReadDocument

# A line that defines something with a name, in the languages that have a word for it: the name is
# alone, or followed by parameters, a body or bases.
_DEFINITION = re.compile(
    r"^(?P<indent>[ \t]{0,16})(?:(?:export|default|public|private|protected|internal|static|final"
    r"|abstract|async|pub(?:\([^()\n]{1,40}\))?|unsafe|sealed|open|override|inline|data|partial)"
    r"[ \t]+){0,6}"
    r"(?:class|interface|struct|enum|trait|impl|protocol|module|namespace|object|record"
    r"|def|func|function|fn|fun|sub|procedure"
    r"|create[ \t]+(?:or[ \t]+replace[ \t]+)?(?:table|view|function|procedure))"
    r"[ \t]+(?P<name>[\w$.:~!?]{1,120})(?:[ \t]*$|[^\n({:;=]{0,120}[({:;=])",
    re.M | re.I,
)


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """As plain text.

    A class or function at a line's start is a heading of level 1, an indented one of level 2.
    """
    document = text.read(file, options)
    return replace(document, pages=tuple(_with_headings(page) for page in document.pages))


def _with_headings(page: Page) -> Page:
    headings = []
    for found in _DEFINITION.finditer(page.text):
        begin = found.end("indent")
        title = " ".join(page.text[begin : found.end("name")].rstrip(":").split())
        headings.append((begin, 2 if found["indent"] else 1, title))
    return replace(page, headings=tuple(headings))
