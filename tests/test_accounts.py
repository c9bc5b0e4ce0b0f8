"""Passwords are kept as hashes."""

from __future__ import annotations

import pytest

from ragcore.access.passwords import hash_password, verify_password
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
