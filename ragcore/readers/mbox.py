"""Mailboxes (MBOX): every message, as the reader of e-mail reads one."""

from __future__ import annotations

import mailbox

from ragcore.errors import UnreadableFile
from ragcore.readers.contract import InputFile
from ragcore.readers.mail import Messages
from ragcore.readers.options import ReadOptions
from ragcore.types import ReadDocument


def read(file: InputFile, options: ReadOptions) -> ReadDocument:
    """The pages of the messages follow each other, in the order of the mailbox."""
    if not file.head.lstrip().startswith(b"From "):
        raise UnreadableFile(f"named {file.suffix} but is no mailbox: it begins without 'From '")
    mails = Messages(options)
    box = mailbox.mbox(file.path, create=False)
    try:
        for number, key in enumerate(box.iterkeys(), start=1):
            if mails.full:
                why = "the mailbox is very large: its end is not kept"
                mails.coverage.skip("page", why, f"from message {number:,}")
                break
            try:
                mails.add(box.get_bytes(key))
            except UnreadableFile as error:
                mails.coverage.skip("page", str(error), f"message {number:,}")
    finally:
        box.close()
    if not mails.pages:
        raise UnreadableFile("the mailbox holds no messages")
    return ReadDocument(
        media_type=file.media_type,
        title="",
        pages=tuple(mails.pages),
        images=tuple(mails.images),
        paged=True,
        coverage=mails.coverage.done(),
    )
