"""Passwords are kept as hashes; tokens end with their time, their key and their password."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragcore.accounts import SignedTokens, hash_password, verify_password
from ragcore.errors import UsageError


def test_a_password_fits_its_hash_only() -> None:
    hashed = hash_password("correct horse")
    assert "correct" not in hashed
    assert verify_password("correct horse", hashed)
    assert not verify_password("correct horsf", hashed)
    assert hash_password("correct horse") != hashed, "every hash has a salt of its own"


def test_what_is_no_hash_says_how_to_make_one() -> None:
    for wrong in ("secret", "scrypt:a:b:c:d:e", "md5:1:2:3:4:5", "scrypt:7:8:1:AAAA:AAAA"):
        with pytest.raises(UsageError, match="ragcore keys password"):
            verify_password("secret", wrong)


def test_short_passwords_are_refused() -> None:
    with pytest.raises(UsageError, match="8 characters"):
        hash_password("short")


def test_tokens(tmp_path: Path) -> None:
    tokens = SignedTokens(tmp_path / "ui.key", "session")
    token = tokens.issue()
    digest = tokens.digest(token, 60)
    assert digest is not None
    assert len(digest) == 64
    assert token not in digest
    assert SignedTokens(tmp_path / "ui.key", "session").digest(token, 60) == digest, "restarted"
    assert SignedTokens(tmp_path / "ui.key", "device").digest(token, 60) is None
    assert SignedTokens(tmp_path / "other.key", "session").digest(token, 60) is None
    assert tokens.digest(token, -1) is None, "its time is over"
    mine = tokens.issue("ann")
    assert tokens.digest(mine, 60, "ann")
    assert tokens.digest(mine, 60, "bob") is None
    for wrong in ("", ".", "..", "a.b.c", "é.é.é", token[:-1], f"x{token}", "a" * 10_000):
        assert tokens.digest(wrong, 60) is None, "not as it was signed"


def test_the_key_is_its_owners_alone(tmp_path: Path) -> None:
    SignedTokens(tmp_path / "home" / "ui.key", "session")
    assert (tmp_path / "home" / "ui.key").stat().st_mode & 0o077 == 0
