"""E-mail (EML): the head's main lines, the text, and what is attached."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from ragcore.errors import RagcoreError, UnreadableFile
from ragcore.ingest.pictures import describe_all
from ragcore.ingest.readers.clean import PageBuilder, decode, one_line
from ragcore.ingest.readers.contract import InputFile
from ragcore.ingest.readers.html import read_markup
from ragcore.ingest.readers.options import ReadOptions
from ragcore.ingest.readers.sniff import image_type
from ragcore.types import Page, Picture, ReadDocument

_MAX_ATTACHMENTS = 50


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """The message is page 1; each attached document's pages follow, labelled with its name."""
    message = BytesParser(_class=EmailMessage, policy=policy.default).parsebytes(file.read_bytes())
    if not any(message.get(name) for name in ("from", "to", "subject", "date", "received")):
        raise UnreadableFile("named .eml but is not an e-mail")
    builder = PageBuilder()
    subject = _header(message, "subject")
    builder.heading(subject, 1)
    head = [f"{name.title()}: {_header(message, name)}" for name in ("from", "to", "cc", "date")]
    builder.add("\n".join(line for line in head if not line.endswith(": ")))
    _add_body(message, builder)
    pages: list[Page] = []
    pictures: list[Picture] = []
    warnings: list[str] = []
    images: list[tuple[bytes, int, str]] = []
    for name, data in _attachments(message):
        builder.add(f"Attached: {name}")
        if image_type(data[:4096]):
            images.append((data, 1, name))
        else:
            _read_attached(name, data, options, pages, pictures, warnings)
    described, problems = describe_all(images if options.max_pictures else [], options=options)
    all_pages = (builder.page(1), *pages)
    if not all_pages[0].text:
        raise UnreadableFile("the e-mail holds no text")
    return ReadDocument(
        media_type=file.media_type,
        title=subject[:300],
        pages=all_pages,
        pictures=(*described, *pictures),
        metadata=_metadata(message),
        warnings=(*warnings, *problems),
    )


def _header(message: EmailMessage, name: str) -> str:
    try:
        return one_line(str(message.get(name) or ""))[:1000]
    except Exception:  # malformed headers raise all kinds of errors when they are parsed
        return ""


def _metadata(message: EmailMessage) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if _header(message, "from"):
        found["author"] = _header(message, "from")[:500]
    try:
        found["created"] = parsedate_to_datetime(_header(message, "date")).isoformat()
    except (ValueError, TypeError):
        found.pop("created", None)
    return found


def _add_body(message: EmailMessage, builder: PageBuilder) -> None:
    body = message.get_body(preferencelist=("plain", "html"))
    if body is None:
        return
    text = _text(body)
    if body.get_content_type() == "text/html":
        found = read_markup(text).page.page(1)
        text = found.text
    builder.add(text)


def _text(part: Any) -> str:
    try:
        return str(part.get_content())
    except Exception:  # unknown charsets and broken transfer encodings
        return decode(part.get_payload(decode=True) or b"")


def _attachments(message: EmailMessage) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for part in message.iter_attachments():
        if len(found) >= _MAX_ATTACHMENTS:
            break
        data = part.get_payload(decode=True)
        name = one_line(part.get_filename() or "") or "unnamed"
        if isinstance(data, bytes) and data:
            found.append((Path(name.replace("\\", "/")).name[:100] or "unnamed", data))
    return found


def _read_attached(
    name: str,
    data: bytes,
    options: ReadOptions,
    pages: list[Page],
    pictures: list[Picture],
    warnings: list[str],
) -> None:
    """Reads one attached file like any other; attached e-mails are not followed further."""
    from ragcore.ingest.readers.read import read as read_file

    suffix = Path(name).suffix.lower()
    if suffix == ".eml" or (not suffix and not data.startswith(b"%PDF")):
        return
    with tempfile.TemporaryDirectory(prefix="ragcore-") as folder:
        path = Path(folder) / f"attached{suffix[:10]}"
        path.write_bytes(data)
        try:
            document = read_file(path, options=options)
        except RagcoreError as error:
            warnings.append(f"attached {name}: {error}")
            return
    offset = len(pages) + 1
    for number, page in enumerate(document.pages, start=1):
        pages.append(replace(page, number=offset + number, label=name[:50]))
    pictures.extend(
        replace(picture, page=offset + (picture.page or 1)) for picture in document.pictures
    )
