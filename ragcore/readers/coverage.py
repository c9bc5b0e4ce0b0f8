"""What of a file was read, collected while it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace

from ragcore.types import (
    Coverage,
    IncompleteFile,
    IngestReport,
    PartCounts,
    PartKind,
    ReadDocument,
    SkippedParts,
)

_KINDS: dict[PartKind, str] = {
    "page": "pages",
    "sheet": "sheets",
    "table": "tables",
    "image": "images",
    "attachment": "attachments",
}
_MOST_WHERE = 200  # characters of a list of places
_MOST_REASONS = 100  # of one document
_FIELDS = tuple(one.name for one in fields(PartCounts))


@dataclass(slots=True)
class _Places:
    """Where parts stand that were skipped for one reason."""

    count: int = 0
    numbers: set[int] = field(default_factory=set)
    names: dict[str, None] = field(default_factory=dict)


class CoverageBuilder:
    """Counts a document's parts by what became of them, and why some were not read."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[PartKind, str]] = Counter()
        self._skipped: dict[tuple[PartKind, str, bool], _Places] = {}

    def read(self, part: PartKind, count: int = 1, *, ocr: int = 0) -> None:
        """Parts that were read whole; the text of `ocr` of them was recognized."""
        self._count(part, "read", count, ocr)

    def ignore(self, part: PartKind, count: int = 1) -> None:
        """Decoration, repeats, and what is not in the file."""
        self._count(part, "ignored", count)

    def skip(
        self,
        part: PartKind,
        why: str,
        where: int | str | Iterable[int] = "",
        *,
        count: int | None = None,
        partial: bool = False,
        ocr: int = 0,
    ) -> None:
        """Parts that were not read, or with `partial` not whole.

        `where`: a page's number or several, or a name; `count` is by default the number of those,
        at least 1.
        """
        places = self._skipped.setdefault((part, " ".join(why.split())[:300], partial), _Places())
        if isinstance(where, str):
            numbers: set[int] = set()
            if where and len(places.names) < _MOST_WHERE:
                places.names[where[:100]] = None
        else:
            numbers = {where} if isinstance(where, int) else set(where)
            places.numbers |= numbers
        number = count if count is not None else max(1, len(numbers))
        places.count += number
        self._count(part, "partial" if partial else "skipped", number, ocr)

    def add(self, inner: Coverage, name: str) -> None:
        """Count the parts of a document inside this one, such as an attached file."""
        for part, kind in _KINDS.items():
            counts: PartCounts = getattr(inner, kind)
            for outcome in _FIELDS:
                self._counts[part, outcome] += getattr(counts, outcome)
        for one in inner.skipped:
            places = self._skipped.setdefault((one.part, one.why, one.partial), _Places())
            places.count += one.count
            at = one.where
            if at and at[0].isdigit():
                at = f"{one.part} {at}"
            places.names[f"{name}: {at}" if at else name] = None

    def _count(self, part: PartKind, outcome: str, count: int, ocr: int = 0) -> None:
        self._counts[part, "found"] += count
        self._counts[part, outcome] += count
        self._counts[part, "ocr"] += ocr

    def done(self) -> Coverage:
        """What was counted."""
        skipped = tuple(
            SkippedParts(part, places.count, _where(places), why, partial)
            for (part, why, partial), places in list(self._skipped.items())[:_MOST_REASONS]
        )
        counts = {
            kind: PartCounts(**{name: self._counts[part, name] for name in _FIELDS})
            for part, kind in _KINDS.items()
        }
        return Coverage(skipped=skipped, **counts)


def _where(places: _Places) -> str:
    text = ", ".join((*_ranges(sorted(places.numbers)), *places.names))
    return text if len(text) <= _MOST_WHERE else f"{text[: _MOST_WHERE - 1]}…"


def _ranges(numbers: Sequence[int]) -> Iterable[str]:
    """Ascending numbers as "2", "5-9"."""
    at = 0
    while at < len(numbers):
        end = at
        while end + 1 < len(numbers) and numbers[end + 1] == numbers[end] + 1:
            end += 1
        yield f"{numbers[at]}" if end == at else f"{numbers[at]}-{numbers[end]}"
        at = end + 1


def with_coverage(document: ReadDocument) -> ReadDocument:
    """The document with its coverage, and a warning for each thing that was skipped."""
    if document.coverage is not None:
        lines = [str(one) for one in document.coverage.skipped]
        return replace(document, warnings=tuple(dict.fromkeys((*document.warnings, *lines))))
    builder = CoverageBuilder()
    for page in document.pages:
        builder.read("page", ocr=int(page.ocr))
    for image in document.images:
        builder.read("image", ocr=int(bool(image.text)))
    for warning in document.warnings:
        builder.skip("text", warning, partial=True)
    return replace(document, coverage=builder.done())


def add_to_report(report: IngestReport, path: str, coverage: Coverage) -> None:
    """Count a document that was stored."""
    for kind in _KINDS.values():
        before, new = report.coverage.get(kind, PartCounts()), getattr(coverage, kind)
        report.coverage[kind] = PartCounts(
            **{name: getattr(before, name) + getattr(new, name) for name in _FIELDS}
        )
    if coverage.skipped:
        report.incomplete.append(IncompleteFile(path, coverage.skipped))
