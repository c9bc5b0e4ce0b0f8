"""Passwords are kept as scrypt hashes, and sessions as signed tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from itsdangerous import BadSignature, TimestampSigner

from ragcore.errors import RagcoreError, UsageError
from ragcore.private_files import private_folder

MIN_LENGTH = 8
_LONGEST_TOKEN = 200  # ours have some 80 characters
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


class SignedTokens:
    """Secrets for browsers' cookies, signed with a key that is kept in a file.

    The signature tells a cookie of ours from any other before the catalogue is asked or anything
    is remembered of it. The secret itself is stored nowhere: `digest` is. Tokens of one `purpose`
    are none of another.
    """

    def __init__(self, key_file: Path, purpose: str) -> None:
        self._signer = TimestampSigner(
            _key(key_file), salt=f"ragcore {purpose}", digest_method=hashlib.sha256
        )

    def issue(self, subject: str = "") -> str:
        """A new token of 256 random bits, perhaps for a subject (letters and digits)."""
        return self._signer.sign(f"{subject}~{secrets.token_urlsafe(32)}").decode()

    def digest(self, token: str, seconds: int, subject: str = "") -> str | None:
        """The SHA-256 of a token's secret, in hex; None for one that was not issued here, for
        another subject, or longer ago than `seconds`."""
        if not 0 < len(token) <= _LONGEST_TOKEN:
            return None
        try:
            secret = self._signer.unsign(token.encode("utf-8", "replace"), max_age=seconds)
        except BadSignature:  # SignatureExpired is one
            return None
        if secret.partition(b"~")[0] != subject.encode():
            return None
        return hashlib.sha256(secret).hexdigest()


def _key(file: Path) -> bytes:
    """The secret of this home, made at first use and readable by its owner only."""
    try:
        private_folder(file.parent)
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
