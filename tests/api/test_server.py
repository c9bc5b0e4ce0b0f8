"""`ragcore serve` as a process: the journey of the docs by curl, keys, and an orderly end."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ragcore.cli.keys import parse_time
from ragcore.errors import UsageError
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.weights import WeightStore

ROOT = Path(__file__).resolve().parents[2]
NOTES = 300


@contextmanager
def serving(home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`ragcore serve` at work, and where."""
    environment = {**os.environ, "RAGCORE_HOME": str(home), "RAGCORE_WORKERS": "1"}
    environment |= {"RAGCORE_OCR": "off", "RAGCORE_LOG_FORMAT": "json", "RAGCORE_LOG_LEVEL": "info"}
    command = [sys.executable, "-m", "ragcore.cli.main", "serve", "--port", "0", *arguments]
    log = log_of(home)
    with log.open("w") as out:
        process = subprocess.Popen(command, env=environment, stderr=out)
    try:
        end = time.monotonic() + 900
        while not (found := re.search(r"serving on (http://\S+?:\d+) ", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, "not listening"
            time.sleep(0.1)
        while True:  # the models are being loaded
            assert process.poll() is None
            try:
                if httpx.get(f"{found[1]}/readyz", timeout=10).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert time.monotonic() < end, "not ready"
            time.sleep(0.5)
        yield process, found[1]
    finally:
        process.kill()
        process.wait()


def log_of(home: Path) -> Path:
    return home.parent / f"{home.name}.log"


def curl_lines() -> list[str]:
    text = (ROOT / "docs" / "api.md").read_text("utf-8")
    block = re.search(r"```sh\n(.*?)```", text, re.S)
    assert block
    return [line for line in block[1].splitlines() if line.startswith("curl ")]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_journey_of_the_docs_and_the_end(tmp_path: Path, starter_weights: WeightStore) -> None:
    with serving(tmp_path / "home") as (process, url):
        said = []
        for line in curl_lines():
            words = shlex.split(line.replace("localhost:8765", url))
            words = [str(tmp_path / "page.png") if word == "page.png" else word for word in words]
            done = subprocess.run(
                [*words, "--fail-with-body"], cwd=ROOT, capture_output=True, text=True, timeout=600
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}"
            said.append(done.stdout)
        assert json.loads(said[0])["name"] == "trip"
        assert json.loads(said[1])["job"] == 1
        assert "event: end" in said[2]
        assert "table games" in json.loads(said[3])["hits"][0]["text"]
        assert json.loads(said[4])["citations"]
        assert "event: answer" in said[5]
        assert json.loads(said[6])["number"] == 1
        assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
        assert json.loads(said[9])["ragcore"]["citations"]
        assert base64.b64decode(json.loads(said[10])["data"][0]["b64_json"]).startswith(b"\x89PNG")
        assert json.loads(said[11]) == {"deleted": "trip", "documents": 2}
        by_the_clients_code(url)
        end_in_the_middle(process, url)
    everything_arrives(tmp_path / "home")
    the_log_tells(log_of(tmp_path / "home").read_text())


def by_the_clients_code(url: str) -> None:
    """The journey of the docs by OpenAI's client."""
    text = (ROOT / "docs" / "api.md").read_text("utf-8")
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "OpenAI" in block
    )
    code = code.replace("http://localhost:8765", url).replace("data/sample", f"{ROOT}/data/sample")
    told: dict[str, Any] = {}
    exec(compile(code, "docs/api.md", "exec"), told)
    assert "table games" in told["found"]["hits"][0]["text"]
    assert told["done"].model_extra["ragcore"]["citations"]
    assert told["picture"].startswith(b"\x89PNG")


def end_in_the_middle(process: subprocess.Popen[bytes], url: str) -> None:
    """SIGTERM during an ingest and an answer: neither breaks off, the stream of events ends."""
    collection = f"{url}/api/v1/collections/last"
    httpx.post(f"{url}/api/v1/collections", json={"name": "last"})
    files = [
        ("files", (f"note-{n:03}.txt", f"Note {n}: the tide gauge reads {n} cm.\n".encode() * 40))
        for n in range(NOTES)
    ]
    job = httpx.post(f"{collection}/uploads", files=files, timeout=60).json()
    question = {"question": "Are we allowed to play foosball during working hours?"}
    handbooks = f"{url}/api/v1/collections/handbooks/ask"
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(httpx.post, handbooks, json=question, timeout=120)
        with httpx.stream("GET", url + job["location"] + "/events", timeout=120) as stream:
            lines = stream.iter_lines()
            while '"stage": "wait"' in (line := next(lines)) or '"done": 0' in line or not line:
                continue
            process.send_signal(signal.SIGTERM)
            for _ in lines:
                pass
        assert process.wait(90) in (0, -signal.SIGTERM)
        answer = asked.result()
    assert answer.status_code in (200, 503)
    assert answer.json()["answer" if answer.status_code == 200 else "detail"]


def everything_arrives(home: Path) -> None:
    """What the server left is handed to the next: nothing is lost, nothing is there twice."""
    with Library(Settings(home=home, workers=1, ocr="off")) as library:
        first = library.jobs.recent(1, collection="last")[0]
        if first.state != "done":  # a quick machine had finished
            assert first.state == "interrupted"
            (again,) = library.resume_interrupted()
            assert library.jobs.wait(again).state == "done"
        rows, total = library.documents("last", limit=2 * NOTES)
        assert total == NOTES
        assert sorted(row.name for row in rows) == [f"note-{n:03}.txt" for n in range(NOTES)]


def the_log_tells(log: str) -> None:
    """Every line is JSON; requests and jobs are in it, what was asked is not."""
    lines = [json.loads(line) for line in log.splitlines()]
    requests = [line for line in lines if line["message"] == "request"]
    ask = next(line for line in requests if line["route"].endswith("/ask"))
    assert {"time", "level", "request_id", "key_id", "method", "status", "ms"} <= set(ask)
    started = next(line for line in requests if line["route"].endswith("/uploads"))
    job = [line for line in lines if line.get("job_id") == 1]
    assert [line["message"].split()[0] for line in job] == ["job", "ingested", "job"]
    assert {line["request_id"] for line in job} == {started["request_id"]}
    assert "foosball" not in log
    assert "table games" not in log
    assert not [line for line in lines if line["level"] == "error"]


def test_a_server_for_others_does_not_start_without_a_key(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ragcore.cli.main", "serve", "--host", "0.0.0.0"]
    environment = {**os.environ, "RAGCORE_HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "ragcore keys create" in done.stderr


def test_a_taken_port_is_one_clear_line(settings: Settings) -> None:
    from ragcore.api import serve

    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        Library(settings) as library,
        pytest.raises(UsageError, match=r"cannot listen on 127\.0\.0\.1"),
    ):
        serve(library, host="127.0.0.1", port=taken.getsockname()[1])


@pytest.mark.parametrize("text", ["", "90", "d", "0d", "-1d", "90y", "1.5h"])
def test_times_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no time"):
        parse_time(text)
