"""Messages of Outlook (MSG): read as the e-mail that they are."""

from __future__ import annotations

import struct
from email import policy
from email.message import EmailMessage
from email.parser import HeaderParser
from typing import Any

from ragcore.errors import UnreadableFile
from ragcore.readers.clean import decode, one_line
from ragcore.readers.contract import InputFile
from ragcore.readers.mail import MAX_DEPTH, Messages, message_metadata
from ragcore.readers.options import ReadOptions
from ragcore.types import ReadDocument

# Properties of MAPI: number and type make the name of a stream.
_SUBJECT, _BODY, _HTML, _HEADERS = "0037", "1000", "1013", "007D"
_SENDER_NAME, _SENDER, _SENDER_SMTP, _TO, _CC = "0C1A", "0C1F", "5D01", "0E04", "0E03"
_LONG_NAME, _SHORT_NAME, _DATA, _TYPE = "3707", "3704", "3701", "370E"
_SENT = 0x0039, 0x0E06  # submitted, delivered: times among the fixed properties
_UNICODE, _BYTES_TEXT, _BINARY, _OBJECT = "001F", "001E", "0102", "000D"
_TICKS_TO_1970 = 116_444_736_000_000_000  # from 1601, in units of 100 ns


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """The message is page 1; what is attached follows, as for other e-mail."""
    import olefile

    try:
        ole = olefile.OleFileIO(str(file.path))
    except Exception as error:  # its library raises many kinds
        raise UnreadableFile("the message is cut off or damaged") from error
    with ole:
        message = _message(ole, [], 0)
    mails = Messages(options)
    mails.add_message(message, "", 0)
    if not mails.pages[0].text:
        raise UnreadableFile("the message holds no text")
    return ReadDocument(
        media_type=file.media_type,
        title=one_line(str(message["subject"] or ""))[:300],
        pages=tuple(mails.pages),
        images=tuple(mails.images),
        metadata=message_metadata(message),
        coverage=mails.coverage.done(),
    )


def _message(ole: Any, path: list[str], depth: int) -> EmailMessage:
    """The message in a storage of the file, with its attachments."""
    message = EmailMessage(policy=policy.default)
    sent = HeaderParser(policy=policy.compat32).parsestr(_text(ole, path, _HEADERS))
    for name, value in {
        "From": _sender(ole, path),
        "To": _text(ole, path, _TO),
        "Cc": _text(ole, path, _CC),
        "Subject": _text(ole, path, _SUBJECT),
        "Date": str(sent["date"] or "") or _date(ole, path, top=not path),
    }.items():
        if line := one_line(value)[:1000]:
            message[name] = line
    plain = _text(ole, path, _BODY)
    markup = _stream(ole, [*path, f"__substg1.0_{_HTML}{_BINARY}"]) or b""
    if plain or not markup:
        message.set_content(plain)
    if markup:
        text = decode(markup)
        message.add_alternative(text, subtype="html") if plain else message.set_content(
            text, subtype="html"
        )
    for storage in _attachments(ole, path):
        _attach(ole, storage, message, depth)
    return message


def _attachments(ole: Any, path: list[str]) -> list[list[str]]:
    found = {
        tuple(entry[: len(path) + 1])
        for entry in ole.listdir(streams=True, storages=True)
        if entry[: len(path)] == path
        and len(entry) > len(path)
        and entry[len(path)].startswith("__attach_version1.0_")
    }
    return [list(one) for one in sorted(found)]


def _attach(ole: Any, storage: list[str], message: EmailMessage, depth: int) -> None:
    name = _text(ole, storage, _LONG_NAME) or _text(ole, storage, _SHORT_NAME) or "unnamed"
    name = one_line(name)[:200]
    inner = [*storage, f"__substg1.0_{_DATA}{_OBJECT}"]
    if ole.exists(inner):  # a message, or an object of another program
        if depth < MAX_DEPTH and ole.exists([*inner, "__properties_version1.0"]):
            message.add_attachment(_message(ole, inner, depth + 1), filename=name)
            return
        data = b""
    else:
        data = _stream(ole, [*storage, f"__substg1.0_{_DATA}{_BINARY}"]) or b""
    kind = _text(ole, storage, _TYPE).lower()
    main, _, sub = kind.partition("/")
    if main not in ("image", "application") or not sub.replace("-", "").replace(".", "").isalnum():
        main, sub = "application", "octet-stream"
    message.add_attachment(data, maintype=main, subtype=sub, filename=name)


def _sender(ole: Any, path: list[str]) -> str:
    name = _text(ole, path, _SENDER_NAME)
    address = _text(ole, path, _SENDER_SMTP) or _text(ole, path, _SENDER)
    if "@" not in address:  # an address within an organization, which says nothing to people
        return name
    return f"{name} <{address}>" if name and name != address else address


def _text(ole: Any, path: list[str], number: str) -> str:
    """A property that is text; "" if the message does not have it."""
    data = _stream(ole, [*path, f"__substg1.0_{number}{_UNICODE}"])
    if data is not None:
        return data.decode("utf-16-le", "replace").rstrip("\0")
    return decode(_stream(ole, [*path, f"__substg1.0_{number}{_BYTES_TEXT}"]) or b"").rstrip("\0")


def _date(ole: Any, path: list[str], *, top: bool) -> str:
    """When the message was sent, among the properties of fixed size (16 bytes each)."""
    from datetime import UTC, datetime
    from email.utils import format_datetime

    data = _stream(ole, [*path, "__properties_version1.0"]) or b""
    times: dict[int, int] = {}
    for at in range(32 if top else 24, len(data) - 15, 16):
        kind, number, _, value = struct.unpack_from("<HHIQ", data, at)
        if kind == 0x0040 and number in _SENT:
            times[number] = value
    for number in _SENT:
        seconds = (times.get(number, 0) - _TICKS_TO_1970) / 10_000_000
        if 0 < seconds < 2**33:
            return format_datetime(datetime.fromtimestamp(seconds, UTC))
    return ""


def _stream(ole: Any, path: list[str]) -> bytes | None:
    if not ole.exists(path) or ole.get_type(path) != 2:  # 2: a stream
        return None
    with ole.openstream(path) as stream:
        return bytes(stream.read())
