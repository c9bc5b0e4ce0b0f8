"""Tokens in cookies: good for their time, their purpose and their key only."""

from __future__ import annotations

from pathlib import Path

from app.tokens import SignedTokens


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
