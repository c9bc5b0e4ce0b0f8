"""Passwords are kept as hashes; tokens end with their time, their key and their password."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragcore.accounts import Tokens, hash_password, verify_password
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
    tokens = Tokens(tmp_path / "ui.key")
    token = tokens.issue("7-abc", 60)
    assert tokens.subject(token) == "7-abc"
    assert Tokens(tmp_path / "ui.key").subject(token) == "7-abc", "after a restart too"
    assert Tokens(tmp_path / "other.key").subject(token) is None
    assert tokens.subject(tokens.issue("7-abc", -1)) is None, "its time is over"
    later = str(int(token.split(".")[0]) + 1000)
    changed = [token.replace(token.split(".")[0], later), token.replace("7-abc", "8-abc")]
    for wrong in (
        "",
        ".",
        "..",
        "a.b.c",
        "99999999999.x.",
        "\u00e9.\u00e9.\u00e9.\u00e9",
        *changed,
    ):
        assert tokens.subject(wrong) is None, "not as it was signed"


def test_the_key_is_its_owners_alone(tmp_path: Path) -> None:
    Tokens(tmp_path / "home" / "ui.key")
    assert (tmp_path / "home" / "ui.key").stat().st_mode & 0o077 == 0
