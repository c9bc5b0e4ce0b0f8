"""LaTeX: its text with headings; formulas stay as they are written."""

from __future__ import annotations

import re
from typing import Any

from ragcore.errors import UnreadableFile
from ragcore.readers import text
from ragcore.readers.clean import PageBuilder, decode, one_line
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.options import ReadOptions
from ragcore.types import ReadDocument

_LARGEST = 500_000  # characters; beyond it the source is kept as it stands
_LEVELS = {
    "part": 1, "chapter": 1, "section": 2, "subsection": 3, "subsubsection": 4, "paragraph": 5,
    "subparagraph": 6,
}  # fmt: skip
_DROPPED = (
    "maketitle", "title", "author", "date", "includegraphics", "label", "input", "include", "ref",
    "eqref", "pageref", "cref", "Cref", "autoref", "bibliographystyle", "bibliography",
)  # fmt: skip
_TARGET = re.compile(r"\\hypertarget\{[^{}]{0,200}\}|(?<=\})\[\](?=\{)")
_HEADING = re.compile("\x01([1-6])\x02([^\x03]*)\x03")


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """One page. Files that it includes are documents of their own, and images are not in it."""
    source = decode(file.read_bytes())
    if not source.strip():
        raise UnreadableFile("the file holds no text")
    if len(source) > min(_LARGEST, options.max_characters):
        return text.read(file, options)
    about: dict[str, str] = {}
    begin = source.find("\\begin{document}")
    preamble = source[: max(0, begin)]
    for name in ("title", "author", "date"):
        if value := _argument(preamble or source, name):
            about[name] = one_line(_plain(value))[:500]
    try:
        words = _plain(source[begin:] if begin >= 0 else source)
    except Exception:  # macros that redefine others, and what else its parser stumbles over
        return text.read(file, options)
    builder = PageBuilder()
    end = 0
    for found in _HEADING.finditer(words):
        builder.add(words[end : found.start()])
        builder.heading(found[2], int(found[1]))
        end = found.end()
    builder.add(words[end:])
    page = builder.page(1)
    if not page.text.strip():
        raise UnreadableFile("the file holds no text")
    coverage = CoverageBuilder()
    coverage.read("page")
    coverage.ignore("image", source.count("\\includegraphics"))
    title = about.pop("title", "") or (page.headings[0][2] if page.headings else "")
    return ReadDocument(
        media_type=file.media_type,
        title=title[:300],
        pages=(page,),
        metadata=about,
        coverage=coverage.done(),
    )


def _argument(source: str, macro: str) -> str:
    """What stands in the braces after a macro; "" if it is not there."""
    found = re.search(rf"\\{macro}\s*(?:\[[^\]]{{0,500}}\])?\s*\{{", source)
    if found is None:
        return ""
    depth = 1
    for at in range(found.end(), min(len(source), found.end() + 5000)):
        depth += {"{": 1, "}": -1}.get(source[at], 0)
        if depth == 0:
            return source[found.end() : at]
    return ""


def _plain(source: str) -> str:
    # Targets of links and empty options are no text; a long table is a table.
    source = _TARGET.sub("", source).replace("{longtable}", "{tabular}")
    return str(_converter().latex_to_text(source, tolerant_parsing=True))


def _converter() -> Any:
    from pylatexenc.latex2text import (
        EnvironmentTextSpec,
        LatexNodes2Text,
        MacroTextSpec,
        get_default_latex_context_db,
    )

    macros = [
        *(MacroTextSpec(name, simplify_repl=f"\x01{level}\x02%(3)s\x03")
          for name, level in _LEVELS.items()),
        *(MacroTextSpec(name, simplify_repl="") for name in _DROPPED),
        MacroTextSpec("footnote", simplify_repl=" (%(2)s)"),
        MacroTextSpec("cite", simplify_repl="[%(4)s]"),
    ]  # fmt: skip
    database = get_default_latex_context_db()
    environments = [
        EnvironmentTextSpec(name, simplify_repl=_verbatim) for name in ("verbatim", "lstlisting")
    ]
    database.add_context_category("ragcore", prepend=True, macros=macros, environments=environments)
    return LatexNodes2Text(database, math_mode="verbatim", keep_comments=False)


def _verbatim(node: Any) -> str:
    """What stands between the marks of an environment whose text is no LaTeX."""
    words = getattr(node.nodeargd, "verbatim_text", None) or node.latex_verbatim()
    return re.sub(r"\\(?:begin|end)\{[a-z]+\}(?:\[[^\]]*\])?", "", words)
