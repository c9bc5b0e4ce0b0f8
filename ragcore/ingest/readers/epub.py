"""Books (EPUB 2 and 3): a page a chapter file, in the order of the spine."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ragcore.errors import UnreadableFile
from ragcore.ingest.pictures import describe_all
from ragcore.ingest.readers import container
from ragcore.ingest.readers.clean import one_line
from ragcore.ingest.readers.contract import InputFile
from ragcore.ingest.readers.html import read_markup
from ragcore.ingest.readers.options import ReadOptions
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


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """Chapters become pages (not worth citing by number: `paged` is False)."""
    container.check(file.path, options)
    pages: list[Page] = []
    warnings: list[str] = []
    captions: dict[str, tuple[int, str]] = {}
    characters = 0
    with zipfile.ZipFile(file.path) as archive:
        package = _package(archive)
        names = set(archive.namelist())
        for name in package.spine:
            if name not in names:
                warnings.append(f"the chapter {posixpath.basename(name)} is missing")
                continue
            if characters > options.max_characters:
                warnings.append("only the first chapters were kept: the book is very large")
                break
            found = read_markup(archive.read(name))
            for address, alt in found.images:
                target = _resolve(name, address)
                captions.setdefault(target, (len(pages) + 1, alt))
            if not len(found.page):
                continue
            page = found.page.page(len(pages) + 1)
            label = page.headings[0][2] if page.headings else found.title
            pages.append(found.page.page(len(pages) + 1, label=label[:50] or None))
            characters += len(page.text)
        images = _images(archive, package, captions, names) if options.max_pictures else []
        pictures, problems = describe_all(images, options=options)
    if not pages and not pictures:
        raise UnreadableFile("the book holds no text (or is protected)")
    metadata = dict(package.metadata)
    return ReadDocument(
        media_type=file.media_type,
        title=metadata.pop("title", "")[:300],
        pages=tuple(pages),
        pictures=pictures,
        metadata=metadata,
        warnings=(*warnings, *problems),
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
    return _Package(metadata, list(dict.fromkeys(spine)), media)


def _resolve(base: str, address: str) -> str:
    """The archive's name of what `address` means in the file `base`."""
    address = unquote(address.split("#", 1)[0])
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), address)).lstrip("/")


def _images(
    archive: zipfile.ZipFile,
    package: _Package,
    captions: dict[str, tuple[int, str]],
    names: set[str],
) -> Iterator[tuple[bytes, int, str]]:
    for target, (page, alt) in captions.items():
        if target in names and package.media.get(target) in _IMAGES:
            yield archive.read(target), page, alt[:300]
    for target, media_type in package.media.items():
        if media_type in _IMAGES and target in names and target not in captions:
            yield archive.read(target), 1, ""
