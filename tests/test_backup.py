"""A library in one file, while it is in use, and back; what is damaged changes nothing."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ragcore.errors import RagcoreError, UsageError
from ragcore.library import Library
from ragcore.maintenance.backup import MANIFEST, backup, restore
from ragcore.settings import Settings
from ragcore.weights import WeightStore

TEXTS = {
    "heron.txt": "The grey heron stands in shallow water and waits for fish.",
    "bread.txt": "Rye bread needs a sour dough that was fed the evening before.",
    "rent.txt": "The rent is due on the third working day of the month.",
}


@pytest.fixture
def settings(tmp_path: Path, starter_weights: WeightStore) -> Settings:
    return Settings(home=tmp_path / "home", ocr="off", workers=1)


@pytest.fixture
def library(settings: Settings, tmp_path: Path) -> Library:
    files = tmp_path / "files"
    files.mkdir()
    for name, text in TEXTS.items():
        (files / name).write_text(text)
    with Library(settings) as library:
        library.ingest([files])
        yield library


def best(library: Library, words: str) -> str:
    return Path(library.search(words, kind="passages", k=1, cutoff=0).hits[0].path).name


@pytest.mark.parametrize("name", ["kept.tar", "kept.tar.gz"])
def test_there_and_back(library: Library, settings: Settings, tmp_path: Path, name: str) -> None:
    (settings.uploads / "1").mkdir(parents=True)
    (settings.uploads / "1" / "letter.txt").write_text("uploaded")
    made = backup(settings, tmp_path / name)
    assert made.path.stat().st_mode & 0o077 == 0, "keys are in it"
    other = settings.model_copy(update={"home": tmp_path / "other"})
    found = restore(made.path, other)
    assert (found.files, found.size, found.aside) == (made.files, made.size, None)
    assert (other.uploads / "1" / "letter.txt").read_text() == "uploaded"
    assert not (other.home / "indexes").exists(), "they follow from the catalog"
    with Library(other) as again:
        for words in ("a bird that eats fish", "baking", "when to pay for the flat"):
            assert best(again, words) == best(library, words)
        assert again.admin.doctor().healthy


@pytest.mark.full
def test_while_an_ingest_is_writing(library: Library, settings: Settings, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(300):
        (many / f"{number}.txt").write_text(f"Log entry {number}: the pump ran dry. " * 20)
    writer = threading.Thread(target=library.ingest, args=([many],))
    writer.start()
    copies = []
    while writer.is_alive():
        copies.append(backup(settings, tmp_path / f"{len(copies)}.tar"))
    writer.join()
    assert len(copies) >= 2
    for number in (0, len(copies) - 1):
        home = tmp_path / f"from-{number}"
        restore(copies[number].path, settings.model_copy(update={"home": home}))
        with Library(settings.model_copy(update={"home": home})) as again:
            assert best(again, "a bird that eats fish") == "heron.txt"
            [finding] = [
                f for f in again.admin.doctor().findings if f.subject.startswith("collection")
            ]
            assert finding.state == "ok"
            counts = again.documents.statistics()
            assert 3 <= counts.documents <= 303
            assert counts.passages >= counts.documents, "whole documents only"


def test_a_home_in_the_way_is_refused_or_put_aside(
    library: Library, settings: Settings, tmp_path: Path
) -> None:
    made = backup(settings, tmp_path / "kept.tar")
    home = tmp_path / "taken"
    home.mkdir()
    (home / "precious").write_text("mine")
    taken = settings.model_copy(update={"home": home})
    with pytest.raises(UsageError, match="not empty"):
        restore(made.path, taken)
    assert (home / "precious").read_text() == "mine"
    aside = restore(made.path, taken, replace=True).aside
    assert aside is not None
    assert (aside / "precious").read_text() == "mine"
    assert not (home / "precious").exists()


def test_homes_are_exchanged_where_the_system_cannot_do_it_at_once(
    library: Library, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backup(settings, tmp_path / "kept.tar")
    home = tmp_path / "taken"
    home.mkdir()
    (home / "precious").write_text("mine")
    monkeypatch.setattr("ragcore.maintenance.backup._exchange_names", lambda *_: False)
    aside = restore(made.path, settings.model_copy(update={"home": home}), replace=True).aside
    assert aside is not None
    assert (aside / "precious").read_text() == "mine"
    assert (home / "catalogue.db").is_file()
    assert not list(tmp_path.glob(".ragcore-*"))


def repacked(source: Path, target: Path, change: dict[str, bytes | None]) -> Path:
    """The archive with files added, exchanged (bytes) or left out (None)."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            data = old.extractfile(member)
            assert data is not None
            if member.name not in change:
                new.addfile(member, data)
        for name, content in change.items():
            if content is not None:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                new.addfile(info, io.BytesIO(content))
    return target


def test_damaged_and_hostile_archives_change_nothing(
    library: Library, settings: Settings, tmp_path: Path
) -> None:
    made = backup(settings, tmp_path / "kept.tar").path
    cut = tmp_path / "cut.tar"
    cut.write_bytes(made.read_bytes()[: made.stat().st_size // 2])
    junk = tmp_path / "junk.tar"
    junk.write_bytes(b"no archive at all" * 100)
    newer = json.dumps({"format": 99, "ragcore": "9.0", "sha256": {}}).encode()
    link = tmp_path / "link.tar"
    with tarfile.open(link, "w") as archive:
        info = tarfile.TarInfo("catalogue.db")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    wrong = {
        cut: "no whole backup",
        junk: "no whole backup",
        link: "does not belong",
        repacked(made, tmp_path / "bare.tar", {MANIFEST: None}): "no whole backup",
        repacked(made, tmp_path / "changed.tar", {"catalogue.db": b"other"}): "checksum",
        repacked(made, tmp_path / "more.tar", {"extra": b"smuggled in"}): "checksum",
        repacked(made, tmp_path / "up.tar", {"../outside": b"x"}): "does not belong",
        repacked(made, tmp_path / "newer.tar", {MANIFEST: newer}): "newer ragcore",
        tmp_path / "none.tar": "there is no file",
    }
    home = tmp_path / "target"
    for archive, message in wrong.items():
        with pytest.raises(RagcoreError, match=message):
            restore(archive, settings.model_copy(update={"home": home}))
        assert not home.exists()
        assert not (tmp_path / "outside").exists()
    assert not list(tmp_path.glob(".ragcore-*")), "nothing is left lying about"


def test_wrong_targets_are_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no library in"):
        backup(settings, tmp_path / "kept.tar")
    settings.home.mkdir()
    (settings.home / "catalogue.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(RagcoreError, match="catalog"):
        backup(settings, tmp_path / "kept.tar")
    with pytest.raises(UsageError, match=r"a \.tar or a \.tar\.gz"):
        backup(settings, tmp_path / "kept.zip")
    with pytest.raises(UsageError, match="no folder"):
        backup(settings, tmp_path / "nowhere" / "kept.tar")
    served = settings.model_copy(update={"database_url": "postgresql://example/db"})
    with pytest.raises(UsageError, match="pg_dump"):
        backup(served, tmp_path / "kept.tar")
    assert not list(tmp_path.glob("*.tar*"))


def with_catalog(made: Path, target: Path, change: Callable[[Path], None]) -> Path:
    """The archive with its database changed, and a manifest that agrees."""
    database = target.with_suffix(".db")
    with tarfile.open(made) as archive:
        found, about = archive.extractfile("catalogue.db"), archive.extractfile(MANIFEST)
        assert found is not None
        assert about is not None
        database.write_bytes(found.read())
        manifest = json.loads(about.read())
    change(database)
    data = database.read_bytes()
    manifest["sha256"]["catalogue.db"] = hashlib.sha256(data).hexdigest()
    files = {"catalogue.db": data, MANIFEST: json.dumps(manifest).encode()}
    return repacked(made, target, files)


def test_a_damaged_or_newer_database_is_refused_before_anything_is_replaced(
    library: Library, settings: Settings, tmp_path: Path
) -> None:
    made = backup(settings, tmp_path / "kept.tar").path

    def damage(database: Path) -> None:
        with database.open("r+b") as file:
            for page in range(3, 30):
                file.seek(page * 4096)
                file.write(bytes(4096))

    def of_the_future(database: Path) -> None:
        with closing(sqlite3.connect(database)) as opened, opened:
            opened.execute("UPDATE alembic_version SET version_num = '9999_future'")

    home = tmp_path / "target"
    home.mkdir()
    (home / "precious").write_text("mine")
    target = settings.model_copy(update={"home": home})
    for change, message in ((damage, "is damaged"), (of_the_future, "newer ragcore")):
        archive = with_catalog(made, tmp_path / f"{change.__name__}.tar", change)
        with pytest.raises(RagcoreError, match=message):
            restore(archive, target, replace=True)
        assert [path.name for path in home.iterdir()] == ["precious"]
    assert not list(tmp_path.glob("target.before-*"))


def test_settings_that_would_change_are_shown_before(
    library: Library, settings: Settings, tmp_path: Path
) -> None:
    (settings.home / "settings.toml").write_text(
        'ocr = "off"\nvectors = "http://u:pw@host"\nvectors_token = "abc"\nmax_file_mb = 5\n'
    )
    made = backup(settings, tmp_path / "kept.tar").path
    home = tmp_path / "target"
    home.mkdir()
    (home / "settings.toml").write_text('ocr = "auto"\nmax_file_mb = 5\nthreads = 3\n')
    target = settings.model_copy(update={"home": home})
    found = restore(made, target, check=True)
    changes = {one.name: (one.before, one.after) for one in found.settings}
    assert set(changes) == {"ocr", "vectors", "vectors_token", "threads"}
    assert (changes["ocr"], changes["threads"]) == (("auto", "off"), ("3", None))
    assert "pw" not in str(changes)
    assert "abc" not in str(changes)
    assert [path.name for path in home.iterdir()] == ["settings.toml"]
    assert restore(made, target, replace=True).settings == found.settings
