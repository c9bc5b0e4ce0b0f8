"""What the commands do and print."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from email.message import EmailMessage
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from sqlalchemy import delete, text

from ragcore.catalog.models import Embedding
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.weights import WeightStore
from tests.waiting import wait_until

from .conftest import Run

pytestmark = pytest.mark.usefixtures("starter_weights")


def test_ingest_prints_its_report(run: Run, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGCORE_OCR", "off")
    report = run("ingest", str(notes), "--json").json
    assert set(report) == {
        *("added", "updated", "unchanged", "renamed", "removed", "failed", "passages", "images"),
        *("seconds", "cancelled", "coverage", "incomplete", "skipped_links", "skipped"),
    }
    assert report["coverage"]["pages"]["read"] == 3
    assert report["incomplete"] == []
    assert (report["added"], report["passages"], report["images"]) == (4, 3, 1)
    again = run("ingest", str(notes))
    assert again.code == 0
    assert "4 unchanged" in again.out
    assert again.err == "", "nobody watches: no progress line"


def test_what_was_not_read_is_reported_everywhere(run: Run, notes: Path, tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"] = "The heron", "ada@example.org"
    mail.set_content("See what is attached.")
    mail.add_attachment(b"PK\3\4" + bytes(99), "application", "zip", filename="birds.zip")
    path = tmp_path / "heron.eml"
    path.write_bytes(mail.as_bytes())
    report = run("ingest", str(path), str(notes / "rent.txt"), "--json").json
    [incomplete] = report["incomplete"]
    assert incomplete["path"] == str(path)
    assert [(one["part"], one["where"]) for one in incomplete["skipped"]] == [
        ("attachment", "birds.zip")
    ]
    listed = run("documents", "list", "--incomplete", "--json").json
    assert [document["path"] for document in listed["documents"]] == [str(path)]
    assert run("documents", "list", "--complete", "--json").json["total"] == 1
    shown = run("documents", "show", str(path))
    assert "attachments  0 of 1 read, 1 not read" in shown.out
    assert "missing      1 attachment not read (birds.zip)" in shown.out
    whole = run("documents", "show", str(notes / "rent.txt"))
    assert "missing      nothing" in whole.out
    coverage = run("documents", "show", str(path), "--json").json["coverage"]
    assert coverage["attachments"]["skipped"] == 1
    found = run("search", "heron", "--where", "incomplete=yes", "--json").json["hits"]
    assert {hit["path"] for hit in found} == {str(path)}
    counts = run("collections", "list", "--json").json["collections"]
    assert [row["incomplete"] for row in counts] == [1]
    path.write_bytes(mail.as_bytes() + b"\n")
    result = run("ingest", str(path))
    assert f"{path}: 1 attachment not read (birds.zip)" in result.err
    assert "1 document is incomplete" in result.out


def test_bad_files_are_reported_and_cost_the_exit_code_only_when_alone(
    run: Run, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGCORE_OCR", "off")
    bad = tmp_path / "bad.pdf"
    bad.write_bytes(b"%PDF-1.4 and no more")
    alone = run("ingest", str(bad), "--json")
    assert alone.code == 1
    assert [failure["path"] for failure in alone.json["failed"]] == [str(bad)]
    mixed = run("ingest", str(bad), str(notes / "rent.txt"))
    assert mixed.code == 0
    assert str(bad) in mixed.err
    listed = run("documents", "list", "--state", "failed", "--json").json
    assert listed["total"] == 1
    assert listed["documents"][0]["error"]


def test_search_in_json(run: Run, stocked: Path, notes: Path) -> None:
    found = run("search", "which heron waits for fish", "-c", "notes", "--json").json
    assert set(found) == {"hits", "below", "cutoff", "seconds"}
    best = found["hits"][0]
    assert best["path"] == str(notes / "heron.txt")
    assert set(best) >= {
        *("id", "kind", "score", "document", "page", "text", "caption_by", "path", "why")
    }
    assert 0 <= best["score"] <= 1
    assert found["seconds"]["total"] > 0


def test_search_for_people(run: Run, stocked: Path) -> None:
    assert "heron.txt" in run("search", "grey heron", "-c", "notes").out
    lost = run("search", "quantum chromodynamics lattice", "-c", "notes", "--kind", "passages")
    assert lost.code == 0
    assert "nothing fits" in lost.out
    shown = run("search", "quantum chromodynamics", "-c", "notes", "--cutoff", "0")
    assert "nothing fits" not in shown.out


def test_search_by_an_altered_image(run: Run, stocked: Path, notes: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jpg"
    with Image.open(notes / "sun.png") as image:
        ImageOps.mirror(image).resize((200, 150)).save(copy, quality=60)
    arguments = ("search", "--image", str(copy), "--kind", "images", "-c", "notes", "--json")
    assert run(*arguments, "--cutoff", "0").json["hits"][0]["path"] == str(notes / "sun.png")


def test_labels(run: Run, stocked: Path, notes: Path, tmp_path: Path) -> None:
    result = run("label", "a sun", "a bicycle", "-c", "notes", "--json").json
    assert [Path(one["path"]).name for one in result["images"]] == ["sun.png"]
    fits = result["images"][0]["labels"]
    assert {fit["label"] for fit in fits} == {"a sun", "a bicycle"}
    assert sum(fit["probability"] for fit in fits) == pytest.approx(1, abs=1e-3)
    none = run("label", "a sun", "a bicycle", "--none", "-c", "notes", "--json").json
    assert "none of these" in {fit["label"] for fit in none["images"][0]["labels"]}
    names = tmp_path / "names.txt"
    names.write_text("a sun\n\na bicycle\n")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    files = ("--image", str(bad), "--image", str(notes / "sun.png"))
    mixed = run("label", "--labels-file", str(names), *files, "--top", "1", "--json")
    assert mixed.code == 1
    assert [one["path"] for one in mixed.json["images"]] == [str(notes / "sun.png")]
    assert [one["path"] for one in mixed.json["failed"]] == [str(bad)]
    assert run("label", "a sun", "a bicycle", "-c", "notes", "--least", "1").out == (
        "no image to label\n"
    )


def test_profiles_on_questions_of_ones_own(run: Run, stocked: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions.txt"
    questions.write_text("Where does the heron wait?\n\n")
    profile = Settings().profile
    arguments = ("eval", "profiles", str(questions), "-c", "notes", "-p", profile)
    found = run(*arguments, "--documents", "5", "--json").json
    assert found["questions"] == ["Where does the heron wait?"]
    [one] = found["profiles"]
    assert (one["profile"], one["error"]) == (profile, "")
    assert set(one["answers"][0]) == {"answer", "abstained", "citations"}
    assert one["passages_per_second"] > 0
    shown = run(*arguments, "-p", "no such profile")
    assert shown.code == 2
    assert "no such profile" in shown.err


def test_filters(run: Run, stocked: Path) -> None:
    arguments = ("search", "water", "-c", "notes", "--cutoff", "0", "--kind", "passages", "--json")
    every = {Path(hit["path"]).name for hit in run(*arguments).json["hits"]}
    assert every >= {"heron.txt", "bread.md"}
    some = run(*arguments, "--where", "name=bread.md").json["hits"]
    assert {Path(hit["path"]).name for hit in some} == {"bread.md"}


def test_ask_cites_or_abstains(run: Run, stocked: Path, tmp_path: Path) -> None:
    lost = run("ask", "Who won the chess championship of Mars?", "-c", "notes", "--json").json
    assert {"answer", "abstained", "citations", "seconds"} < set(lost)
    assert len(lost["nearest"]) == 3
    assert all({"document", "page", "score", "text"} <= set(one) for one in lost["nearest"])
    assert lost["abstained"]
    assert lost["citations"] == []
    result = run("ask", "What is the monthly rent of the flat?", "-c", "notes", "--json").json
    for citation in result["citations"]:
        assert set(citation) >= {"n", "document", "page", "quote"}
    assert result["abstained"] == (not result["citations"])


def test_ask_within_a_scope(run: Run, stocked: Path) -> None:
    counted = run("ask", "How many documents are there?", "-c", "notes", "--document", "bread")
    assert counted.out.startswith("1 document:")
    assert run("ask", "How many documents are there?", "-c", "*", "--json").json["composed"]
    unknown = run("ask", "What is bread?", "-c", "notes", "--document", "cake.md")
    assert unknown.complaint.startswith("there is no document 'cake.md' here")


def test_an_abstention_in_words_shows_what_comes_nearest(run: Run, stocked: Path) -> None:
    lines = run("ask", "How do I win at chess on Mars?", "-c", "notes").out.splitlines()
    assert lines[1] == "These passages come nearest to “How do I win at chess on Mars?”:"
    assert len(lines) == 5


def test_collections_from_making_to_deleting(run: Run) -> None:
    assert "no collections yet" in run("collections").out
    assert run("collections", "create", "letters").code == 0
    assert run("collections", "rename", "letters", "mail", "--json").json == {
        "renamed": "letters",
        "to": "mail",
    }
    listed = run("collections", "--json").json["collections"]
    assert [row["name"] for row in listed] == ["mail"]
    assert run("collections", "list").out.startswith("mail: 0 documents")
    assert run("collections", "delete", "mail", "--yes").code == 0
    assert run("collections", "--json").json == {"collections": []}


def test_deleting_asks_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("collections", "create", "letters")
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115 - closed with the test
    refused = run("collections", "delete", "letters")
    assert refused.code == 2
    assert "not deleted" in refused.err
    assert run("collections", "--json").json["collections"][0]["name"] == "letters"


def test_documents_are_listed_and_removed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGCORE_OCR", "off")
    paths = [tmp_path / f"{name}.txt" for name in ("one", "two", "three")]
    for path in paths:
        path.write_text(f"This is the note called {path.stem}.")
    run("ingest", *map(str, paths))
    listed = run("documents", "list", "--json").json
    assert listed["total"] == 3
    assert {row["state"] for row in listed["documents"]} == {"ready"}
    number = next(row["id"] for row in listed["documents"] if row["path"] == str(paths[0]))
    assert run("documents", "remove", str(number), str(paths[1]), "--json").json == {"removed": 2}
    left = run("documents", "list")
    assert str(paths[2]) in left.out
    assert str(paths[0]) not in left.out
    assert all(path.exists() for path in paths), "files stay"
    assert run("doctor").code == 0


@pytest.mark.starter_models
def test_models_are_listed(run: Run) -> None:
    listed = run("models", "list", "--json").json
    assert listed["profile"] == "starter"
    assert {"starter", "standard", "large"} <= set(listed["profiles"])
    by_name = {row["name"]: row for row in listed["weights"]}
    assert by_name["minilm-l6-v2"]["state"] == "ready"
    assert all(row["license"] for row in listed["weights"])
    assert "minilm-l6-v2" in run("models", "list").out


@pytest.mark.starter_models
def test_pulling_what_is_there_is_quick(run: Run) -> None:
    pulled = run("models", "pull", "minilm-l6-v2", "--json").json["weights"]
    assert Path(pulled["minilm-l6-v2"], "model.safetensors").is_file()


@pytest.mark.starter_models
def test_profile_is_chosen_for_good(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "settings.toml").write_text('# my notes\nocr = "off"\n')
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'name = "mine"\n[text_encoder]\nweights = "minilm-l6-v2"\nkind = "sentence-transformers"\n'
    )
    assert run("models", "use", str(mine)).code == 0
    written = (home / "settings.toml").read_text()
    assert "# my notes" in written
    assert tomllib.loads(written) == {"profile": str(mine), "ocr": "off"}
    assert run("models", "list", "--json").json["profile"] == "mine"
    assert run("models", "use", "starter").code == 0
    monkeypatch.setenv("RAGCORE_PROFILE", "starter")
    assert "RAGCORE_PROFILE" in run("models", "use", "large").complaint


def test_doctor_says_that_all_is_well(run: Run, stocked: Path) -> None:
    result = run("doctor", "--json")
    assert result.code == 0
    assert result.json["healthy"]
    assert result.json["device"]["device"] in ("cpu", "cuda")
    assert result.json["versions"]["torch"][0].isdigit()
    assert "all is well" in run("doctor").out


def test_doctor_finds_and_repairs(
    run: Run, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGCORE_OCR", "off")
    run("ingest", str(notes))
    home = tmp_path / "home"
    with Library(Settings(home=home)) as library, library.admin.catalog.write() as session:
        session.execute(text("INSERT INTO passages_fts(passages_fts) VALUES('delete-all')"))
        first = session.query(Embedding).first()
        assert first is not None
        here = (Embedding.space_id == first.space_id, Embedding.item_id == first.item_id)
        session.execute(delete(Embedding).where(*here))
        session.add(
            Embedding(
                space_id=first.space_id,
                item_id=777,
                collection_id=first.collection_id,
                vector=np.zeros(384, np.float16).tobytes(),
            )
        )
        session.execute(text("UPDATE documents SET passage_count = 9"))
    stray = home / "media" / "ab" / "abcdef"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"nobody needs me")
    stray.chmod(0o644)
    os.utime(stray, (time.time() - 9000,) * 2)
    sick = run("doctor", "--json")
    assert sick.code == 1
    subjects = {f["subject"] for f in sick.json["findings"] if f["state"] == "problem"}
    assert subjects == {
        "lexical index",
        "counts and orphans",
        "rights of files",
        "media",
        "collection default, passages",
    }
    repaired = run("doctor", "--repair", "--json")
    assert repaired.code == 0, repaired.out
    assert {f["state"] for f in repaired.json["findings"]} >= {"repaired", "ok"}
    assert run("doctor", "--json").json["healthy"]
    assert not stray.exists()
    assert "heron.txt" in run("search", "grey heron").out


def test_evaluation_of_a_tiny_collection(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    texts = {"d1": "The heron waits for fish.", "d2": "Bread rises.", "d3": "Rent is due monthly."}
    (folder / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": i, "title": "", "text": t}) + "\n" for i, t in texts.items())
    )
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "heron fish"}) + "\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    result = run("eval", "retrieval", str(folder), "--json").json
    assert result["ndcg@10"] == pytest.approx(1.0)
    assert {"recall@100", "mrr", "seconds", "methods"} <= set(result)
    assert "ndcg@10" in run("eval", "retrieval", str(folder)).out


@pytest.mark.full
def test_ctrl_c_stops_after_the_batch_and_the_next_run_goes_on(
    tmp_path: Path, starter_weights: WeightStore
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(1400):
        (folder / f"{number:04}.txt").write_text(f"Note {number}: all about {number * 31 % 997}.")
    environment = {**os.environ, "RAGCORE_HOME": str(tmp_path / "home"), "RAGCORE_OCR": "off"}
    command = [sys.executable, "-m", "ragcore.cli.main", "ingest", str(folder), "--json"]
    process = subprocess.Popen(command, env=environment, stdout=-1, stderr=-1)
    with Library(Settings(home=tmp_path / "home")) as library:
        library.create_collection("default", exist_ok=True)
        wait_until(
            lambda: library.documents.statistics().documents or process.poll() is not None,
            "a document",
        )
    process.send_signal(signal.SIGINT)
    printed, complaint = process.communicate(timeout=300)
    assert process.returncode == 1
    assert b"Traceback" not in complaint
    first = json.loads(printed)
    assert first["cancelled"]
    assert 0 < first["added"] < 1400
    done = subprocess.run(command, env=environment, capture_output=True, timeout=900, check=True)
    assert json.loads(done.stdout)["added"] == 1400 - first["added"]


def test_metadata_is_read_again_without_embedding(
    run: Run, stocked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(stocked, tmp_path / "home")
    monkeypatch.setenv("RAGCORE_HOME", str(tmp_path / "home"))
    photo = tmp_path / "IMG_20240501_123000.jpg"
    Image.linear_gradient("L").convert("RGB").save(photo)
    assert run("ingest", str(photo), "-c", "photos").code == 0
    seek = ("search", "--image", str(photo), "-c", "photos", "--cutoff", "0", "--json", "--where")
    (hit,) = run(*seek, "taken=2024-05-01").json["hits"]
    assert run(*seek, "rating>=4").json["hits"] == []
    sidecar = tmp_path / f"{photo.name}.xmp"
    sidecar.write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"/></rdf:RDF></x:xmpmeta>'
    )
    assert run("ingest", str(photo), "-c", "photos", "--json").json["unchanged"] == 1
    report = run("refresh-metadata", "-c", "photos", "--json").json
    assert (report["images"], report["changed"], report["failed"]) == (1, 1, [])
    assert [one["id"] for one in run(*seek, "rating>=4").json["hits"]] == [hit["id"]]
    assert "1 image read, 0 changed" in run("refresh-metadata", "-c", "photos").out
    photo.unlink()
    lost = run("refresh-metadata", "-c", "photos")
    assert lost.out == "0 images read, 0 changed, 1 not read\n"
    assert lost.err.startswith(str(photo))
    assert "no collection" in run("refresh-metadata", "-c", "nothing").complaint
