"""Wrong usage is one clear line and exit code 2; help is instant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ragcore.cli.main import COMMANDS

from .conftest import Run

HEAVY = ["torch", "transformers", "sentence_transformers", "open_clip", "faiss", "cv2", "peft"]
HEAVY += ["diffusers", "streamlit", "pypdfium2", "sklearn", "scipy", "openvino"]

LONG = "x" * 10_000_000

WRONG = [
    (["search", ""], "query"),
    (["search"], "query"),
    (["search", "   "], "query"),
    (["search", "x", "-k", "0"], "k"),
    (["search", "x", "-k", "-3"], "k"),
    (["search", "x", "-k", "many"], "many"),
    (["search", "x", "-c", "nope"], "no collection named 'nope' (known: notes)"),
    (["search", LONG, "-c", "notes"], "long"),
    (["search", "--image", "/no/such.png", "-c", "notes"], "/no/such.png"),
    (["search", "x", "--where", "nonsense", "-c", "notes"], "FIELD=VALUE"),
    (["search", "x", "--where", "colour=red", "-c", "notes"], "colour"),
    (["search", "x", "--kind", "films"], "films"),
    (["search", "x", "--wings"], "--wings"),
    (["label", "-c", "notes"], "at least two labels"),
    (["label", "dog", "-c", "notes"], "at least two labels"),
    (["label", "dog", "dog", "-c", "notes"], "given twice"),
    (["label", "dog", "", "-c", "notes"], "label 2 is empty"),
    (["label", "dog", "cat", "-c", "nope"], "no collection named 'nope'"),
    (["label", "dog", "cat", "--top", "0", "-c", "notes"], "at least one label"),
    (["label", "dog", "cat", "--least", "7", "-c", "notes"], "from 0 to 1"),
    (["label", "--labels-file", "/no/such.txt", "-c", "notes"], "/no/such.txt"),
    (["ask", "", "-c", "notes"], "question"),
    (["ask", "x", "-c", "nope"], "no collection named 'nope'"),
    (["ask", LONG, "-c", "notes"], "long"),
    (["ask", "x", "-k", "0", "-c", "notes"], "k"),
    (["ask", "x", "--schema", "/no/such.json"], "/no/such.json"),
    (["ingest"], "PATHS"),
    (["ingest", "/no/such/folder"], "no such file or folder: /no/such/folder"),
    (["documents", "list", "-c", "nope"], "no collection named 'nope'"),
    (["documents", "list", "-c", "notes", "--order", "colour"], "ordered by name"),
    (["documents", "remove", "99999", "-c", "notes"], "no document 99999"),
    (["documents", "remove", "/no/such.txt", "-c", "notes"], "no document /no/such.txt"),
    (["collections", "create", "a/b"], "cannot name a collection"),
    (["collections", "create", "notes"], "already a collection"),
    (["collections", "rename", "nope", "x"], "no collection named 'nope'"),
    (["collections", "delete", "nope", "--yes"], "no collection named 'nope'"),
    (["models", "use", "nope"], "nope"),
    (["models", "use", "/no/such.toml"], "/no/such.toml"),
    (["models", "use"], "profile"),
    (["models", "pull", "nope"], "nope"),
    (["eval", "retrieval", "/no/such"], "no such folder"),
    (["eval", "images", "/no/such"], "no such folder"),
    (["eval", "structured", "/no/such"], "no such folder"),
    (["eval", "answers", "/no/such"], "no such folder"),
    (["eval", "qa", "/no/such.jsonl"], "no such file"),
    (["tune", "clip", "/no/such.toml"], "no such recipe"),
    (["tune", "lora", "/no/such.toml"], "no such recipe"),
    (["fly"], "fly"),
    (["models", "fly"], "fly"),
]


@pytest.mark.parametrize(
    ("arguments", "said"), WRONG, ids=[" ".join(a[:40] for a in args) for args, _ in WRONG]
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    run: Run, stocked: Path, arguments: list[str], said: str
) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2, outcome.err
    assert said in outcome.complaint
    assert len(outcome.err) < 800, "a complaint is short, whatever was given"
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [("DEVICE", "toaster"), ("WORKERS", "-1"), ("OCR", "maybe"), ("PROFILE", "nope")],
)
def test_wrong_settings_are_one_line(
    run: Run, stocked: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"RAGCORE_{name}", value)
    outcome = run("models", "list")
    assert outcome.code == 2
    assert name.lower() in outcome.complaint


def test_unknown_setting_in_the_file_is_one_line(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "settings.toml").write_text('color = "red"\n')
    assert "no setting 'color'" in run("collections").complaint
    (home / "settings.toml").write_text("ocr = = off\n")
    assert run("collections").code == 2


def test_path_outside_the_allowed_folders(
    run: Run, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGCORE_ALLOWED_ROOTS", str(tmp_path))
    outcome = run("ingest", str(notes))
    assert outcome.code == 2
    assert "outside the allowed folders" in outcome.complaint


def test_damaged_catalog_is_one_line(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "catalogue.db").write_bytes(b"not a database at all" * 1000)
    outcome = run("collections")
    assert outcome.code == 1
    assert "cannot be opened" in outcome.complaint


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)], ids=str)
def test_every_command_has_help(run: Run, arguments: list[str]) -> None:
    outcome = run(*arguments, "--help")
    assert outcome.code == 0
    assert "Usage: ragcore" in outcome.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["search", "--help"],
        ["ingest", "--help"],
        ["collections"],
        ["documents", "list", "-c", "notes"],
        ["models", "list"],
        ["search", "x", "-c", "nope"],
    ],
    ids=" ".join,
)
def test_heavy_packages_wait(stocked: Path, arguments: list[str]) -> None:
    program = f"""
import sys
from ragcore.cli.main import main
try:
    main({arguments!r})
except SystemExit:
    pass
loaded = [name for name in {HEAVY!r} if name in sys.modules]
print(loaded, file=sys.stderr)
sys.exit(bool(loaded))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_takes_less_than_a_second() -> None:
    command = [sys.executable, "-m", "ragcore.cli.main", "--help"]
    subprocess.run(command, capture_output=True, check=True)  # the file system's cache
    before = os.times()
    subprocess.run(command, capture_output=True, check=True)
    after = os.times()
    seconds = after.children_user + after.children_system
    seconds -= before.children_user + before.children_system
    assert seconds < 1.0, "processor time: the machine may be busy with other things"


def test_exit_codes_reach_the_shell(stocked: Path) -> None:
    for arguments, code in ((["collections"], 0), (["search", "x", "-c", "nope"], 2)):
        command = [sys.executable, "-m", "ragcore.cli.main", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == code
        assert "Traceback" not in done.stderr


def test_reader_that_goes_away_is_no_traceback(stocked: Path) -> None:
    command = f"{sys.executable} -m ragcore.cli.main models list --json | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
