"""What the log says: JSON lines that can be read by a machine, lines for people otherwise."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from threading import Thread

import pytest

from ragcore import logs
from ragcore.library import Library
from ragcore.settings import Settings

log = logging.getLogger("ragcore.test")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    own = logging.getLogger("ragcore")
    kept = (list(own.handlers), own.level)
    yield
    own.handlers, own.level = kept
    logs.start()


def result(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_each_line_is_json_with_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    logs.start(Settings(log_format="json", log_level="info"))
    with logs.about(request_id="r-1"):
        log.info("line\nbreak %s", "é", extra=logs.fields(route="/x", status=200))
        with logs.about(job_id=7):
            thread = Thread(target=copy_context().run, args=(log.warning, "in a thread"))
            thread.start()
            thread.join()
    log.debug("too small")
    try:
        raise ValueError("wrong\nvalue")
    except ValueError:
        log.exception("broken")
    first, second, third = result(capsys)
    assert first["time"].endswith("+00:00")
    expected = {"level": "info", "logger": "ragcore.test", "message": "line break é"}
    assert expected.items() <= first.items()
    assert (first["request_id"], first["route"], first["status"]) == ("r-1", "/x", 200)
    assert (second["request_id"], second["job_id"], second["level"]) == ("r-1", 7, "warning")
    assert "request_id" not in third
    assert "ValueError: wrong" in third["trace"]


def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.start(Settings(log_level="info"))
    log.info("request", extra=logs.fields(route="/x", key_id=None, ms=1.5))
    log.warning("odd", exc_info=ValueError("not shown"))
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["ragcore: request route=/x ms=1.5", "ragcore: odd"]


def test_a_job_is_reported_from_beginning_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Library(Settings(home=tmp_path, log_format="json", log_level="info")) as library:
        logs.start(library.admin.settings)
        good = library.jobs.start("ingest", "c", {}, lambda _progress, _cancel: {})
        library.jobs.wait(good)
        bad = library.jobs.start("ingest", "c", {}, lambda _progress, _cancel: {}["missing"])
        library.jobs.wait(bad)
    lines = [one for one in result(capsys) if one["logger"] == "ragcore.ingest.jobs"]
    assert [(one["job_id"], one["level"]) for one in lines] == [
        (good, "info"), (good, "info"), (bad, "info"), (bad, "error"), (bad, "warning"),
    ]  # fmt: skip
    assert lines[1]["state"] == "done"
    assert "KeyError" in lines[3]["trace"]
