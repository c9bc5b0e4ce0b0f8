"""Kill `ragcore ingest` at random moments, then let it finish: is everything there, once?

    python benchmarks/kill9.py [--files 1000] [--kills 30] [--seed 1] [--json]

After every kill the catalog and the indexes are examined as `ragcore doctor` does; at the end
documents and passages are counted against a run that nobody disturbed. Exit code 0: all well.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from ragcore.library import Library
from ragcore.settings import Settings

WORDS = (
    "river gauge level sensor flood drift battery radio cable reading station weir lock canal "
    "winter spring report letter meeting budget train hotel coffee garden violin oak heron"
)


def write_files(folder: Path, count: int, seed: int) -> None:
    """Small notes, three sections each, every one different."""
    chance, words = random.Random(seed), WORDS.split()
    folder.mkdir()
    for number in range(count):
        parts = []
        for section in range(3):
            text = " ".join(chance.choice(words) for _ in range(chance.randint(40, 90)))
            parts.append(f"## Section {section} of note {number}\n\n{text.capitalize()}.\n")
        (folder / f"note-{number:05}.md").write_text(f"# Note {number}\n\n" + "\n".join(parts))


def start(home: Path, folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "RAGCORE_HOME": str(home), "RAGCORE_OCR": "off"}
    command = [sys.executable, "-m", "ragcore.cli.main", "ingest", str(folder)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def whole_run(home: Path, folder: Path) -> float:
    """Seconds of an undisturbed run. Raises RuntimeError if it fails."""
    started = time.monotonic()
    process = start(home, folder)
    _, complaint = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the ingest failed: {complaint.decode()}")
    return time.monotonic() - started


def look(home: Path) -> tuple[int, int, list[str]]:
    """(documents, passages, problems) of a home."""
    with Library(Settings(home=home)) as library:
        problems = [
            f"{finding.subject}: {finding.detail}"
            for finding in library.admin.doctor().findings
            if finding.state == "problem"
        ]
        if not library.collections():
            return 0, 0, problems
        counts = library.documents.statistics()
        return counts.documents, counts.passages, problems


def readers_left(seconds: float = 10) -> int:
    """Reader processes that outlive their killed parent, after some seconds to notice."""
    end = time.monotonic() + seconds
    while True:
        # Of ours only: their parent was a child of this process and is gone.
        left = [
            process
            for process in psutil.process_iter(["ppid", "cmdline", "environ"])
            if process.info["ppid"] == 1
            and "ragcore.ingest.worker" in " ".join(process.info["cmdline"] or ())
            and (process.info["environ"] or {}).get("RAGCORE_KILL9") == str(os.getpid())
        ]
        if not left or time.monotonic() > end:
            return len(left)
        time.sleep(0.2)


def run(files: int, kills: int, seed: int, say: bool) -> dict[str, Any]:
    chance = random.Random(seed)
    os.environ["RAGCORE_KILL9"] = str(os.getpid())
    with tempfile.TemporaryDirectory(prefix="ragcore-kill9-") as scratch:
        folder = Path(scratch) / "files"
        write_files(folder, files, seed)
        calm = Path(scratch) / "calm"
        seconds = whole_run(calm, folder)
        expected = look(calm)
        problems, home, homes, moments = list(expected[2]), Path(scratch) / "home-0", 1, []
        while len(moments) < kills:
            process = start(home, folder)
            moment = chance.uniform(0, seconds)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                stored, passages, found = look(home)
                moments.append({"at": round(moment, 2), "documents": stored, "passages": passages})
                problems += found
                if say:
                    print(f"killed after {moment:5.1f} s: {stored} documents, {found or 'sound'}")
            else:  # it was through before its moment came
                if (finished := look(home)) != expected:
                    problems.append(f"a finished run has {finished}, not {expected}")
                home, homes = Path(scratch) / f"home-{homes}", homes + 1
            if process.stderr is not None:
                process.stderr.close()
        whole_run(home, folder)
        documents, passages, found = look(home)
        return {
            "files": files,
            "kills": len(moments),
            "homes": homes,
            "moments": moments,
            "documents": documents,
            "passages": passages,
            "expected_documents": expected[0],
            "expected_passages": expected[1],
            "problems": problems + found,
            "readers_left": readers_left(),
            "undisturbed_seconds": round(seconds, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    result = run(given.files, given.kills, given.seed, say=not given.json)
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        print({name: value for name, value in result.items() if name != "moments"})
    same = (result["documents"], result["passages"]) == (
        result["expected_documents"],
        result["expected_passages"],
    )
    sys.exit(0 if same and not result["problems"] and not result["readers_left"] else 1)


if __name__ == "__main__":
    main()
