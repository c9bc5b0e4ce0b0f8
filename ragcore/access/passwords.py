"""Passwords are kept as scrypt hashes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

from ragcore.errors import UsageError

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
            "what is kept is not a password hash: set a new password with `ragcore keys password`"
        ) from None
    return hmac.compare_digest(given, wanted)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
