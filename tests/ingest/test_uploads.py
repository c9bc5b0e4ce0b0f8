"""Uploads: names that stay in their folder, nothing overwritten, nothing else deleted."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ragcore.catalog import Catalog
from ragcore.errors import UsageError
from ragcore.ingest.uploads import Uploads, safe_name
from ragcore.settings import Settings


@pytest.fixture
def uploads(settings: Settings) -> Uploads:
    return Uploads(Catalog(settings.catalog_url), settings)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\photo.jpg", "photo.jpg"),
        (".hidden.txt", "hidden.txt"),
        ("...", "file"),
        ("a\x00b\n.txt", "a_b_.txt"),
        ("naïve café.md", "naïve café.md"),
        ("", "file"),
    ],
)
def test_safe_name(given: str, kept: str) -> None:
    assert safe_name(given) == kept


def test_long_names_keep_their_ending() -> None:
    name = safe_name("ü" * 400 + ".docx")
    assert name.endswith(".docx")
    assert len(name.encode()) <= 160


def test_files_of_one_name_do_not_replace_each_other(uploads: Uploads) -> None:
    (first,) = uploads.save("papers", [("notes.txt", io.BytesIO(b"one"))])
    (second,) = uploads.save("papers", [("notes.txt", io.BytesIO(b"two"))])
    (again,) = uploads.save("papers", [("notes.txt", io.BytesIO(b"one"))])
    assert first.read_bytes() == b"one"
    assert second.read_bytes() == b"two"
    assert second.name == "notes (2).txt"
    assert again == first


def test_too_large_is_refused(settings: Settings) -> None:
    small = settings.model_copy(update={"ui_upload_mb": 1})
    uploads = Uploads(Catalog(small.catalog_url), small)
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        uploads.save("papers", [("big.txt", io.BytesIO(b"x" * (2**20 + 1)))])


def test_only_uploads_are_discarded(uploads: Uploads, tmp_path: Path) -> None:
    (kept,) = uploads.save("papers", [("notes.txt", io.BytesIO(b"one"))])
    own = tmp_path / "own.txt"
    own.write_text("mine")
    link = uploads.folder("papers") / "link.txt"
    link.symlink_to(own)
    assert uploads.discard([kept, own, link]) == 1
    assert own.exists()
    assert not kept.exists()
