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
from collections.abc import Iterator
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
from tests.waiting import TIMEOUT, wait_until

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving(home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`ragcore serve` at work, and where."""
    environment = {**os.environ, "RAGCORE_HOME": str(home), "RAGCORE_WORKERS": "1"}
    environment["RAGCORE_OCR"] = "off"
    command = [sys.executable, "-m", "ragcore.cli.main", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"serving on (http://\S+?:\d+) ", line)
        assert found, line

        def ready() -> bool:  # the models are being loaded
            assert process.poll() is None
            try:
                return httpx.get(f"{found[1]}/readyz", timeout=10).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(ready, "the loading of the models", seconds=3 * TIMEOUT, every=0.2)
        yield process, found[1]
    finally:
        process.kill()
        process.wait()


def curl_lines() -> list[str]:
    text = (ROOT / "docs" / "reference" / "api.md").read_text("utf-8")
    block = re.search(r"```sh\n(.*?)```", text, re.S)
    assert block
    return [line for line in block[1].splitlines() if line.startswith("curl ")]


def by_openai(url: str) -> dict[str, Any]:
    """The names that the block for OpenAI's client leaves, run as it stands but for the address."""
    text = (ROOT / "docs" / "reference" / "api.md").read_text("utf-8")
    block = re.search(r"```python\n(.*?)```", text, re.S)
    assert block
    code = block[1].replace("http://localhost:8765", url).replace('"data/', f'"{ROOT}/data/')
    names: dict[str, Any] = {}
    exec(compile(code, "docs/reference/api.md", "exec"), names)
    return names


@pytest.mark.full
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.starter_models
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

        result = by_openai(url)
        assert "table games" in result["found"]["hits"][0]["text"]
        assert result["done"].choices[0].message.content.startswith("No")
        assert result["done"].model_extra["ragcore"]["citations"][0]["page"] == 4
        assert result["image"].startswith(b"\x89PNG")

        # An open stream of events does not hold the end up.
        httpx.post(f"{url}/api/v1/collections", json={"name": "last"})
        files = [("files", ("n.txt", b"note"))]
        job = httpx.post(f"{url}/api/v1/collections/last/uploads", files=files).json()
        with httpx.stream("GET", url + job["location"] + "/events") as stream:
            next(stream.iter_lines())
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) in (0, -signal.SIGTERM)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


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
