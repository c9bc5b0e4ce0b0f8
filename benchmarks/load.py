"""Many clients at one server while it ingests: errors, times, memory; and after `kill -9`.

    pip install locust
    python benchmarks/load.py [--clients 50] [--seconds 180] [--files 2000] [--kill] [--hostile]

Starts `ragcore serve` on a new home with a tenth of the files, lets it ingest the others, and has
locust's clients search and ask meanwhile (`benchmarks/load_users.py`). With `--kill` the server is
killed half-way and started again at once; requests that it had, and those while it was away, fail
then. With `--hostile` two in ten clients upload and look at documents, and two in ten send what
should be refused (`benchmarks/load_hostile.py`). At the end every file must be one document and
`ragcore doctor` find nothing.
Prints one JSON document. Exit code 0: nothing failed that should not, nothing lost or twice.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from load_notes import write_notes

from ragcore.library import Library
from ragcore.settings import Settings

HERE = Path(__file__).resolve().parent


class Serving:
    """`ragcore serve` as a process on one port, and the memory it takes."""

    def __init__(self, home: Path) -> None:
        self._home = home
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.memory: list[float] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Seconds until it is ready."""
        begun = time.monotonic()
        environment = {**os.environ, "RAGCORE_HOME": str(self._home), "RAGCORE_WORKERS": "1"}
        command = [sys.executable, "-m", "ragcore.cli.main", "serve", "--port", str(self.port)]
        with (self._home.parent / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stderr=log, stdout=log)
        while True:
            assert self._process.poll() is None, (self._home.parent / "server.log").read_text()
            try:
                urllib.request.urlopen(f"{self.url}/readyz", timeout=10).close()
                return time.monotonic() - begun
            except OSError:
                time.sleep(0.3)

    def watch(self) -> None:
        """Note the memory in MiB, children included."""
        try:
            assert self._process is not None
            whole = psutil.Process(self._process.pid)
            family = [whole, *whole.children(recursive=True)]
            self.memory.append(sum(p.memory_info().rss for p in family) / 2**20)
        except psutil.Error:
            pass

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(90)

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.load(reply)


def clients(
    server: Serving, count: int, seconds: int, folder: Path, known: int, hostile: bool
) -> list[dict[str, Any]]:
    """Locust's figures by name of request."""
    files = ["load_users.py", *(["load_hostile.py"] if hostile else [])]
    users = ",".join(str(HERE / name) for name in files)
    command = [
        "locust", "-f", users, "--headless", "--host", server.url,
        "-u", str(count), "-r", "10", "-t", f"{seconds}s", "--csv", str(folder / "load"),
        "--only-summary", "--stop-timeout", "170", "--loglevel", "ERROR",
    ]  # fmt: skip
    with (folder / "locust.log").open("wb") as log:
        environment = {**os.environ, "LOAD_KNOWN": str(known)}
        subprocess.run(command, stdout=log, stderr=log, check=False, env=environment)
    with (folder / "load_stats.csv").open() as table:
        return [
            {
                "name": row["Name"],
                "requests": int(row["Request Count"]),
                "failures": int(row["Failure Count"]),
                "p50_ms": row["50%"],
                "p95_ms": row["95%"],
                "longest_ms": round(float(row["Max Response Time"])),
            }
            for row in csv.DictReader(table)
            if row["Name"] != "Aggregated"
        ]


def errors(folder: Path) -> list[str]:
    """What went wrong with requests, each with how often."""
    with (folder / "load_failures.csv").open() as table:
        return [
            f"{row['Occurrences']} x {row['Name']}: {row['Error'][:200]}"
            for row in csv.DictReader(table)
        ]


def finished(server: Serving) -> float:
    """Seconds until no job runs any more."""
    begun = time.monotonic()
    while any(
        job["state"] == "running" for job in server.call("/api/v1/collections/notes/jobs")["items"]
    ):
        time.sleep(1)
    return time.monotonic() - begun


def whats_there(home: Path, files: int) -> dict[str, int]:
    """Documents that lack or are there twice, and what `doctor` says."""
    settings = Settings(home=home)
    with Library(settings) as library:
        names = Counter(d.name for d in library.documents.list("notes", limit=files * 2)[0])
        problems = [f for f in library.admin.doctor().findings if f.state == "problem"]
    twice = sum(count > 1 for count in names.values())
    return {"documents": len(names), "lost": files - len(names), "twice": twice,
            "problems": len(problems)}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--hostile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        first = folder / "first"
        known = options.files // 10
        write_notes(first, range(known))
        write_notes(folder / "files", range(known, options.files))
        server = Serving(folder / "home")
        found: dict[str, Any] = {"ready_seconds": round(server.start(), 1)}
        server.call("/api/v1/collections", {"name": "notes"})
        server.call("/api/v1/collections", {"name": "uploads"})
        server.call("/api/v1/collections/notes/ingests", {"paths": [str(first)]})
        finished(server)
        server.call("/api/v1/collections/notes/ingests", {"paths": [str(folder / "files")]})
        result: list[dict[str, Any]] = []
        load = threading.Thread(
            target=lambda: result.extend(
                clients(server, options.clients, options.seconds, folder, known, options.hostile)
            )
        )
        load.start()
        begun, killed = time.monotonic(), False
        while load.is_alive():
            server.watch()
            if options.kill and not killed and time.monotonic() - begun > options.seconds / 2:
                there = server.call("/api/v1/collections/notes")["documents"]
                found["documents_at_the_kill"] = there
                server.kill()
                found["ready_again_seconds"] = round(server.start(), 1)
                killed = True
            time.sleep(2)
        found["requests"] = result
        found["errors"] = errors(folder)
        found["ingest_went_on_seconds"] = round(finished(server), 1)
        server.watch()
        found["memory_mib"] = [round(m) for m in server.memory[:: max(1, len(server.memory) // 12)]]
        server.stop()
        found |= whats_there(folder / "home", options.files)
        print(json.dumps(found, indent=2))
        failures = sum(row["failures"] for row in result)
        wrong = found["lost"] or found["twice"] or found["problems"]
        return 1 if wrong or (failures and not options.kill) else 0


if __name__ == "__main__":
    sys.exit(main())
