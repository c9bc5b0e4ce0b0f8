"""Files inside a file (attachments, members of archives): each read by the reader of its type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ragcore.errors import RagcoreError
from ragcore.readers.clean import one_line
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.images import describe_all
from ragcore.readers.options import ReadOptions
from ragcore.readers.sniff import ARCHIVE_TYPES
from ragcore.types import Page, ReadDocument, ReadImage

_LABEL = 50  # characters of a page's label


class InnerFiles:
    """Collects the pages and images of all that is in a file, and what of it was read.

    The limits of `options` hold for all of it together.
    """

    def __init__(self, options: ReadOptions) -> None:
        self.options = options
        self.pages: list[Page] = []
        self.images: list[ReadImage] = []
        self.coverage = CoverageBuilder()
        self._characters = 0

    @property
    def left(self) -> ReadOptions:
        """Limits of what may still come, one level further inside."""
        options = self.options
        return replace(
            options,
            depth=options.depth + 1,
            max_characters=max(1, options.max_characters - self._characters),
            max_images=max(0, options.max_images - len(self.images)),
            max_pages=max(1, options.max_pages - len(self.pages)),
        )

    @property
    def full(self) -> bool:
        """Whether no more text or no more pages are kept."""
        options = self.options
        return self._characters >= options.max_characters or len(self.pages) >= options.max_pages

    def add_page(self, page: Page) -> None:
        """A page, whatever its number is."""
        self.pages.append(replace(page, number=len(self.pages) + 1))
        self._characters += len(page.text)

    def add_images(self, images: Sequence[tuple[bytes, int, str]]) -> None:
        """Images as (encoded bytes, page, caption); none where none are kept."""
        wanted = images if self.options.max_images else []
        self.images += describe_all(wanted, options=self.left, coverage=self.coverage)

    def add_file(self, path: Path, name: str, *, heading: bool = False) -> None:
        """Read a file, and take its pages and images.

        `name` is shown to people and becomes the pages' label; with `heading` it stands above each
        page, too.

        A file that cannot be read is counted as skipped.
        """
        from ragcore.readers.read import read

        try:
            document = read(path, options=self.left)
        except RagcoreError as error:
            self.coverage.skip("attachment", str(error), name)
            return
        self._add(document, name, heading)
        assert document.coverage is not None  # set by `read`
        self.coverage.add(document.coverage, name)
        if document.coverage.skipped:
            self.coverage.skip("attachment", "parts of it are not read", name, partial=True)
        else:
            self.coverage.read("attachment")

    def _add(self, document: ReadDocument, name: str, heading: bool) -> None:
        offset = len(self.pages)
        nested = document.media_type in ARCHIVE_TYPES
        for page in document.pages:
            page = _headed(page, name, nested) if heading else page
            at = page.headings[0][2] if nested and heading else name
            self.add_page(replace(page, label=label_of(at)))
        self.images.extend(
            replace(image, page=offset + (image.page or 1)) for image in document.images
        )


def label_of(name: str) -> str | None:
    """A page's label for a name: its end, where it is long. None for no name."""
    if len(name) > _LABEL:
        return f"…{name[1 - _LABEL :]}"
    return name or None


def _headed(page: Page, name: str, nested: bool) -> Page:
    """The page below a heading with a name; its own headings are one level lower.

    A page of a nested archive has its path as heading already: the paths are joined.
    """
    title, text, headings = one_line(name), page.text, page.headings
    if nested:
        inner = headings[0][2]
        text, headings = text[len(inner) :].lstrip("\n"), headings[1:]
        shift = len(f"{title}/{inner}\n\n") - (len(page.text) - len(text))
        title = f"{title}/{inner}"
    else:
        shift = len(title) + 2
        headings = tuple((start, min(6, level + 1), one) for start, level, one in headings)
    lower = [(start + shift, level, one) for start, level, one in headings]
    joined = f"{title}\n\n{text}" if text else title
    return replace(page, text=joined, headings=((0, 1, title), *lower))
