"""E-mail (EML): the head's main lines, the text, what is attached, and what is forwarded."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from email import errors, policy
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from ragcore.errors import UnreadableFile
from ragcore.readers.clean import PageBuilder, decode, one_line
from ragcore.readers.contract import InputFile
from ragcore.readers.html import read_markup
from ragcore.readers.inner import InnerFiles, label_of
from ragcore.readers.options import ReadOptions
from ragcore.readers.sniff import image_type
from ragcore.types import ReadDocument

MAX_DEPTH = 5  # of messages forwarded inside messages
_SIGNATURES = frozenset(
    {
        "application/pkcs7-signature",
        "application/x-pkcs7-signature",
        "application/pgp-signature",
        "application/pgp-keys",
    }
)
_HEADERS = ("from", "to", "subject", "date", "received")
_CUT = (errors.CloseBoundaryNotFoundDefect, errors.StartBoundaryNotFoundDefect)


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """The message is page 1.

    Each attached document's pages follow, labelled with its name, and so do forwarded messages with
    what is attached to them.
    """
    mail = Messages(options)
    message = mail.add(file.read_bytes())
    if not mail.pages[0].text:
        raise UnreadableFile("the e-mail holds no text")
    return ReadDocument(
        media_type=file.media_type,
        title=header(message, "subject")[:300],
        pages=tuple(mail.pages),
        images=tuple(mail.images),
        metadata=message_metadata(message),
        coverage=mail.coverage.done(),
    )


class Messages(InnerFiles):
    """Collects the pages and images of messages and of all that is in them."""

    def __init__(self, options: ReadOptions) -> None:
        super().__init__(options)
        self._attached = 0

    def add(self, data: bytes) -> EmailMessage:
        """The message in `data`. Raises UnreadableFile if it is none."""
        message = _parse(data)
        if not any(message.get(name) for name in _HEADERS):
            raise UnreadableFile("it is not an e-mail")
        self._attached = 0
        self.add_message(message, "", 0)
        return message

    def add_message(self, message: EmailMessage, name: str, depth: int) -> None:
        """The message as a page, then what is in it. `name` is that of a forwarded one."""
        builder = PageBuilder()
        builder.heading(header(message, "subject"), 1)
        head = [f"{key.title()}: {header(message, key)}" for key in ("from", "to", "cc", "date")]
        builder.add("\n".join(line for line in head if not line.endswith(": ")))
        body = message.get_body(preferencelist=("plain", "html"))
        if body is not None:
            _add_body(body, builder)
        at = len(self.pages)
        number = at + 1
        self.add_page(builder.page(number))  # replaced below, when all names are known
        images: list[tuple[bytes, int, str]] = []
        for part in _leaves(message):
            if part is body or _is_alternative(part, body):
                continue
            if _is_running_text(part):
                _add_body(part, builder)
            else:
                self._add_part(part, number, depth, builder, images)
        if any(isinstance(defect, _CUT) for part in message.walk() for defect in part.defects):
            why = "the message is cut off: what followed is missing"
            self.coverage.skip("page", why, name or number, partial=True)
        else:
            self.coverage.read("page")
        self.pages[at] = builder.page(number, label=label_of(name))
        self.add_images(images)

    def _add_part(
        self,
        part: EmailMessage,
        number: int,
        depth: int,
        builder: PageBuilder,
        images: list[tuple[bytes, int, str]],
    ) -> None:
        """What is attached to the message on page `number`."""
        kind = part.get_content_type()
        if kind in _SIGNATURES:
            self.coverage.ignore("attachment")
            return
        name = _name(part)
        builder.add(f"Attached: {name}")
        self._attached += 1
        if self._attached > self.options.max_attachments:
            most = self.options.max_attachments
            why = f"only the first {most} attachments are read (setting max_attachments)"
            self.coverage.skip("attachment", why, name)
            return
        if kind == "message/rfc822":
            inner = part.get_payload()
            if isinstance(inner, list) and inner and isinstance(inner[0], EmailMessage):
                self._add_forwarded(inner[0], name, depth)
                return
        data = _content(part)
        if not data:
            self.coverage.skip("attachment", "it is empty or cannot be decoded", name)
        elif image_type(data[:4096]):
            self.coverage.read("attachment")
            images.append((data, number, name))
        elif Path(name).suffix.lower() == ".eml":
            self._add_forwarded(_parse(data), name, depth)
        else:
            self._add_file(name, data)

    def _add_forwarded(self, message: EmailMessage, name: str, depth: int) -> None:
        if depth >= MAX_DEPTH:
            why = f"messages are read to a depth of {MAX_DEPTH} forwards"
            self.coverage.skip("attachment", why, name)
        elif not any(message.get(header) for header in _HEADERS):
            self.coverage.skip("attachment", "it is not an e-mail", name)
        else:
            self.coverage.read("attachment")
            self.add_message(message, name, depth + 1)

    def _add_file(self, name: str, data: bytes) -> None:
        """An attached file, read like any other: its content decides, its suffix comes second."""
        with tempfile.TemporaryDirectory(prefix="ragcore-") as folder:
            path = Path(folder) / f"attached{Path(name).suffix.lower()[:10]}"
            path.write_bytes(data)
            self.add_file(path, name)


def _parse(data: bytes) -> EmailMessage:
    return BytesParser(_class=EmailMessage, policy=policy.default).parsebytes(data)


def _leaves(part: Any) -> Iterator[EmailMessage]:
    """The parts of a message that have content; forwarded messages are not opened."""
    if part.get_content_maintype() == "multipart" and part.is_multipart():
        for inner in part.iter_parts():
            yield from _leaves(inner)
    else:
        yield part


def _is_alternative(part: EmailMessage, body: Any) -> bool:
    """Whether a part is the message's text in another form."""
    return (
        body is not None
        and part.get_content_type() in ("text/plain", "text/html")
        and part.get_content_type() != body.get_content_type()
        and not part.is_attachment()
        and not part.get_filename()
    )


def _is_running_text(part: EmailMessage) -> bool:
    """Whether a part is text that mail programs show under the body, such as a list's footer."""
    is_text = part.get_content_type() in ("text/plain", "text/html", "message/delivery-status")
    return is_text and not part.is_attachment() and not part.get_filename()


def _name(part: EmailMessage) -> str:
    name = one_line(part.get_filename() or "")
    inner = part.get_payload()
    if not name and isinstance(inner, list) and inner and isinstance(inner[0], EmailMessage):
        name = header(inner[0], "subject").replace("/", " ")
    return Path(name.replace("\\", "/")).name[:100] or "unnamed"


def _content(part: EmailMessage) -> bytes:
    """The part's decoded bytes; for a part that is a message itself, its text."""
    data = part.get_payload(decode=True)
    if isinstance(data, bytes):
        return data
    try:
        return b"\n".join(bytes(inner) for inner in part.iter_parts())
    except Exception:  # parts that cannot be written as they were read
        return b""


def header(message: EmailMessage, name: str) -> str:
    """A header of a message on one line, at most 1,000 characters; "" where there is none."""
    try:
        return one_line(str(message.get(name) or ""))[:1000]
    except Exception:  # malformed headers raise all kinds of errors when they are parsed
        return ""


def message_metadata(message: EmailMessage) -> dict[str, Any]:
    """Author and date of a message, where its headers give them."""
    found: dict[str, Any] = {}
    if header(message, "from"):
        found["author"] = header(message, "from")[:500]
    try:
        found["created"] = parsedate_to_datetime(header(message, "date")).isoformat()
    except (ValueError, TypeError):
        found.pop("created", None)
    return found


def _add_body(body: Any, builder: PageBuilder) -> None:
    text = _text(body)
    if body.get_content_type() == "text/html":
        text = read_markup(text).page.page(1).text
    builder.add(text)


def _text(part: Any) -> str:
    try:
        return str(part.get_content())
    except Exception:  # unknown charsets and broken transfer encodings
        return decode(_content(part))
