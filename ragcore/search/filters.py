"""What `where` means: fields resolved in SQL to the ids that a search may find."""

from __future__ import annotations

import datetime as dt
import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Boolean, ColumnElement, and_, exists, func, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from ragcore.catalog.labels import has_label
from ragcore.catalog.models import Document, DocumentPage, Image, Passage
from ragcore.errors import UsageError

if TYPE_CHECKING:
    from ragcore.types import HitKind, IdArray

FIELDS = (
    "type", "path", "name", "document", "date", "date>=", "date<=", "size>=", "size<=", "page",
    "label", "label_confidence>=", "classifier", "incomplete",
)  # fmt: skip

MAX_VALUE = 1_000  # characters of a filter's value
MAX_GLOB = 200  # characters of a value with wildcards
MAX_WILDCARDS = 8

_TYPES = {  # short names; any other is a media type, its first half, or a file's extension
    "pdf": ("application/pdf",),
    "text": ("text/plain",),
    "markdown": ("text/markdown",),
    "html": ("text/html", "application/xhtml+xml"),
    "word": ("application/vnd.openxmlformats-officedocument.wordprocessingml.document",),
    "powerpoint": ("application/vnd.openxmlformats-officedocument.presentationml.presentation",),
    "excel": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",),
    "email": ("message/rfc822",),
}
_FAMILIES = ("image", "audio", "video")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_PAGES = re.compile(r"(\d{1,9})(?:\s*-\s*(\d{1,9}))?")


@dataclass(slots=True)
class Filter:
    """Conditions on documents, and on where in a document an item stands."""

    documents: list[ColumnElement[bool]] = field(default_factory=list)
    pages: tuple[int, int] | None = None
    label: str | None = None
    least: float | None = None
    classifier: str | None = None

    def __bool__(self) -> bool:
        others = (self.pages, self.label, self.least, self.classifier)
        return bool(self.documents) or any(one is not None for one in others)

    def ids(self, session: Session, collection_id: int, kind: HitKind) -> IdArray:
        """Ascending ids of the collection's items of a kind that meet every condition."""
        table = Passage if kind == "passage" else Image
        query = select(table.id).where(table.collection_id == collection_id)
        if self.documents:
            query = query.join(Document, Document.id == table.document_id).where(*self.documents)
        if self.pages is not None:
            first, last = self.pages
            end = Passage.page_end if kind == "passage" else Image.page
            query = query.where(table.page <= last, end >= first)
        if (self.label, self.least, self.classifier) != (None, None, None):
            query = query.where(self._labelled(kind))
        rows = session.execute(query.order_by(table.id))
        return np.fromiter((row[0] for row in rows), dtype=np.int64)

    def documents_in(self, session: Session, collection_id: int) -> Sequence[Document]:
        """The collection's documents that can be found and have an item that meets every
        condition, by title."""
        query = select(Document).where(
            Document.collection_id == collection_id, Document.state != "failed", *self.documents
        )
        if (self.pages, self.label, self.least, self.classifier) != (None,) * 4:
            ids = self.ids(session, collection_id, "passage").tolist()
            query = query.where(
                Document.id.in_(select(Passage.document_id).where(Passage.id.in_(ids)))
            )
        return session.scalars(query.order_by(Document.title, Document.name, Document.id)).all()

    def _labelled(self, kind: HitKind) -> ColumnElement[bool]:
        """A classifier says so; or, where only a label is asked for, it stands on such a page."""
        told = has_label(kind, self.label, self.least, self.classifier)
        if self.label is None or self.least is not None or self.classifier is not None:
            return told
        table = Passage if kind == "passage" else Image
        page = exists().where(
            DocumentPage.document_id == table.document_id,
            DocumentPage.number == table.page,
            DocumentPage.label == self.label,
        )
        return or_(told, page)


def parse_filter(where: Mapping[str, str]) -> Filter:
    """Check and translate `where`.

    - type: a media type ("text/html"), a short name ("pdf", "image") or an extension ("docx")
    - path: a folder or file (absolute, or the last parts of a path), or a glob with * ? [ ]
      (at most 8 wildcards and 200 characters)
    - name: part of the file name, or a glob
    - document: its number, several with commas between them, or its whole title or file name
    - date, date>=, date<=: of the file, as YYYY, YYYY-MM or YYYY-MM-DD
    - size>=, size<=: bytes, or with a unit as in 10MB
    - page: a number or a range as in 3-7
    - label: what a trained classifier calls it (see `ragcore classify`); or the number printed
      on the page, such as iv
    - label_confidence>=: of that label, from 0 to 1
    - classifier: the name of the one whose labels count
    - incomplete: yes for documents of which something was not read, no for the others

    Raises UsageError for an unknown field, naming the known ones, or a value that is no such.
    """
    result = Filter()
    for name, value in where.items():
        key, text = name.strip().lower().replace(" ", ""), str(value).strip()
        key = "label_confidence>=" if key == "label_confidence" else key
        if key not in FIELDS:
            raise UsageError(f"unknown filter {name[:60]!r}; known are {', '.join(FIELDS)}")
        if not text:
            raise UsageError(f"the filter {key!r} needs a value")
        if len(text) > MAX_VALUE:
            raise UsageError(f"the filter {key!r} takes at most {MAX_VALUE:,} characters")
        if key == "page":
            result.pages = _pages(text)
        elif key == "label":
            result.label = text
        elif key == "label_confidence>=":
            result.least = _share(text)
        elif key == "classifier":
            result.classifier = text
        else:
            result.documents.append(_CONDITIONS[key](text))
    return result


def _type(value: str) -> ColumnElement[bool]:
    kind = value.lower().lstrip(".")
    if "/" in kind:
        return Document.media_type == kind
    if kind in _FAMILIES:
        return Document.media_type.startswith(f"{kind}/")
    extension = Document.name.iendswith(f".{kind}", autoescape=True)
    return or_(Document.media_type.in_(_TYPES.get(kind, ())), extension)


_DRIVE_OR_SCHEME = r"[A-Za-z]:[\\/]|[a-z][a-z0-9+.-]*://"


def _path(value: str) -> ColumnElement[bool]:
    path = str(Path(value).expanduser()) if value.startswith("~") else value
    absolute = (
        path.startswith("/") or re.match(r"[A-Za-z]:[\\/]|[a-z][\w+.-]*://", path) is not None
    )
    if _is_glob(path):
        return GlobMatch(Document.path, path if absolute else f"*/{path}")
    path = path.rstrip("/") or "/"
    if absolute:
        return or_(Document.path == path, Document.path.startswith(_folder(path), autoescape=True))
    return or_(
        Document.path.endswith(f"/{path}", autoescape=True),
        Document.path.contains(f"/{path}/", autoescape=True),
    )


def _folder(path: str) -> str:
    return path if path.endswith("/") else f"{path}/"


def _name(value: str) -> ColumnElement[bool]:
    if _is_glob(value):
        return GlobMatch(Document.name, value, ignore_case=True)
    return Document.name.icontains(value, autoescape=True)


def _document(value: str) -> ColumnElement[bool]:
    if re.fullmatch(r"\d{1,18}(?:\s*,\s*\d{1,18})*", value):
        return Document.id.in_([int(one) for one in value.split(",")])
    wanted = value.lower()
    return or_(func.lower(Document.title) == wanted, func.lower(Document.name) == wanted)


def _is_glob(value: str) -> bool:
    """Raises UsageError for a glob with so many wildcards that matching it would take long."""
    wildcards = sum(c in "*?[" for c in value)
    if wildcards and len(value) > MAX_GLOB:
        raise UsageError(f"a glob has at most {MAX_GLOB} characters, this one {len(value):,}")
    if wildcards > MAX_WILDCARDS:
        raise UsageError(f"a glob has at most {MAX_WILDCARDS} of * ? [, this one {wildcards:,}")
    return wildcards > 0


class GlobMatch(FunctionElement[bool]):
    """Whether a column matches a glob as a whole; * also crosses folders.

    Each database gets an expression that its own engine matches without backtracking: Python's
    `re`, which SQLite calls, by atomic groups; PostgreSQL compiles patterns to an automaton.
    """

    type = Boolean()
    inherit_cache = True

    def __init__(self, column: Any, glob: str, *, ignore_case: bool = False) -> None:
        case = "(?i)" if ignore_case else ""
        super().__init__(
            column.regexp_match(f"{case}\\A{fnmatch.translate(glob)}"),
            column.regexp_match(f"{case}{_regex(glob)}"),
        )


@compiles(GlobMatch, "sqlite")
def _sqlite_glob(element: GlobMatch, compiler: SQLCompiler, **how: Any) -> str:
    return str(compiler.process(next(iter(element.clauses)), **how))


@compiles(GlobMatch, "postgresql")
def _postgresql_glob(element: GlobMatch, compiler: SQLCompiler, **how: Any) -> str:
    return str(compiler.process(list(element.clauses)[1], **how))


def _regex(glob: str) -> str:
    """A regular expression of PostgreSQL."""
    out, at = "", 0
    while at < len(glob):
        c, at = glob[at], at + 1
        if c == "*":
            out += ".*"
        elif c == "?":
            out += "."
        elif c == "[" and (end := glob.find("]", at + 1)) > 0:
            inside = re.sub(r"([\\^\[\]])", r"\\\1", glob[at:end].removeprefix("!"))
            out += f"[{'^' if glob[at] == '!' else ''}{inside}]"
            at = end + 1
        else:
            out += re.sub(r"([\\.^$|()\[\]{}+])", r"\\\1", c)
    return f"^{out}$"


def _day(value: str, *, end: bool) -> dt.datetime:
    """The first moment of a year, month or day, or the first one after it."""
    try:
        parts = [int(part) for part in value.split("-")]
        if not 1 <= len(parts) <= 3:
            raise ValueError
        year, month, day = (*parts, *[1] * (3 - len(parts)))
        moment = dt.datetime(year, month, day, tzinfo=dt.UTC)
        if not end:
            return moment
        if len(parts) == 3:
            return moment + dt.timedelta(days=1)
        if len(parts) == 2 and month < 12:
            return moment.replace(month=month + 1)
        return moment.replace(year=year + 1, month=1)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{value[:40]!r} is not a date: write YYYY, YYYY-MM or YYYY-MM-DD"
        ) from None


def _from(value: str) -> ColumnElement[bool]:
    return Document.modified_at >= _day(value, end=False)


def _to(value: str) -> ColumnElement[bool]:
    return Document.modified_at < _day(value, end=True)


def _bytes(value: str) -> int:
    found = _SIZE.fullmatch(value)
    if not found:
        raise UsageError(f"{value[:40]!r} is not a size: write bytes, or 500kB, 10MB, 2GB")
    power = " kmgt".index(found[2].lower()) if found[2] else 0
    return min(int(float(found[1]) * 1000**power), 2**62)


def _pages(value: str) -> tuple[int, int]:
    found = _PAGES.fullmatch(value)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last:
        raise UsageError(f"{value[:40]!r} is not a page: write a number from 1, or 3-7")
    return first, last


def _incomplete(value: str) -> ColumnElement[bool]:
    answers = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if value.lower() not in answers:
        raise UsageError(f"{value[:40]!r} is neither yes nor no")
    return Document.incomplete.is_(answers[value.lower()])


def _share(value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:  # not a number is neither
        raise UsageError(f"{value[:40]!r} is no confidence: write a number from 0 to 1")
    return share


_CONDITIONS: dict[str, Callable[[str], ColumnElement[bool]]] = {
    "type": _type,
    "document": _document,
    "path": _path,
    "name": _name,
    "date": lambda value: and_(_from(value), _to(value)),
    "date>=": _from,
    "date<=": _to,
    "size>=": lambda value: Document.size >= _bytes(value),
    "size<=": lambda value: Document.size <= _bytes(value),
    "incomplete": _incomplete,
}
