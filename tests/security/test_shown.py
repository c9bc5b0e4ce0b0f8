"""What is shown: no control characters, no bidirectional marks in names, no secrets."""

from __future__ import annotations

import ast
import io
import json
import logging
from pathlib import Path

import pytest

from app.components.text import plain
from ragcore import logs
from ragcore.access.keys import Keys
from ragcore.catalog.engine import make_engine
from ragcore.catalog.labels import check_label
from ragcore.cli.output import echo, print_json
from ragcore.errors import RagcoreError, UsageError
from ragcore.ingest.uploads import safe_name
from ragcore.library import Library
from ragcore.redaction import mask_url, redact
from ragcore.settings import Settings
from ragcore.text import visible_json, visible_name

ROOT = Path(__file__).resolve().parents[2]
EVIL = "a\x1b]0;owned\x07\x9b31m\u202etxt.exe\r\x00"
RAW = set("\x1b\x07\x9b\u202e\r\x00")


def test_names_and_texts_reach_no_terminal_raw(capsys: pytest.CaptureFixture[str]) -> None:
    echo(EVIL)
    echo(EVIL, err=True)
    print_json({EVIL: [EVIL]})
    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        assert not RAW & set(text)
    assert "\\x1b]0;owned" in printed.out
    assert "\\u202etxt.exe" in printed.out
    document = printed.out.split("\n", 1)[1]
    assert json.loads(document) == {EVIL: [EVIL]}, "a program gets it as it is"


def test_every_command_prints_by_the_one_that_escapes() -> None:
    for path in sorted((ROOT / "ragcore" / "cli").glob("*.py")):
        if path.name == "output.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("click.echo", "print"):
                assert ast.unparse(node.args[0]) == "key", f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("form", ["text", "json"])
def test_log_lines_are_one_line_without_control_characters(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    handler = logs.Lines(as_json=form == "json")
    try:
        raise ValueError(EVIL)
    except ValueError as error:
        record = logging.LogRecord(
            "ragcore.x", logging.ERROR, __file__, 1, "file %s", (EVIL,), (ValueError, error, None)
        )
    with logs.about(request_id=EVIL):
        handler.emit(record)
    assert not RAW & set(written.getvalue())
    assert "\\x1b" in written.getvalue() or "\\u001b" in written.getvalue()
    if form == "json":
        assert len(written.getvalue().splitlines()) == 1


def test_escapes() -> None:
    assert visible_name("\u2066x\u2069\u200e\n") == "\\u2066x\\u2069\\u200e\\x0a"
    assert visible_name("Größe 東京 עברית") == "Größe 東京 עברית"
    assert json.loads(visible_json(json.dumps(EVIL, ensure_ascii=False))) == EVIL
    assert "\\\\u202e" in plain("a\u202eb")


def test_new_names_have_none(library: Library) -> None:
    for name in ("a\x1b[2Jb", "txt\u202eexe"):
        with pytest.raises(UsageError):
            library.create_collection(name)
        with pytest.raises(UsageError, match="control characters or bidirectional marks"):
            Keys(library.admin.catalog).create(name, scope="read")
        with pytest.raises(UsageError, match="control characters or bidirectional marks"):
            check_label(name)
        assert not {"\x1b", "\u202e"} & set(safe_name(name))


URLS = {
    "postgresql://ann:s3cret@db.example/library": "postgresql://ann:***@db.example/library",
    "postgresql://ann:s3@cret@db/x": "postgresql://ann:***@db/x",
    "postgresql://db/x?user=ann&password=s3cret&sslmode=on": (
        "postgresql://db/x?user=ann&password=***&sslmode=on"
    ),
    "https://milvus.example/db?token=s3cret#part": "https://milvus.example/db?token=***#part",
    "http://x/?a=1;api_key=s3cret": "http://x/?a=1;api_key=***",
    "http://x/?sslpassword=s3cret&Access-Token=s3cret": (
        "http://x/?sslpassword=***&Access-Token=***"
    ),
    "http://127.0.0.1:8765/a@b?q=pass": "http://127.0.0.1:8765/a@b?q=pass",
}


@pytest.mark.parametrize("url", URLS)
def test_passwords_in_urls_are_masked(url: str) -> None:
    assert mask_url(url) == URLS[url]
    assert redact(f"asked {url} twice") == f"asked {URLS[url]} twice"


def test_secrets_of_the_settings_are_shown_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(
        home=tmp_path,
        database_url="postgresql+psycopg://ann:Xq7-database@127.0.0.1:1/library",
        vectors="http://milvus.example:19530",
        vectors_token="root:Xq7-vectors",
    )
    secrets = ("Xq7-database", "Xq7-vectors")
    key = f"rc_{'k' * 43}"
    with pytest.raises(RagcoreError) as refused:
        make_engine(settings.catalog_url)
    driver = RagcoreError(f"driver: {settings.catalog_url} {settings.vectors_token} {key}")
    echo(f"lost: {settings.database_url} {key}", err=True)
    record = logging.LogRecord(
        "ragcore", logging.ERROR, "", 1, "%s", (settings.vectors_token,), None
    )
    result = [repr(settings), str(settings), str(refused.value), str(driver)]
    result += [capsys.readouterr().err, redact(logs.as_text(record))]
    for text in result:
        assert not any(secret in text for secret in secrets), text
        assert key not in text
    assert "127.0.0.1:1/library" in str(refused.value), "what it is about is still said"


def test_a_wrong_setting_does_not_repeat_what_is_secret(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        make_engine("postgresql//ann:s3cret-of-hers@db")
    assert "s3cret-of-hers" not in str(refused.value)
