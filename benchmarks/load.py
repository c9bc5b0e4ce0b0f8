"""Many clients at once while an ingest runs, with or without a `kill -9` of the server.

    python benchmarks/load.py --locust PATH [--users 50] [--seconds 180] [--kill]

Locust (`pip install locust`, in an environment of its own) plays the clients, see
`benchmarks/load_users.py`. Printed is one JSON document: requests, failures, p50 and p95 by kind,
answers 503 or 429, memory over time; and whether the ingest ended with everything there once.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psutil

from ragcore.library import Library
from ragcore.settings import Settings

ROOT = Path(__file__).resolve().parents[1]


class Server:
    """`ragcore serve` on a port that stays the same when it is started again."""

    def __init__(self, home: Path, log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._log = log
        self._environment = {
            **os.environ, "RAGCORE_HOME": str(home), "RAGCORE_WORKERS": "1",
            "RAGCORE_LOG_FORMAT": "json", "RAGCORE_LOG_LEVEL": "info",
        }  # fmt: skip

    def start(self) -> float:
        """Start and wait until it is ready; return the seconds that took."""
        began = time.monotonic()
        command = [sys.executable, "-m", "ragcore.cli.main", "serve", "--port", str(self._port)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self._environment, stderr=log)
        while True:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=20).status_code == 200:
                    return time.monotonic() - began
            except httpx.TransportError:
                pass
            if self.process.poll() is not None:
                raise SystemExit(self._log.read_text()[-2000:])
            time.sleep(0.5)

    def memory(self) -> int:
        """Bytes of the server and its readers, pages that they share counted once."""
        try:
            whole = psutil.Process(self.process.pid)
            return sum(one.memory_full_info().pss for one in [whole, *whole.children(True)])
        except psutil.Error:
            return 0


def write_notes(folder: Path, count: int) -> None:
    folder.mkdir()
    words = (ROOT / "docs" / "search.md").read_text("utf-8").split()
    for number in range(count):
        text = " ".join(words[(number * 13 + place) % len(words)] for place in range(400))
        (folder / f"note-{number:05}.txt").write_text(f"Note {number}. {text}\n")


def locust(options: argparse.Namespace, url: str, results: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            options.locust, "-f", str(ROOT / "benchmarks" / "load_users.py"), "--headless",
            "--users", str(options.users), "--spawn-rate", "10",
            "--run-time", f"{options.seconds}s", "--stop-timeout", "170", "--host", url,
            "--csv", str(results / "load"), "--only-summary",
        ],
        stdout=subprocess.DEVNULL, stderr=(results / "locust.log").open("wb"),
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )  # fmt: skip


def figures(results: Path) -> dict[str, Any]:
    """Numbers by kind of request, in milliseconds; and what failed how."""
    told: dict[str, Any] = {}
    with (results / "load_stats.csv").open() as rows:
        for row in csv.DictReader(rows):
            told[row["Name"].rpartition("/load")[2]] = {
                "requests": int(row["Request Count"]),
                "failures": int(row["Failure Count"]),
                "p50_ms": row["50%"],
                "p95_ms": row["95%"],
                "max_ms": round(float(row["Max Response Time"])),
            }
    with (results / "load_failures.csv").open() as rows:
        failures = Counter()
        for row in csv.DictReader(rows):
            failures[row["Error"][:120]] += int(row["Occurrences"])
    return {"by_kind": told, "failures": dict(failures)}


def check(home: Path, notes: int) -> dict[str, Any]:
    """Whether everything is in the library, once, with its vectors. The server is gone."""
    with Library(Settings(home=home, workers=1)) as library:
        left = [job for job in library.jobs.recent(20) if job.state == "interrupted"]
        for job in library.resume_interrupted():
            library.jobs.wait(job)
        rows, total = library.documents("load", search="note-", limit=notes + 100)
        names = Counter(row.name for row in rows)
        counts = library.statistics("load")
        vectors = next(
            row["count"] for row in library.index_overview("load") if row["modality"] == "text"
        )
    return {
        "jobs_left_to_the_next_start": len(left),
        "documents": total,
        "missing": notes - len(names),
        "twice": sum(1 for count in names.values() if count > 1),
        "passages": counts.passages,
        "vectors": vectors,
        "catalogue_bytes_per_passage": (home / "catalogue.db").stat().st_size // counts.passages,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--locust", default="locust")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--notes", type=int, default=1500, help="files of the ingest")
    parser.add_argument("--kill", action="store_true", help="kill -9 half-way, and start again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder, home = Path(made), Path(made) / "home"
        write_notes(folder / "notes", options.notes)
        with Library(Settings(home=home, workers=1, ocr="off")) as library:
            library.ingest([ROOT / "data" / "sample"], collection="load")
        server = Server(home, folder / "log")
        told: dict[str, Any] = {"ready_seconds": round(server.start(), 1)}
        body = {"paths": [str(folder / "notes")]}
        httpx.post(f"{server.url}/api/v1/collections/load/ingests", json=body, timeout=60)
        memory: list[int] = []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(2):
                memory.append(server.memory())

        watching = threading.Thread(target=watch)
        watching.start()
        players = locust(options, server.url, folder)
        if options.kill:
            time.sleep(options.seconds / 2)
            server.process.kill()
            server.process.wait()
            told["killed_and_ready_again_seconds"] = round(server.start(), 1)
        players.wait()
        over.set()
        watching.join()
        jobs = httpx.get(f"{server.url}/api/v1/collections/load/jobs", timeout=60).json()["items"]
        told["jobs_at_the_end"] = [f"{job['kind']} {job['state']}" for job in jobs]
        server.process.send_signal(signal.SIGTERM)
        told["stopped_with"] = server.process.wait(120)
        told |= figures(folder)
        told["memory_mib"] = {
            f"at_{part}%": round(memory[min(len(memory) - 1, len(memory) * part // 100)] / 2**20)
            for part in (0, 10, 25, 50, 75, 90, 100)
        }
        log = (folder / "log").read_text()
        told["error_lines_in_the_log"] = log.count('"level": "error"')
        told["load_average"] = os.getloadavg()
        print(json.dumps({**told, "afterwards": check(home, options.notes)}, indent=1))


if __name__ == "__main__":
    main()
