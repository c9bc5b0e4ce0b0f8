"""Files in: added, changed, renamed, gone, broken. With the real encoders and real files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from ragcore.catalog import browse
from ragcore.catalog.models import Document
from ragcore.errors import UsageError
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.types import CancelToken, Progress
from ragcore.weights import WeightStore

from .ingest_samples import outcome

TEXTS = {
    "heron.txt": "The grey heron stands motionless in shallow water and waits for fish.\n",
    "bread.md": "# Bread\n\nMix flour, water, salt and yeast. Let the dough rise for two hours.\n",
    "tax/rules.txt": "The tax return must be handed in before the end of July.\n",
}


@pytest.fixture
def library(tmp_path: Path, starter_weights: WeightStore) -> Iterator[Library]:
    settings = Settings(home=tmp_path / "home", workers=2, ocr="off", threads=2)
    with Library(settings) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    where = tmp_path / "files"
    for name, text in TEXTS.items():
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    image = Image.new("RGB", (320, 240), "navy")
    ImageDraw.Draw(image).ellipse((80, 40, 240, 200), fill="gold")
    image.save(where / "sun.png")
    return where


def ids(library: Library) -> dict[str, int]:
    """Document ids by file name."""
    rows, _ = library.documents.list()
    return {row.name: row.id for row in rows}


def state(library: Library, name: str) -> tuple[str, str]:
    row = library.documents.get(ids(library)[name])
    return row.state, row.error


def assert_consistent(library: Library) -> None:
    problems = [f for f in library.admin.doctor().findings if f.state == "problem"]
    assert problems == []


def best(library: Library, words: str) -> str:
    """Name of the file that a passage search puts first."""
    hits = library.search(words, kind="passages", cutoff=0.0).hits
    return Path(hits[0].path).name if hits else ""


def test_new_files_are_added_with_all_that_is_in_them(library: Library, folder: Path) -> None:
    report = library.ingest([folder])
    assert outcome(report) == (4, 0, 0, 0, 0, 0)
    assert (report.passages, report.images) == (3, 1)
    counts = library.documents.statistics()
    assert counts.spaces == {
        library.admin.models.text_encoder().space.name: 3,
        library.admin.models.image_text_encoder().space.name: 1,
    }
    assert best(library, "a bird that catches fish") == "heron.txt"
    assert best(library, "baking") == "bread.md"
    assert_consistent(library)


def test_unchanged_files_are_not_read_again(library: Library, folder: Path) -> None:
    library.ingest([folder])
    before = ids(library)
    steps: list[Progress] = []
    report = library.ingest([folder], progress=steps.append)
    assert outcome(report) == (0, 0, 4, 0, 0, 0)
    assert ids(library) == before
    assert {step.stage for step in steps} == {"discover", "done"}, "nothing went to a reader"


def test_file_with_a_new_time_and_the_same_bytes_is_unchanged(
    library: Library, folder: Path
) -> None:
    library.ingest([folder])
    os.utime(folder / "heron.txt", (1_800_000_000, 1_800_000_000))
    assert outcome(library.ingest([folder])) == (0, 0, 4, 0, 0, 0)
    with library.admin.catalog.read() as session:
        row = session.get_one(Document, ids(library)["heron.txt"])
    assert row.mtime_ns == 1_800_000_000 * 10**9, "next time one stat is enough"


def test_changed_file_replaces_its_passages(library: Library, folder: Path) -> None:
    library.ingest([folder])
    before = ids(library)
    (folder / "heron.txt").write_text("The submarine dives under the polar ice.\n")
    report = library.ingest([folder])
    assert outcome(report) == (0, 1, 3, 0, 0, 0)
    assert ids(library) == before
    assert best(library, "boat under the sea ice") == "heron.txt"
    found = library.search("heron fish shallow water", kind="passages", cutoff=0.0)
    assert all("heron" not in hit.text for hit in (*found.hits, *found.below))
    assert_consistent(library)


def test_renamed_file_keeps_its_document(library: Library, folder: Path) -> None:
    library.ingest([folder])
    before = ids(library)["heron.txt"]
    (folder / "birds").mkdir()
    (folder / "heron.txt").rename(folder / "birds" / "grey-heron.txt")
    assert outcome(library.ingest([folder], sync=True)) == (0, 0, 3, 1, 0, 0)
    assert ids(library)["grey-heron.txt"] == before
    assert best(library, "a bird that catches fish") == "grey-heron.txt"
    assert_consistent(library)


def test_copy_is_a_document_of_its_own(library: Library, folder: Path) -> None:
    library.ingest([folder])
    (folder / "copy.txt").write_bytes((folder / "heron.txt").read_bytes())
    assert outcome(library.ingest([folder])) == (1, 0, 4, 0, 0, 0)


def test_two_copies_of_a_vanished_file_are_one_rename_and_one_new(
    library: Library, folder: Path
) -> None:
    library.ingest([folder])
    data = (folder / "heron.txt").read_bytes()
    (folder / "heron.txt").unlink()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_bytes(data)
    assert outcome(library.ingest([folder], sync=True)) == (1, 0, 3, 1, 0, 0)
    assert_consistent(library)


def test_vanished_files_stay_until_sync(library: Library, folder: Path) -> None:
    library.ingest([folder])
    (folder / "heron.txt").unlink()
    assert outcome(library.ingest([folder])) == (0, 0, 3, 0, 0, 0)
    assert best(library, "a bird that catches fish") == "heron.txt"
    assert outcome(library.ingest([folder], sync=True)) == (0, 0, 3, 0, 1, 0)
    assert best(library, "a bird that catches fish") != "heron.txt"
    assert_consistent(library)


def test_sync_looks_at_the_folders_given_only(library: Library, folder: Path) -> None:
    library.ingest([folder])
    (folder / "heron.txt").unlink()
    assert library.ingest([folder / "tax"], sync=True).removed == 0
    assert "heron.txt" in ids(library)
    (folder / "tax" / "rules.txt").unlink()
    assert library.ingest([folder / "tax"], sync=True).removed == 1


def test_bad_file_is_one_recorded_failure(library: Library, folder: Path) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is the beginning of nothing")
    (folder / "empty.txt").write_bytes(b"")
    report = library.ingest([folder])
    assert report.added == 4
    assert sorted(Path(f.path).name for f in report.failed) == ["broken.pdf", "empty.txt"]
    assert all(f.error and "\n" not in f.error for f in report.failed)
    assert state(library, "broken.pdf")[0] == "failed"
    assert library.documents.statistics().states == {"ready": 4, "failed": 2}
    again = library.ingest([folder])
    assert (again.unchanged, len(again.failed)) == (4, 2), "failures are retried and reported again"
    (folder / "broken.pdf").unlink()
    (folder / "empty.txt").write_text("No longer empty: it speaks of volcanoes now.")
    library.ingest([folder], sync=True)
    assert library.documents.statistics().states == {"ready": 5}
    assert_consistent(library)


def test_file_that_breaks_later_keeps_its_last_version(library: Library, folder: Path) -> None:
    library.ingest([folder])
    good = (folder / "heron.txt").read_bytes()
    (folder / "heron.txt").write_bytes(b"")
    report = library.ingest([folder])
    assert (report.unchanged, len(report.failed)) == (3, 1)
    assert state(library, "heron.txt")[0] == "stale"
    assert best(library, "a bird that catches fish") == "heron.txt"
    (folder / "heron.txt").write_bytes(good)
    assert library.ingest([folder]).failed == []
    assert state(library, "heron.txt") == ("ready", "")
    assert_consistent(library)


def test_locked_pdf_needs_its_password(library: Library, tmp_path: Path) -> None:
    from pypdf import PdfWriter
    from reportlab.pdfgen.canvas import Canvas

    plain, locked = tmp_path / "plain.pdf", tmp_path / "files" / "locked.pdf"
    canvas = Canvas(str(plain))
    canvas.drawString(72, 700, "The treasure is buried under the third oak behind the mill.")
    canvas.save()
    locked.parent.mkdir()
    writer = PdfWriter(clone_from=plain)
    writer.encrypt("sesame")
    writer.write(locked)
    report = library.ingest([locked])
    assert "--password" in report.failed[0].error
    assert library.ingest([locked], passwords=["wrong", "sesame"]).failed == []
    assert state(library, "locked.pdf") == ("ready", "")
    assert best(library, "where is the treasure") == "locked.pdf"


def test_cancelled_run_keeps_what_it_stored_and_is_resumed(
    library: Library, tmp_path: Path
) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(1200):
        (many / f"{number:04}.txt").write_text(
            f"Note {number} on the topic {number * 7919 % 1000}."
        )
    token = CancelToken()

    def cancel_early(step: Progress) -> None:
        if step.done > 600:
            token.cancel()

    report = library.ingest([many], progress=cancel_early, cancel=token)
    assert report.cancelled
    assert 0 < report.added < 1200
    assert_consistent(library)
    rest = library.ingest([many])
    assert (rest.added, rest.unchanged) == (1200 - report.added, report.added)
    assert library.documents.statistics().passages == 1200
    assert_consistent(library)


def test_progress_ends_complete(library: Library, folder: Path) -> None:
    (folder / "empty.txt").write_bytes(b"")
    steps: list[Progress] = []
    library.ingest([folder], progress=steps.append)
    last = steps[-1]
    assert (last.stage, last.done, last.total, last.failed) == ("done", 5, 5, 1)
    assert [step.done for step in steps] == sorted(step.done for step in steps)


def test_same_file_in_two_collections(library: Library, folder: Path) -> None:
    library.ingest([folder], collection="one")
    library.ingest([folder], collection="two")
    library.admin.delete_collection("one")
    assert library.documents.statistics("two").documents == 4
    assert library.search("bird", collection="two", cutoff=0.0).hits
    assert_consistent(library)


def test_strange_names_are_ingested(library: Library, tmp_path: Path) -> None:
    names = ["naïve 日本語 🐟.txt", "new\nline.txt", "quo'te\".txt", "-rf.txt", "a" * 200 + ".txt"]
    where = tmp_path / "strange"
    where.mkdir()
    for name in names:
        (where / name).write_text(
            "A text about nothing in particular, in a file of a strange name."
        )
    with open(os.fsencode(where) + b"/not-utf8-\xff.txt", "w") as stream:
        stream.write("unreachable")
    report = library.ingest([where])
    assert report.added == len(names)
    assert ["not valid UTF-8" in failure.error for failure in report.failed] == [True]
    assert set(ids(library)) == set(names)


def test_hidden_files_links_and_devices_are_passed_over(library: Library, folder: Path) -> None:
    (folder / ".secret.txt").write_text("hidden")
    (folder / ".git").mkdir()
    (folder / ".git" / "config.txt").write_text("hidden")
    (folder / "Thumbs.db").write_bytes(b"junk")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    os.mkfifo(folder / "pipe.txt")
    assert outcome(library.ingest([folder])) == (4, 0, 0, 0, 0, 0)
    assert library.ingest([folder / ".secret.txt"]).added == 1, "named itself, it is taken"


def test_only_allowed_folders_are_read(tmp_path: Path, folder: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key.txt").write_text("the key")
    (folder / "link.txt").symlink_to(secret / "key.txt")
    settings = Settings(home=tmp_path / "home", allowed_roots=[folder], ocr="off", threads=2)
    with Library(settings) as library:
        with pytest.raises(UsageError, match="outside the allowed folders"):
            library.ingest([folder, secret])
        with pytest.raises(UsageError, match="outside the allowed folders"):
            library.ingest([folder / ".." / "secret"])
        library.ingest([folder])
        assert "link.txt" not in ids(library), "a link leads out of the allowed folder"


@pytest.mark.parametrize("paths", [[], ["/no/such/folder"]])
def test_nothing_to_ingest_is_a_usage_error(library: Library, paths: list[str]) -> None:
    with pytest.raises(UsageError):
        library.ingest(paths)
    assert library.collections() == [], "a mistake makes no collection"


def test_empty_folder_is_no_error(library: Library, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    assert outcome(library.ingest([tmp_path / "nothing"])) == (0, 0, 0, 0, 0, 0)


def test_images_inside_documents_are_kept_once(library: Library, tmp_path: Path) -> None:
    from docx import Document

    path = tmp_path / "sun.png"
    image = Image.effect_noise((400, 300), 60).convert("RGB")
    image.save(path)
    where = tmp_path / "letters"
    where.mkdir()
    for name in ("first.docx", "second.docx"):
        letter = Document()
        letter.add_paragraph(f"This is the {name} letter, with an image in it.")
        letter.add_picture(str(path))
        letter.save(str(where / name))
    report = library.ingest([where])
    assert report.images == 2
    media = [file for file in library.admin.settings.media.rglob("*") if file.is_file()]
    assert len(media) == 1
    with library.admin.catalog.read() as session:
        rows = browse.list_images(session, library.admin.catalog.collection("default").id)
    assert library.images.read(rows[0].id)
    assert_consistent(library)
