"""The filters. Each is one attribute of `Filter`, with all that there is to know of it.

To add one, add its attribute here (and a migration, if it needs a column): the command line, the
HTTP API, MCP and the pages follow, and `docs/explanation/search.md` gets its row.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_
from sqlalchemy.orm import Session

from ragcore.catalog import albums, browse, image_metadata, labels, marks, permits
from ragcore.catalog.filters import values
from ragcore.catalog.filters.field import (
    Condition,
    FilterField,
    Given,
    Item,
    Operator,
    documents_by,
    matches,
    of_document,
    within,
)
from ragcore.catalog.filters.globs import GlobMatch, is_glob
from ragcore.catalog.models import Document, DocumentPage, Image, ImageKeyword, Passage
from ragcore.catalog.models import ImageMetadataRow as Metadata
from ragcore.errors import UsageError
from ragcore.types import HitKind

MAX_VALUE = 1_000  # characters of a filter's value
_EARTH_RADIUS = 6371.0  # kilometers

_TYPES = {  # short names; any other is a media type, its first half, or a file's extension
    "pdf": ("application/pdf",),
    "text": ("text/plain",),
    "markdown": ("text/markdown",),
    "html": ("text/html", "application/xhtml+xml"),
    "word": ("application/vnd.openxmlformats-officedocument.wordprocessingml.document",),
    "powerpoint": ("application/vnd.openxmlformats-officedocument.presentationml.presentation",),
    "excel": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",),
    "email": ("message/rfc822", "application/vnd.ms-outlook", "application/mbox"),
    "code": ("text/x-source-code",),
    "subtitles": ("application/x-subrip", "text/vtt"),
    "archive": ("application/zip", "application/x-tar"),
}
_FAMILIES = ("image", "audio", "video")


# --- conditions ----------------------------------------------------------------------------


def _type(value: str) -> ColumnElement[bool]:
    kind = value.lower().lstrip(".")
    if "/" in kind:
        return Document.media_type == kind
    if kind in _FAMILIES:
        return Document.media_type.startswith(f"{kind}/")
    extension = Document.name.iendswith(f".{kind}", autoescape=True)
    return or_(Document.media_type.in_(_TYPES.get(kind, ())), extension)


def _path(value: str) -> ColumnElement[bool]:
    path = str(Path(value).expanduser()) if value.startswith("~") else value
    absolute = (
        path.startswith("/") or re.match(r"[A-Za-z]:[\\/]|[a-z][\w+.-]*://", path) is not None
    )
    if is_glob(path):
        return GlobMatch(Document.path, path if absolute else f"*/{path}")
    path = path.rstrip("/") or "/"
    if absolute:
        folder = path if path.endswith("/") else f"{path}/"
        return or_(Document.path == path, Document.path.startswith(folder, autoescape=True))
    return or_(
        Document.path.endswith(f"/{path}", autoescape=True),
        Document.path.contains(f"/{path}/", autoescape=True),
    )


def _folders(session: Session, collection_id: int) -> dict[str, int]:
    """Folders of the server, for those only who may write."""
    return browse.folders(session, collection_id) if permits.may("write") else {}


def _name(value: str) -> ColumnElement[bool]:
    if is_glob(value):
        return GlobMatch(Document.name, value, ignore_case=True)
    return Document.name.icontains(value, autoescape=True)


def _document(value: str) -> ColumnElement[bool]:
    if re.fullmatch(r"\d{1,18}(?:\s*,\s*\d{1,18})*", value):
        return Document.id.in_([int(one) for one in value.split(",")])
    wanted = value.lower()
    return or_(func.lower(Document.title) == wanted, func.lower(Document.name) == wanted)


def _page(item: Item, given: Given) -> ColumnElement[bool]:
    first, last = given["="]
    end = Passage.page_end if item is Passage else Image.page
    return and_(item.page <= last, end >= first)


def _label(item: Item, given: Given) -> ColumnElement[bool]:
    """A classifier's label; or, where only a label is asked for, one printed on the page."""
    label, least, classifier = (given.get(key) for key in ("=", "label_confidence", "classifier"))
    kind: HitKind = "passage" if item is Passage else "image"
    classified = labels.has_label(kind, label, least, classifier)
    if label is None or least is not None or classifier is not None:
        return classified
    page = exists().where(
        DocumentPage.document_id == item.document_id,
        DocumentPage.number == item.page,
        DocumentPage.label == label,
    )
    return or_(classified, page)


def _of_image(condition: Callable[[Given], ColumnElement[bool]]) -> Condition:
    """What is known of how an image file's image was taken.

    Passages of such a file (the text in the image) go with it.
    """

    def on(item: Item, given: Given) -> ColumnElement[bool]:
        if item is Image:
            return exists().where(Metadata.image_id == Image.id, condition(given))
        own = (Image.document_id == item.document_id, Image.page.is_(None))
        return exists().where(Metadata.image_id == Image.id, *own, condition(given))

    return on


def _marked(condition: Callable[[Any, Any], ColumnElement[bool]]) -> Condition:
    """What people say of an image: a condition on its id and the value.

    Passages of an image file (the text in the image) go with it.
    """

    def on(item: Item, given: Given) -> ColumnElement[bool]:
        if item is Image:
            return condition(Image.id, given)
        own = (Image.document_id == item.document_id, Image.page.is_(None))
        return exists().where(*own, condition(Image.id, given))

    return on


def _contains(column: Any) -> Condition:
    return _of_image(lambda given: column.icontains(given["="], autoescape=True))


def _taken(given: Given) -> ColumnElement[bool]:
    return within(Metadata.taken_at, {key: days.local for key, days in given.items()})


def _near(given: Given) -> ColumnElement[bool]:
    """By the haversine formula, which needs no care at the date line or the poles."""
    circle: values.Circle = given["="]
    north = func.radians(Metadata.latitude - circle.latitude) / 2
    east = func.radians(Metadata.longitude - circle.longitude) / 2
    cosines = func.cos(func.radians(Metadata.latitude)) * math.cos(math.radians(circle.latitude))
    haversine = func.power(func.sin(north), 2) + cosines * func.power(func.sin(east), 2)
    angle = min(math.pi, circle.kilometers / _EARTH_RADIUS)
    return and_(
        func.abs(Metadata.latitude - circle.latitude) <= math.degrees(angle) + 1e-9,
        haversine <= math.sin(angle / 2) ** 2,
    )


def _keywords(given: Given) -> ColumnElement[bool]:
    return and_(
        *(
            exists().where(
                ImageKeyword.image_id == Metadata.image_id,
                # the database's lower() may know ASCII only: what is written alike is always found
                or_(ImageKeyword.keyword == word, func.lower(ImageKeyword.keyword) == word.lower()),
            )
            for word in given["="]
        )
    )


# --- the table -----------------------------------------------------------------------------


def entry(type_: values.ValueType, help_: str, **about: Any) -> Any:
    """One filter: its type of values, its help, and the further attributes of `FilterField`."""
    return dataclasses.field(
        default=None, metadata={"entry": {"type": type_, "help": help_, **about}}
    )


def written(column: Any, label: str, help_: str) -> Any:
    """A filter by part of a text that an image's metadata have in `column`."""
    return entry(
        values.TEXT,
        help_,
        label=label,
        condition=_contains(column),
        on="item",
        widget="choice",
        facet=image_metadata.images_by(column),
    )


def bound() -> Any:
    """One more operator of the filter before it: its name ends in one of the type's `bounds`."""
    return dataclasses.field(default=None, metadata={})


@dataclass(frozen=True, kw_only=True)
class Filter(Mapping[str, str]):
    """Conditions that what is found meets, all of them: `Filter(type="pdf", page=(3, 7))`.

    Usable wherever a mapping of the string form is taken (`where={"type": "pdf"}`), since it is
    one. Values may be given in their string form. Raises UsageError for a value of another form.
    """

    type: str | None = entry(
        values.TEXT,
        "a media type (`text/html`), a short name (`pdf`, `image`, `markdown`, `html`, `word`, "
        "`powerpoint`, `excel`, `email`, `text`) or an extension",
        label="Type",
        condition=matches(_type),
        widget="choice",
        facet=documents_by(Document.media_type),
    )
    path: str | None = entry(
        values.GLOB,
        "a folder or file, absolute or the last parts of a path; or a glob with `*`, `?`, `[ ]` "
        "(at most 8 wildcards and 200 characters; matched in linear time)",
        label="Folder",
        condition=matches(_path),
        widget="choice",
        facet=_folders,
    )
    name: str | None = entry(
        values.GLOB,
        "part of the file name, or a glob",
        label="File name",
        condition=matches(_name),
        widget="text",
    )
    document: str | int | None = entry(
        values.TEXT,
        "its number, several with commas between them, or its whole title or file name",
        label="Document",
        condition=matches(_document),
    )
    modified: dt.date | str | None = entry(
        values.DATE,
        "when the file was last changed: `YYYY`, `YYYY-MM` or `YYYY-MM-DD`, or two of them as in "
        "`2023-05..2024`; bounds are included",
        label="File changed",
        condition=of_document(Document.modified_at),
        widget="dates",
        renamed_from="date",
    )
    modified_after: dt.date | str | None = bound()
    modified_before: dt.date | str | None = bound()
    size: int | str | None = entry(
        values.SIZE,
        "of the file, in bytes, or `500kB`, `10MB`, `2GB`",
        label="Size",
        condition=of_document(Document.size),
    )
    size_min: int | str | None = bound()
    size_max: int | str | None = bound()
    page: int | tuple[int, int] | str | None = entry(
        values.PAGES,
        "a number, or a range as in `3-7`",
        label="Page",
        condition=_page,
        on="item",
    )
    label: str | None = entry(
        values.TEXT,
        "what a classifier of your own calls it, whatever the case of its letters; or the number "
        "printed on the page, such as `iv`",
        label="Label",
        condition=_label,
        on="item",
        widget="choice",
        facet=labels.label_counts,
    )
    label_confidence: float | str | None = entry(
        values.SHARE,
        "how sure the classifier is of that label, from 0 to 1",
        label="Confidence",
        operators=(">=",),
        part_of="label",
        widget="minimum",
    )
    classifier: str | None = entry(
        values.TEXT,
        "only labels of the classifier of this name",
        label="Classifier",
        part_of="label",
    )
    taken: dt.date | str | None = entry(
        values.DATE,
        "when the image was taken, by the clock of that place, written as `modified`",
        label="Taken",
        condition=_of_image(_taken),
        on="item",
        widget="dates",
        facet=image_metadata.images_by(func.extract("year", Metadata.taken_at)),
    )
    taken_after: dt.date | str | None = bound()
    taken_before: dt.date | str | None = bound()
    camera: str | None = written(Metadata.camera, "Camera", "part of the camera's name")
    lens: str | None = written(Metadata.lens, "Lens", "part of the lens's name")
    place: str | None = written(
        Metadata.place, "Place", "part of the place's name: town, region, or country as two letters"
    )
    near: tuple[float, float, float] | str | None = entry(
        values.NEAR,
        "taken within some kilometers of a position: `LATITUDE,LONGITUDE,KILOMETERS` in degrees",
        label="Near",
        condition=_of_image(_near),
        on="item",
    )
    rating: int | str | None = entry(
        values.RATING,
        "stars of the image, 1 to 5, or -1 for rejected; a person's count in place of the file's",
        label="Rating",
        condition=_marked(lambda image, given: within(marks.rating_of(image), given)),
        on="item",
        widget="minimum",
        facet=marks.rating_counts,
    )
    rating_min: int | str | None = bound()
    rating_max: int | str | None = bound()
    keyword: str | tuple[str, ...] | None = entry(
        values.WORDS,
        "a keyword of the image, or several with commas between them, which it must all have",
        label="Keyword",
        condition=_of_image(_keywords),
        on="item",
        widget="choice",
        facet=image_metadata.images_by_keyword,
    )
    album: str | None = entry(
        values.TEXT,
        "the name of an album that the image is in",
        label="Album",
        condition=_marked(lambda image, given: albums.in_album(image, given["="])),
        on="item",
        widget="choice",
        facet=albums.album_counts,
    )
    favorite: bool | str | None = entry(
        values.YES_NO,
        "`yes` for images that are favorites, `no` for the others",
        label="Favorites",
        condition=_marked(lambda image, given: marks.is_favorite(image, given["="])),
        on="item",
        widget="choice",
        facet=marks.favorite_counts,
        shown={"yes": "Favorites", "no": "Others"},
    )
    tag: str | tuple[str, ...] | None = entry(
        values.WORDS,
        "a tag that people gave the image, or several with commas between them, which it must "
        "all have",
        label="Tag",
        condition=_marked(lambda image, given: marks.has_tags(image, given["="])),
        on="item",
        widget="choice",
        facet=marks.tag_counts,
    )
    incomplete: bool | str | None = entry(
        values.YES_NO,
        "`yes` for documents of which something was not read, `no` for the others",
        label="Read",
        condition=matches(Document.incomplete.is_),
        widget="choice",
        facet=lambda session, collection_id: _answers(session, collection_id),
        shown={"yes": "In part", "no": "Whole"},
    )

    def __post_init__(self) -> None:
        for key, text in self.items():
            _check(key, text)

    @classmethod
    def of(cls, where: Mapping[str, str]) -> Filter:
        """The filter of a string form: `{"type": "pdf", "size>=": "10MB"}`.

        Raises UsageError for an unknown field, naming the known ones, a field given twice, or a
        value that is none of the field's.
        """
        if isinstance(where, Filter):
            return where
        given: dict[str, str] = {}
        for name, value in where.items():
            key, text = _known(name), str(value).strip()
            _check(key, text)
            field, operator = KEYS[key]
            if field.attribute(operator) in given:
                raise UsageError(f"the filter {key!r} is given twice")
            given[field.attribute(operator)] = text
        return cls(**given)

    def __getitem__(self, key: str) -> str:
        if key not in KEYS:
            raise KeyError(key)
        field, operator = KEYS[key]
        value = getattr(self, field.attribute(operator))
        if value is None:
            raise KeyError(key)
        return field.type.write(value).strip()

    def __iter__(self) -> Iterator[str]:
        for key, (field, operator) in KEYS.items():
            if getattr(self, field.attribute(operator)) is not None:
                yield key

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _answers(session: Session, collection_id: int) -> dict[str, int]:
    counted = documents_by(Document.incomplete)(session, collection_id)
    return {"yes" if value in ("True", "1") else "no": number for value, number in counted.items()}


def _fields() -> tuple[FilterField, ...]:
    """The table, read from the attributes of `Filter`."""
    found: list[dict[str, Any]] = []
    for attribute in dataclasses.fields(Filter):
        about = attribute.metadata.get("entry")
        if about is not None:
            found.append({"name": attribute.name, "operators": ("=",), **about})
        else:
            last = found[-1]
            operator = dict(zip(last["type"].bounds, (">=", "<="), strict=True))[
                attribute.name.removeprefix(f"{last['name']}_")
            ]
            last["operators"] += (operator,)
    return tuple(FilterField(**about) for about in found)


FILTERS: tuple[FilterField, ...] = _fields()
KEYS: dict[str, tuple[FilterField, Operator]] = {
    key: (field, operator) for field in FILTERS for key, operator in field.keys.items()
}
_RENAMED = {
    field.key(operator, field.renamed_from): key
    for field in FILTERS
    if field.renamed_from
    for key, operator in field.keys.items()
}


def _known(name: str) -> str:
    """The key that is meant by a name as it was typed. Raises UsageError if there is none."""
    key = name.strip().lower().replace(" ", "")
    if key in _RENAMED:
        _warn_renamed(key, _RENAMED[key])
        return _RENAMED[key]
    if key not in KEYS:  # a field with one operator goes by its name alone
        key = next((one for one, (field, _) in KEYS.items() if field.name == key), key)
    if key not in KEYS:
        names = dict.fromkeys(key.rstrip("<>=") for key in KEYS)
        raise UsageError(f"unknown filter {name[:60]!r}; known are {', '.join(names)}")
    return key


@cache
def _warn_renamed(old: str, new: str) -> None:
    """One line in the log, once in a process."""
    import logging

    logging.getLogger("ragcore.catalog").warning(
        "the filter %r is now %r; the old name will not be accepted by the next release", old, new
    )


def _check(key: str, text: str) -> None:
    if not text:
        raise UsageError(f"the filter {key!r} needs a value")
    if len(text) > MAX_VALUE:
        raise UsageError(f"the filter {key!r} takes at most {MAX_VALUE:,} characters")
    KEYS[key][0].type.parse(text)
