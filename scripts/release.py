"""Build a release into dist/: sdists, wheels, a bill of materials and SHA256SUMS.

What is committed is built twice, in two folders, and must come out the same byte by byte:
timestamps are those of the last commit. Refused: a dirty work tree, and a version that
CHANGELOG.md has released.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from build import BuildBackendException, BuildException
from build.util import project_wheel_metadata

ROOT = Path(__file__).resolve().parents[1]


class ReleaseError(Exception):
    """One line that says why there is no release, and what to do."""


def run(*command: str | Path, cwd: Path = ROOT, stdin: str | None = None) -> str:
    """Standard output of a command. Raises ReleaseError with its last line if it fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, input=stdin, capture_output=True, text=True
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        shown = " ".join(str(part) for part in command[1:3] if command[0] == sys.executable)
        raise ReleaseError(f"{shown or command[0]} failed: {said.strip()}")
    return done.stdout


def check_clean() -> None:
    changed = run("git", "status", "--porcelain").splitlines()
    if changed:
        raise ReleaseError(
            f"the work tree has {len(changed)} uncommitted changes, such as {changed[0][3:]}: "
            "commit or stash them"
        )


def check_unreleased(version: str, changelog: str) -> None:
    if re.search(rf"^##\s+\[?v?{re.escape(version)}\]?(\s|$)", changelog, re.M):
        raise ReleaseError(
            f"{version} is already released in CHANGELOG.md: set another version first"
        )


def export(folder: Path) -> Path:
    """The last commit's files in `folder`, with that commit's time."""
    archive = folder.with_suffix(".tar")
    run("git", "archive", "--format=tar", f"--output={archive}", "HEAD")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()
    return folder


def version_of(source: Path) -> str:
    try:
        return str(project_wheel_metadata(source, isolated=False)["Version"])
    except (BuildException, BuildBackendException) as error:
        raise ReleaseError(
            f"pyproject.toml has no version: {' '.join(str(error).split())}"
        ) from error


def build(source: Path, out: Path, epoch: int) -> dict[str, str]:
    """Sdist and wheel of every distribution in `source`; SHA-256 by file name."""
    projects = [source, source / "starter-weights"]
    for project in projects:
        # The backend is the locked one of this environment, not the newest of an index.
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, project, cwd=source)
    for sdist in out.glob("*.tar.gz"):
        normalize(sdist, epoch)
    return {path.name: digest(path) for path in sorted(out.iterdir())}


def normalize(sdist: Path, epoch: int) -> None:
    """Pack an sdist again without times, owners and order of the machine that made it."""
    packed = sdist.with_suffix(".new")
    with (
        tarfile.open(sdist) as old,
        packed.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=epoch) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda one: one.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
    packed.replace(sdist)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bill_of_materials(source: Path, path: Path) -> None:
    """CycloneDX of what `ragcore[all]` installs, from the lock."""
    pins = run(sys.executable, source / "scripts" / "lock_subset.py", "all")
    run(
        sys.executable, "-m", "cyclonedx_py", "requirements", "-", "--output-reproducible",
        "--pyproject", source / "pyproject.toml", "--mc-type", "library", "-o", path, stdin=pins,
    )  # fmt: skip


def release(dist: Path) -> str:
    """Make the release in `dist`; return its version. Raises ReleaseError."""
    check_clean()
    epoch = int(run("git", "log", "-1", "--format=%ct"))
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch)
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="ragcore-release-") as scratch:
        version = version_of(export(Path(scratch, "version")))
        check_unreleased(version, (ROOT / "CHANGELOG.md").read_text("utf-8"))
        first, second = (export(Path(scratch, name)) for name in ("first", "second"))
        out, again = Path(scratch, "out"), Path(scratch, "again")
        sums = build(first, out, epoch)
        repeated = build(second, again, epoch)
        if different := sorted(name for name in sums if repeated.get(name) != sums[name]):
            raise ReleaseError(f"two builds differ in {', '.join(different)}")
        bill = out / f"ragcore-{version}.cdx.json"
        write_bill_of_materials(first, bill)
        sums[bill.name] = digest(bill)
        lines = [f"{sums[name]}  {name}\n" for name in sorted(sums)]
        (out / "SHA256SUMS").write_text("".join(lines), "utf-8")
        shutil.rmtree(dist, ignore_errors=True)
        shutil.copytree(out, dist)
    return version


def main() -> None:
    dist = ROOT / "dist"
    try:
        version = release(dist)
    except ReleaseError as error:
        sys.exit(f"release: {error}")
    print(f"ragcore {version} in {dist.name}/; `sha256sum --check SHA256SUMS` there verifies:")
    for path in sorted(dist.iterdir()):
        print(f"  {path.stat().st_size / 1e6:8.2f} MB  {path.name}")


if __name__ == "__main__":
    main()
