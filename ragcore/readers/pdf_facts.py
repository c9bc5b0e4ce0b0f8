"""What a PDF says of itself: title, author, dates, language, page labels."""

from __future__ import annotations

import datetime as dt
import logging
import re
from dataclasses import dataclass, field
from typing import Any

from ragcore.readers.clean import one_line

_DATE = re.compile(
    r"(?:D:)?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?"
    r"(?:(?P<zone>[Zz+-])(?:(?P<hours>\d\d)'?(?:(?P<minutes>\d\d)'?)?)?)?"
)
_UNTITLED = re.compile(
    r"^(untitled|title|document\d*|microsoft (word|powerpoint).*|"
    r".*\.(docx?|pptx?|tex|dvi|indd|qxd))?$",
    re.I,
)

_NO_TEXT = 2  # bytes of an empty text in UTF-16 with its end


@dataclass(slots=True)
class Facts:
    """What the file says of itself."""

    title: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)


def read_facts(document: Any) -> Facts:
    """Metadata and page labels, as far as PDFium can follow the file's structure."""
    facts = Facts()
    try:
        title = one_line(document.get_metadata_value("Title"))[:300]
        facts.title = "" if _UNTITLED.match(title) else title
        for key in ("Author", "Subject", "Keywords"):
            if value := one_line(document.get_metadata_value(key)):
                facts.metadata[key.lower()] = value[:500]
        if created := _date(document.get_metadata_value("CreationDate")):
            facts.metadata["created"] = created
        if language := one_line(_language(document)):
            facts.metadata["language"] = language[:35]
        labels = [one_line(document.get_page_label(index)) for index in range(len(document))]
        facts.labels = labels if any(labels) else []
    except Exception:  # any damage here, such as half a character, costs only the metadata
        logging.getLogger(__name__).debug("metadata not read", exc_info=True)
    return facts


def _date(value: str) -> str:
    """A PDF date, D:YYYYMMDDHHmmSS+hh'mm' with everything after the year optional, as ISO 8601.

    "" for anything else.
    """
    found = _DATE.match(value.strip())
    if found is None:
        return ""
    year, month, day, hour, minute, second = (
        int(part or default)
        for part, default in zip(found.groups()[:6], (1, 1, 1, 0, 0, 0), strict=True)
    )
    shift = dt.timedelta(hours=int(found["hours"] or 0), minutes=int(found["minutes"] or 0))
    try:
        zone = dt.timezone(-shift if found["zone"] == "-" else shift) if found["zone"] else None
        return dt.datetime(year, month, day, hour, minute, second, tzinfo=zone).isoformat()
    except ValueError:
        return ""


def _language(document: Any) -> str:
    """The language that the file is declared to be in, such as "en-US"; "" if there is none."""
    import ctypes

    from pypdfium2 import raw

    size = raw.FPDFCatalog_GetLanguage(document, None, 0)
    buffer = ctypes.create_string_buffer(size)
    raw.FPDFCatalog_GetLanguage(document, ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return buffer.raw[: max(0, size - 2)].decode("utf-16-le", "replace")


def attached_names(document: Any) -> list[str]:
    """Names of the files that are attached to a PDF; "unnamed" where that is damaged."""
    names = []
    for index in range(document.count_attachments()):
        try:
            names.append(one_line(document.get_attachment(index).get_name()) or "unnamed")
        except Exception:  # any damage: there is a file nevertheless
            names.append("unnamed")
    return names


def has_notes(page: Any) -> bool:
    """Whether a page has filled form fields or notes: texts that are no part of its text layer."""
    from pypdfium2 import raw

    texts = {
        raw.FPDF_ANNOT_WIDGET: b"V",
        raw.FPDF_ANNOT_FREETEXT: b"Contents",
        raw.FPDF_ANNOT_TEXT: b"Contents",
    }
    for index in range(raw.FPDFPage_GetAnnotCount(page)):
        note = raw.FPDFPage_GetAnnot(page, index)
        if not note:
            continue
        try:
            key = texts.get(raw.FPDFAnnot_GetSubtype(note))
            if key and raw.FPDFAnnot_GetStringValue(note, key, None, 0) > _NO_TEXT:
                return True
        finally:
            raw.FPDFPage_CloseAnnot(note)
    return False
