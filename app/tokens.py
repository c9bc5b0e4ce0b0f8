"""What stands in the browsers' cookies: random secrets, signed with a key of the home."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from itsdangerous import BadSignature, TimestampSigner

from ragcore.errors import RagcoreError
from ragcore.files import private_folder

_LONGEST_TOKEN = 200  # ours have some 80 characters


class SignedTokens:
    """Secrets for browsers' cookies, signed with a key that is kept in a file.

    The signature identifies a cookie of ours before the catalog is asked or anything is
    remembered of it. The secret itself is stored nowhere: `digest` is. Tokens of one `purpose`
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
        """The SHA-256 of a token's secret, in hex.

        None for one that was not issued here, for another subject, or longer ago than `seconds`.
        """
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
