"""Hooks of MkDocs.

Pages of the repository's root join the site, links follow them, and markers `<!-- generated: NAME
-->` become what scripts/docs_reference.py makes from the code.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from docs_reference import GENERATED  # noqa: E402

# Pages of the repository outside of docs/, and where the site has them.
OUTSIDE = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "data/README.md": "project/sample-data.md",
}
# How much a page counts in the site's search: recipes before what merely mentions a word.
SEARCH_BOOST = {"how-to": 4, "tutorials": 2, "reference": 0.5, "measurements": 0.3, "project": 0.1}
MARKER = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.M)
LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    for source, target in OUTSIDE.items():
        text = (ROOT / source).read_text("utf-8")
        files.append(File.generated(config, target, content=_links(text, source, target)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    source = page.file.src_uri
    page.meta.setdefault("search", {"boost": SEARCH_BOOST.get(source.partition("/")[0], 1)})
    if source not in OUTSIDE.values():
        markdown = _links(markdown, f"docs/{source}", source)
    return MARKER.sub(lambda found: GENERATED[found[1]](), markdown)


def _links(text: str, source: str, target: str) -> str:
    """`text` of the repository's file `source` with links as the page `target` needs them.

    What the site does not have stays as text.
    """

    def link(found: re.Match[str]) -> str:
        label, address = found[1], found[2]
        if re.match(r"[a-z]+:|#", address):
            return found[0]
        path, _, anchor = address.partition("#")
        place = normpath(str(PurePosixPath(source).parent / path))
        if place in OUTSIDE:
            page = OUTSIDE[place]
        elif place.startswith("docs/"):
            page = place.removeprefix("docs/")
        elif place == "README.md":
            page = "index.md"
        elif (ROOT / place).exists():
            return label
        else:
            return found[0]  # MkDocs complains of it
        there = relpath(page, str(PurePosixPath(target).parent))
        return f"[{label}]({there}{'#' + anchor if anchor else ''})"

    return LINK.sub(link, text)
