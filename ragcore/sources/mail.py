"""Mail: folders of an IMAP server, mailboxes (mbox) and Maildir folders of this computer.

Each message is a document; the reader of e-mail reads it with what is attached.
"""

from __future__ import annotations

import hashlib
import imaplib
import mailbox
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import RagcoreError, UnreadableFile, UsageError
from ragcore.extras import require_extra
from ragcore.net import AddressPolicy, guarded_socket
from ragcore.settings import Settings
from ragcore.sources.contract import Skipped, Source, SourceContext, SourceItem
from ragcore.sources.copies import write_limited
from ragcore.sources.credentials import credentials
from ragcore.sources.remote_files import split

if TYPE_CHECKING:
    from imap_tools import BaseMailBox

_PORT = 993
_SECONDS = 30.0  # for each step of the conversation
_LEFT_OUT = frozenset({"\\trash", "\\junk", "\\drafts"})  # folders, by what servers say of them
_MESSAGE = re.compile(r"(?:^|/)\d+-\d+\.eml$")
_SIZE = re.compile(rb"UID (\d+)|RFC822\.SIZE (\d+)")


def imaps(url: str, context: SourceContext) -> Source:
    """`imaps://HOST[:PORT]`, or a folder there: `imaps://HOST/INBOX`.

    Credentials: `user` and `password` (or `token`, for OAuth 2), `ca_file` for a server with a
    certificate of its own.
    """
    require_extra("remote", "mailboxes of servers")
    context.check_options()
    host, path = split(url)
    name, _, port = host.partition(":")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise UsageError(f"{url} has a port that cannot be")
    return ImapMail(host, name, int(port or _PORT), path.strip("/"), context.settings)


class ImapMail:
    """The messages of an IMAP server, all folders or one with those below it.

    Folders of deleted messages, junk and drafts are left out unless they are named. Nothing is
    changed on the server: messages do not become read.
    """

    def __init__(self, root: str, host: str, port: int, folder: str, settings: Settings) -> None:
        self._root, self._host, self._port, self._folder = root, host, port, folder
        self._settings = settings
        self._lock = threading.Lock()  # one conversation, which fetching threads share
        self._box: BaseMailBox | None = None
        self._folders: dict[str, str] = {}  # as in locations, to what the server calls them
        self._open = ""  # the folder that is selected

    @property
    def location(self) -> str:
        return f"imaps://{self._root}/{self._folder}".rstrip("/")

    def list(self) -> Iterator[SourceItem | Skipped]:
        with self._lock:
            found = list(self._listed())
        yield from found

    def fetch(self, item: SourceItem, folder: Path, *, most_bytes: int) -> Path:
        shown, _, number = item.location.removeprefix(f"imaps://{self._root}/").rpartition("/")
        validity, _, uid = number.removesuffix(".eml").partition("-")
        with self._lock:
            for attempt in (0, 1):
                try:
                    data = self._message(shown, validity, uid, most_bytes)
                    break
                except (imaplib.IMAP4.abort, OSError):  # the server ended the conversation
                    self._box, self._open = None, ""
                    if attempt:
                        raise
        return write_limited([data], folder / "content", most_bytes)

    def _listed(self) -> Iterator[SourceItem | Skipped]:
        box = self._connected()
        # The last part may be a message's.
        wanted = self._folder.rpartition("/")[0] if _MESSAGE.search(self._folder) else self._folder
        found = False
        for shown, real, flags in self._all_folders(box):
            kinds = {flag.lower() for flag in flags}
            if wanted and not _is_below(shown, wanted):
                continue
            if "\\noselect" in kinds or "\\nonexistent" in kinds:
                continue
            location = f"imaps://{self._root}/{shown}"
            if kinds & _LEFT_OUT and shown != wanted:
                found = True
                yield Skipped(location, "a folder of deleted messages, junk or drafts")
                continue
            validity = self._select(real)
            for uid, size in self._sizes(box):
                name = f"{validity}-{uid}.eml"
                if _is_below(f"{location}/{name}", self.location):
                    # A message never changes: its number is its version.
                    yield SourceItem(f"{location}/{name}", name, size, None, f"{validity}-{uid}")
                    found = True
            found = found or shown == self._folder  # an empty folder is one, too
        if self._folder and not found:
            raise UsageError(f"there is no folder or message {self.location}")

    def _all_folders(self, box: BaseMailBox) -> Sequence[tuple[str, str, tuple[str, ...]]]:
        found = []
        for one in box.folder.list():
            shown = one.name.replace(one.delim, "/") if one.delim else one.name
            self._folders[shown] = one.name
            found.append((shown, one.name, one.flags))
        return found

    def _select(self, real: str) -> str:
        """Open a folder for reading; return what its numbers are valid for."""
        box = self._connected()
        box.folder.set(real, readonly=True)
        self._open = real
        _, data = box.client.response("UIDVALIDITY")
        return data[0].decode() if data and data[0] else "0"

    def _sizes(self, box: BaseMailBox) -> Iterator[tuple[str, int]]:
        if not int(box.folder.status(self._open, ["MESSAGES"])["MESSAGES"]):
            return
        status, data = box.client.fetch("1:*", "(UID RFC822.SIZE)")
        if status != "OK":
            raise RagcoreError(f"the messages of {self._open} cannot be listed: {status}")
        for line in data:
            raw = line if isinstance(line, bytes) else b" ".join(line or ())
            numbers = {bool(uid): (uid or size).decode() for uid, size in _SIZE.findall(raw)}
            if len(numbers) == 2:
                yield numbers[True], int(numbers[False])

    def _message(self, shown: str, validity: str, uid: str, most_bytes: int) -> bytes:
        box = self._connected()
        if shown not in self._folders:
            self._all_folders(box)
        real = self._folders.get(shown)
        if real is None or not uid.isdigit() or self._select(real) != validity:
            raise UnreadableFile("it is not there any more")
        # Beyond the limit one byte more is asked for, and no other.
        status, data = box.client.uid("FETCH", uid, f"(BODY.PEEK[]<0.{most_bytes + 1}>)")
        found = [part[1] for part in data if isinstance(part, tuple)]
        if status != "OK" or not found:
            raise UnreadableFile("it is not there any more")
        return bytes(found[0])

    def _connected(self) -> BaseMailBox:
        if self._box is None:
            self._box = _log_in(self._root, self._host, self._port, self._settings)
        return self._box


def _log_in(root: str, host: str, port: int, settings: Settings) -> BaseMailBox:
    require_extra("remote", "mailboxes of servers")
    from imap_tools import MailBox

    given = credentials(f"imaps://{root}", settings)
    if "user" not in given or not ("password" in given or "token" in given):
        raise UsageError(
            f'there is no user and password for imaps://{root}: write a section ["imaps://{root}"] '
            "into the credentials file (docs/how-to/sources.md)"
        )
    policy = AddressPolicy(settings.private_hosts)
    trusted = ssl.create_default_context(cafile=given.get("ca_file"))

    class Client(imaplib.IMAP4_SSL):
        def _create_socket(self, timeout: float | None) -> ssl.SSLSocket:
            plain = guarded_socket(policy, host, port, seconds=timeout or _SECONDS)
            return trusted.wrap_socket(plain, server_hostname=host)

    class Guarded(MailBox):
        def _get_mailbox_client(self) -> imaplib.IMAP4:
            return Client(host, port, ssl_context=trusted, timeout=_SECONDS)

    try:
        box = Guarded(host, port)
    except ssl.SSLError as error:
        raise RagcoreError(f"{host} has a certificate that is not trusted: {error}") from None
    except OSError as error:
        raise RagcoreError(f"{host}:{port} cannot be reached: {error}") from None
    try:
        if "token" in given:
            box.xoauth2(str(given["user"]), str(given["token"]), None)
        else:
            box.login(str(given["user"]), str(given["password"]), None)
    except Exception as error:  # of the library, with the server's words
        raise RagcoreError(f"{host} does not let {given['user']} in") from error
    return box


# --- files of this computer ----------------------------------------------------------------


def mbox(url: str, context: SourceContext) -> Source:
    """`mbox:///PATH/FILE`: a mailbox in one file, each message a document."""
    path = _path(url, context)
    file = next((one for one in (path, *path.parents) if one.is_file()), None)
    if file is None:
        raise UsageError(f"{url} leads to no file: write mbox:///path/to/mailbox")
    return LocalMail("mbox", path, file, lambda: {"": mailbox.mbox(file, create=False)})


def maildir(url: str, context: SourceContext) -> Source:
    """`maildir:///PATH`: a Maildir folder, with those in it."""
    path = _path(url, context)
    folder = next((one for one in (path, *path.parents) if _is_maildir(one)), None)
    if folder is None:
        raise UsageError(f"{url} is no Maildir: it has no folders cur and new")

    def boxes() -> dict[str, Any]:
        top = mailbox.Maildir(folder, create=False)
        return {"": top, **{name: top.get_folder(name) for name in sorted(top.list_folders())}}

    return LocalMail("maildir", path, folder, boxes)


def _is_maildir(path: Path) -> bool:
    return all((path / name).is_dir() for name in ("cur", "new"))


class LocalMail:
    """The messages of mailboxes of this computer, by the hash of what they hold."""

    def __init__(
        self, scheme: str, path: Path, box: Path, boxes: Callable[[], dict[str, Any]]
    ) -> None:
        """`path` is what is asked for: `box`, or a folder or message in it."""
        self._boxes = boxes
        self._lock = threading.Lock()
        self._keys: dict[str, tuple[Any, Any]] = {}
        self._root = f"{scheme}://{box}"
        self.location = f"{scheme}://{path}"

    def list(self) -> Iterator[SourceItem | Skipped]:
        with self._lock:
            found = [one for one in self._listed() if _is_below(one.location, self.location)]
        if not found and self.location != self._root:
            raise UsageError(f"there is nothing at {self.location}")
        yield from found

    def _listed(self) -> Iterator[SourceItem]:
        self._keys.clear()
        for folder, box in self._boxes().items():
            for key in box.iterkeys():
                data = box.get_bytes(key)
                digest = hashlib.sha256(data).hexdigest()
                name = f"{digest[:32]}.eml"
                location = "/".join(filter(None, (self._root, folder, name)))
                if location not in self._keys:  # the same message twice is one document
                    self._keys[location] = box, key
                    yield SourceItem(location, name, len(data), _sent(data), digest)

    def fetch(self, item: SourceItem, folder: Path, *, most_bytes: int) -> Path:
        with self._lock:
            if item.location not in self._keys:
                for _ in self._listed():
                    pass
            if item.location not in self._keys:
                raise UnreadableFile("it is not in the mailbox any more")
            box, key = self._keys[item.location]
            try:
                data = box.get_bytes(key)
            except (KeyError, OSError) as error:
                raise UnreadableFile("it is not in the mailbox any more") from error
        return write_limited([data], folder / "content", most_bytes)


def _path(url: str, context: SourceContext) -> Path:
    context.check_options()
    path = Path(url.partition("://")[2].rstrip("/"))
    if not path.is_absolute() or ".." in path.parts:
        raise UsageError(
            f"{url} is no path: write three slashes, as in {url.partition(':')[0]}:///home"
        )
    return path


def _is_below(location: str, root: str) -> bool:
    return location == root or location.startswith(f"{root}/")


def _sent(data: bytes) -> int | None:
    """When a message says that it was sent, in nanoseconds since 1970."""
    found = re.search(rb"^date:[ \t]*([^\r\n]{1,100})", data[:65536], re.I | re.M)
    try:
        when = parsedate_to_datetime(found[1].decode("ascii", "replace")) if found else None
        return max(0, int(when.timestamp())) * 10**9 if when else None
    except (ValueError, OverflowError, TypeError):
        return None
