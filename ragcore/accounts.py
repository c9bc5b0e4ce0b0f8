"""Passwords are kept as scrypt hashes, and sessions as signed tokens (standard library only)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import time
from pathlib import Path

from ragcore.errors import RagcoreError, UsageError

MIN_LENGTH = 8
# RFC 7914's interactive setting, doubled: 32 MiB and about 0.1 s a guess.
_N, _R, _P, _MEMORY = 2**15, 8, 1, 64 * 1024 * 1024


def hash_password(password: str) -> str:
    """One line that `verify_password` understands; safe to keep in a settings file.

    Raises UsageError for a password of fewer than eight characters.
    """
    if len(password) < MIN_LENGTH:
        raise UsageError(f"a password needs at least {MIN_LENGTH} characters")
    salt = os.urandom(16)
    digest = _scrypt(password, salt, _N, _R, _P)
    return f"scrypt:{_N}:{_R}:{_P}:{_encode(salt)}:{_encode(digest)}"


def verify_password(password: str, hashed: str) -> bool:
    """Whether `password` is the one that was hashed. Raises UsageError for no hash of ours."""
    try:
        scheme, n, r, p, salt, digest = hashed.split(":")
        if scheme != "scrypt":
            raise ValueError(scheme)
        given = _scrypt(password, _decode(salt), int(n), int(r), int(p))
        wanted = _decode(digest)
    except (ValueError, TypeError):
        raise UsageError(
            "what is kept is not a password hash: set the password anew by `ragcore keys password`"
        ) from None
    return hmac.compare_digest(given, wanted)


class Tokens:
    """Tokens that say whose browser this is, signed with a key kept in a file.

    A token ends with its time, or when the key file is deleted.
    """

    def __init__(self, key_file: Path) -> None:
        self._key = _key(key_file)

    def issue(self, subject: str, seconds: int) -> str:
        """A new token for `subject` (without points), good for `seconds`."""
        body = f"{int(time.time()) + seconds}.{subject}.{secrets.token_urlsafe(12)}"
        return f"{body}.{self._sign(body)}"

    def subject(self, token: str) -> str | None:
        """Whose token this is; None for one that was not issued here, or whose time is over."""
        body, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._sign(body).encode(), signature.encode()):
            return None
        expires, subject, _nonce = body.split(".")
        return subject if int(expires) > time.time() else None

    def _sign(self, body: str) -> str:
        return _encode(hmac.digest(self._key, body.encode(), "sha256"))


def _key(file: Path) -> bytes:
    """The secret of this home, made at first use and readable by its owner only."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(handle, "wb") as out:
                out.write(secrets.token_bytes(32))
        except FileExistsError:
            pass
        return file.read_bytes()
    except OSError as error:
        raise RagcoreError(f"{file} cannot be used: {error.strerror}") from error


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
