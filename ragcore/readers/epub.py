"""Books (EPUB 2 and 3): a page a chapter file, in the order of the spine."""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote

from ragcore.errors import UnreadableFile
from ragcore.readers import container
from ragcore.readers.clean import one_line
from ragcore.readers.contract import InputFile
from ragcore.readers.coverage import CoverageBuilder
from ragcore.readers.html import read_markup
from ragcore.readers.images import describe_all
from ragcore.readers.options import ReadOptions
from ragcore.types import Page, ReadDocument

_DC = "{http://purl.org/dc/elements/1.1/}"
_MARKUP = {"application/xhtml+xml", "text/html", "text/x-oeb1-document"}
_IMAGES = {"image/jpeg", "image/png", "image/gif", "image/webp"}


@dataclass(frozen=True, slots=True)
class _Package:
    """What the book's package file says: metadata, and its files in order (name, media type)."""

    metadata: dict[str, Any]
    spine: list[str]
    media: dict[str, str]
    other: list[str]  # what the book's order names and is no text


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """Chapters become pages (not worth citing by number: `paged` is False)."""
    container.check_members(file.path, options)
    pages: list[Page] = []
    coverage = CoverageBuilder()
    captions: dict[str, tuple[int, str]] = {}
    characters = 0
    with zipfile.ZipFile(file.path) as archive:
        package = _package(archive)
        names = set(archive.namelist())
        for name in package.other:
            coverage.skip("page", "a chapter that is no text or is not in the book", name)
        for name in package.spine:
            chapter = posixpath.basename(name)
            if name not in names:
                coverage.skip("page", "the chapter's file is missing", chapter)
                continue
            if characters > options.max_characters:
                coverage.skip("page", "the book is very large: its end is not kept", chapter)
                continue
            try:
                found = read_markup(archive.read(name))
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                coverage.skip("page", f"the chapter is damaged: {error}", chapter)
                continue
            coverage.read("page")
            coverage.read("table", found.tables)
            for address, alt in found.linked_images:
                target = _resolve(name, address)
                captions.setdefault(target, (len(pages) + 1, alt))
            if not len(found.page):
                continue
            page = found.page.page(len(pages) + 1)
            label = page.headings[0][2] if page.headings else found.title
            pages.append(found.page.page(len(pages) + 1, label=label[:50] or None))
            characters += len(page.text)
        items = _images(archive, package, captions, names) if options.max_images else []
        images = describe_all(_sound(items, coverage), options=options, coverage=coverage)
    if not pages and not images:
        raise UnreadableFile("the book holds no text (or is protected)")
    metadata = dict(package.metadata)
    return ReadDocument(
        media_type=file.media_type,
        title=metadata.pop("title", "")[:300],
        pages=tuple(pages),
        images=images,
        metadata=metadata,
        coverage=coverage.done(),
    )


def _package(archive: zipfile.ZipFile) -> _Package:
    from defusedxml.ElementTree import fromstring

    try:
        if "META-INF/encryption.xml" in archive.namelist():
            encrypted = archive.read("META-INF/encryption.xml")
            if b"xhtml" in encrypted or b".html" in encrypted:
                raise UnreadableFile("the book is copy-protected")
        listing = fromstring(archive.read("META-INF/container.xml"))
        rootfile = next(e for e in listing.iter() if e.tag.endswith("}rootfile"))
        name = rootfile.get("full-path", "")
        root = fromstring(archive.read(name))
    except UnreadableFile:
        raise
    except Exception as error:  # KeyError, ParseError, entity refusals, zip errors
        raise UnreadableFile("the book is damaged: its table of parts cannot be read") from error
    metadata: dict[str, Any] = {}
    for tag, key in (("title", "title"), ("creator", "author"), ("language", "language"),
                     ("date", "created"), ("subject", "subject")):  # fmt: skip
        found = root.find(f".//{_DC}{tag}")
        if found is not None and found.text:
            metadata[key] = one_line(found.text)[:500]
    media: dict[str, str] = {}
    by_id: dict[str, str] = {}
    for item in (e for e in root.iter() if e.tag.endswith("}item")):
        target = _resolve(name, item.get("href", ""))
        media[target] = item.get("media-type", "")
        by_id[item.get("id", "")] = target
    order = [by_id.get(e.get("idref", "")) for e in root.iter() if e.tag.endswith("}itemref")]
    spine = [target for target in order if target and media.get(target) in _MARKUP]
    other = [target or "unnamed" for target in order if media.get(target or "") not in _MARKUP]
    return _Package(metadata, list(dict.fromkeys(spine)), media, other)


def _resolve(base: str, address: str) -> str:
    """The archive's name of what `address` means in the file `base`."""
    address = unquote(address.split("#", 1)[0])
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), address)).lstrip("/")


def _images(
    archive: zipfile.ZipFile,
    package: _Package,
    captions: dict[str, tuple[int, str]],
    names: set[str],
) -> Iterator[tuple[Callable[[], bytes] | str, int, str]]:
    """(what reads it or why it is not read, page, caption) of each image."""
    for target, (page, alt) in captions.items():
        if target in names and package.media.get(target) in _IMAGES:
            yield partial(archive.read, target), page, alt[:300]
        elif target in names:
            yield "a drawing of a kind that is not read", page, ""
        elif ":" not in target:  # an address elsewhere
            yield "its file is missing in the book", page, ""
    for target, media_type in package.media.items():
        if media_type in _IMAGES and target in names and target not in captions:
            yield partial(archive.read, target), 1, ""


def _sound(
    items: Iterable[tuple[Callable[[], bytes] | str, int, str]], coverage: CoverageBuilder
) -> Iterator[tuple[bytes, int, str]]:
    """Images whose bytes are there; `coverage` counts the others."""
    for source, page, caption in items:
        if isinstance(source, str):
            coverage.skip("image", source, page, count=1)
            continue
        try:
            data = source()
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            coverage.skip("image", f"it is damaged: {error}", page, count=1)
            continue
        yield data, page, caption
