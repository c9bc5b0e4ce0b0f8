"""`WeightStore`: asks for weights by name, gets a local folder."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ragcore.errors import MissingExtra, ModelUnavailable, UsageError
from ragcore.extras import require_extra
from ragcore.types import CancelToken, ProgressCallback
from ragcore.weights.cache import WeightCache, read_manifest
from ragcore.weights.code_scan import refuse_remote_code
from ragcore.weights.convert import conversion
from ragcore.weights.hashing import CHECKSUMS, read_checksums, sha256_of
from ragcore.weights.pins import HubPins
from ragcore.weights.providers import Provider, Reporter, provider_for
from ragcore.weights.providers.local import SAFE_SUFFIXES
from ragcore.weights.registry import Entry, find_entry, registered

if TYPE_CHECKING:
    from ragcore.settings import Settings
    from ragcore.weights.profiles import ModelRef, Profile

log = logging.getLogger(__name__)

State = Literal["ready", "missing", "damaged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightStatus:
    """One line of `ragcore models list`. `size` is bytes on disk, or to download if missing.

    `commit` is that of a hub model; `sha256` the recorded checksums by path, empty for a folder of
    the user's own and for what is not here.
    """

    name: str
    state: State
    size: int
    license: str
    training_data: str
    provider: str
    about: str
    task: str
    optional: bool
    path: Path | None = None
    commit: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def checked(self) -> dict[str, str]:
        """The recorded checksums of the files that hold weights."""
        return {
            path: one for path, one in self.sha256.items() if Path(path).suffix in SAFE_SUFFIXES
        }


class WeightStore:
    """Weights by name: registry entries, "hub:OWNER/NAME[@REVISION]" and "local:FOLDER".

        folder = WeightStore(settings).ensure("minilm-l6-v2")

    `entries` takes the place of the registry. Safe to use from several threads and processes.
    """

    def __init__(self, settings: Settings, *, entries: Mapping[str, Entry] | None = None) -> None:
        self._entries = registered() if entries is None else entries
        self._root = settings.weights_cache
        self._cache = WeightCache(settings.weights_cache)
        self._pins = HubPins(settings.weights_cache / ".hub")

    def ensure(
        self,
        name: str,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        *,
        file: str = "",
    ) -> Path:
        """The local folder of `name`, fetched, checked and converted if it is not there yet.

        `file` names the one file that is wanted of a model of the hub, for example of the many
        quantizations of a GGUF. Progress counts bytes; its stage is `name`. Raises UsageError for
        an unknown name, ModelUnavailable (with what to do) if it cannot be had or asks for code of
        its own, Cancelled.
        """
        entry = self._entry(name)
        if file and entry.provider == "hub":
            entry = replace(entry, patterns=(file.replace("-00001-of-", "-*-of-"),))
        report = Reporter(name, progress, cancel)
        found = self.find(name)
        if found is not None and (not file or (found / file).is_file()):
            return self._checked(entry, found, report)
        if not entry.in_cache:
            fetched = self._provider(entry).fetch(entry, self._root, report)
            return self._checked(entry, fetched.folder, report)
        with self._cache.writing(entry, report) as work:
            if self._cache.whole(entry):  # another process made it while we waited
                return self._cache.folder(entry)
            self._cache.check_space(entry)
            if entry.made_from:
                made = self.ensure(entry.made_from, progress, cancel)
            else:
                made = self._provider(entry).fetch(entry, work, report).folder
            if entry.convert:
                made = _converted(entry, made, work / "converted", report)
            folder = self._cache.publish(entry, made, report)
            shutil.rmtree(work, ignore_errors=True)
        return folder

    def find(self, name: str) -> Path | None:
        """The local folder of `name` if it is ready, without fetching anything."""
        entry = self._entry(name)
        if entry.in_cache:
            return self._cache.folder(entry) if self._cache.whole(entry) else None
        fetched = self._provider(entry).locate(entry)
        return fetched.folder if fetched else None

    def folder_of(self, name: str) -> Path:
        """The folder of a model given as a path or as a name; fetched if it is missing.

        Raises UsageError for a path without a model, and as `ensure`.
        """
        path = Path(name).expanduser()
        if (path / "config.json").exists():
            refuse_remote_code(path, name)
            return path
        if path.is_absolute() or name.startswith("."):
            raise UsageError(f"{name} holds no model (config.json is missing)")
        return self.ensure(name)

    def verify(self, name: str) -> tuple[str, ...]:
        """Hash every file again; return the paths that are missing or changed (none: all good).

        Weights of the user's own (`local`) have no recorded checksums to compare with.
        Raises ModelUnavailable if `name` is not on this machine.
        """
        entry = self._entry(name)
        folder = self._cache.folder(entry) if entry.in_cache else self.find(name)
        if folder is None or not folder.is_dir():
            raise ModelUnavailable(f"{name} is not on this machine; run `ragcore models pull`")
        try:
            expected = self._pins.files(entry) or _expected_checksums(entry, folder)
        except (OSError, ValueError, KeyError):
            return ("manifest",)
        return tuple(path for path, digest in expected.items() if _differs(folder / path, digest))

    def status(self, names: Iterable[str] = ()) -> list[WeightStatus]:
        """The state of `names`.

        Without any, of all registry entries and of the hub models that were used besides. Compares
        sizes, not checksums.
        """
        wanted = tuple(names)
        if not wanted:
            known = {entry.repo for entry in self._entries.values()}
            used = [one for one in self._pins.names() if one[4:].partition("@")[0] not in known]
            wanted = (*self._entries, *used)
        return [self._status(self._entry(name)) for name in wanted]

    def remove(self, name: str) -> int:
        """Delete `name` from the weights cache; return the bytes freed (0: it was not there).

        Weights of ragcore-starter-weights go together, and stay where that package is installed.

        Raises UsageError for weights that are not ours to delete.
        """
        entry = self._entry(name)
        if entry.provider == "hub":
            raise UsageError(f"{name} lies in the hub's own cache: `hf cache rm` deletes it there")
        if entry.provider == "package":
            from ragcore.weights.providers.package import PackageProvider

            return PackageProvider(self._cache).discard(entry)
        if not entry.in_cache:
            raise UsageError(f"{name} is not in the weights cache and is left where it is")
        freed = 0
        with self._cache.writing(entry, Reporter(name)) as work:
            for folder in (*self._cache.versions(name), work):
                freed += _bytes_in(folder)
                shutil.rmtree(folder)
        return freed

    def pull_profile(
        self,
        profile: Profile,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        *,
        wanted: Callable[[str], bool] = lambda part: True,
    ) -> dict[str, Path]:
        """Ensure all weights of a profile and what they require; return name to folder.

        `wanted` chooses among the profile's parts ("text_encoder", "llm", "diffusion", …).
        """
        folders: dict[str, Path] = {}
        for part, reference in profile.parts():
            if wanted(part):
                self.fetch(reference, progress, cancel, folders=folders)
        return folders

    def fetch(
        self,
        reference: ModelRef,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        *,
        folders: dict[str, Path] | None = None,
    ) -> ModelRef:
        """Ensure all weights of a model.

        Return the model, or its `otherwise` where the first cannot be had or run, which is logged.
        So is an optional model that cannot be fetched.

        `folders` is given name and folder of each. Raises as `ensure`, and MissingExtra.
        """
        try:
            if reference.extra:
                require_extra(reference.extra, f"models of kind {reference.kind}")
            if reference.needs_weights:
                wanted = str(reference.options.get("file", ""))
                needed = (*self._entry(reference.name).requires, reference.name, *reference.also)
                for name in dict.fromkeys(needed):
                    file = wanted if name == reference.name else ""
                    folder = self.ensure(name, progress, cancel, file=file)
                    if folders is not None:
                        folders[name] = folder
        except (ModelUnavailable, MissingExtra) as error:
            if reference.optional:
                log.warning("going on without %s, an optional model: %s", reference.name, error)
                return reference
            if reference.otherwise is None:
                raise
            log.warning("%s stands in for %s: %s", reference.otherwise.name, reference.name, error)
            return self.fetch(reference.otherwise, progress, cancel, folders=folders)
        return reference

    def revision(self, name: str) -> str:
        """Eight hex digits that identify the content of `name`: the tail of a space's name.

        Fetches nothing but what `ensure` would. Hashes a `local` folder once per change.
        """
        entry = self._entry(name)
        if entry.in_cache:
            return entry.key
        folder = self.ensure(name)
        if entry.provider == "hub":
            return folder.name[:8]
        if entry.provider == "package":
            return hashlib.sha256((folder / CHECKSUMS).read_bytes()).hexdigest()[:8]
        return _local_revision(folder, self._root / ".local")

    def repair(
        self,
        name: str,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> Path:
        """Download `name` again if `verify` finds anything wrong with it; return its folder.

        Raises what `ensure` raises, and ModelUnavailable for damaged files that are not in the
        weights cache.
        """
        if (found := self.find(name)) is not None and (wrong := self.verify(name)):
            entry = self._entry(name)
            ours = entry.in_cache or entry.provider == "package"
            if not ours or not found.is_relative_to(self._root):
                raise ModelUnavailable(
                    f"{name}: {wrong[0]} is damaged; delete {found} and get it again"
                )
            self.remove(name)
        return self.ensure(name, progress, cancel)

    def _provider(self, entry: Entry) -> Provider:
        return provider_for(entry.provider, self._cache)

    def _entry(self, name: str) -> Entry:
        """The entry, a hub model without a revision at the commit that was fetched first."""
        entry = find_entry(name, self._entries)
        if entry.provider == "hub" and not entry.revision and (commit := self._pins.commit(entry)):
            return replace(entry, revision=commit)
        return entry

    def _checked(self, entry: Entry, folder: Path, report: Reporter) -> Path:
        """The folder, refused if it asks for code; a hub model's commit and hashes are noted."""
        if entry.provider in ("hub", "local"):
            refuse_remote_code(folder, entry.name)
        if entry.provider == "hub":
            self._pins.note(entry, folder, report, _expected_checksums(entry, folder))
        return folder

    def _status(self, entry: Entry) -> WeightStatus:
        folder = self.find(entry.name)
        state: State = "ready" if folder else "missing"
        if folder is None and entry.in_cache and self._cache.folder(entry).exists():
            state = "damaged"
        return WeightStatus(
            name=entry.name,
            state=state,
            size=_bytes_in(folder) if folder else entry.download_size,
            license=entry.license,
            training_data=entry.training_data,
            provider=entry.provider,
            about=entry.about,
            task=entry.task,
            optional=entry.optional,
            path=folder,
            commit=folder.name if folder and entry.provider == "hub" else "",
            sha256=self._recorded(entry, folder) if folder else {},
        )

    def _recorded(self, entry: Entry, folder: Path) -> Mapping[str, str]:
        try:
            return self._pins.files(entry) or _expected_checksums(entry, folder)
        except (OSError, ValueError, KeyError):
            return {}


def _converted(entry: Entry, source: Path, target: Path, report: Reporter) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    conversion(entry.convert)(source, target, report)
    return target


def _expected_checksums(entry: Entry, folder: Path) -> dict[str, str]:
    if entry.in_cache:
        return {file.path: file.sha256 for file in read_manifest(folder)}
    if entry.provider == "package":
        return read_checksums(folder)
    if entry.provider == "local":
        return {}
    # The hub's cache names the blob of a large file by its SHA-256 (others by git's SHA-1).
    links = (path for path in folder.rglob("*") if path.is_symlink())
    blobs = {path.relative_to(folder).as_posix(): path.resolve().name for path in links}
    return {path: blob for path, blob in blobs.items() if len(blob) == 64} | dict(entry.files)


def _differs(path: Path, digest: str) -> bool:
    return not path.is_file() or sha256_of(path) != digest


def _bytes_in(folder: Path) -> int:
    if folder.is_file():
        return folder.stat().st_size
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _local_revision(folder: Path, memory: Path) -> str:
    """Digest of the weights and configuration, remembered by size and time of change."""
    kinds = (*SAFE_SUFFIXES, ".json")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in kinds)
    stamp = [[str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns] for p in files]
    note = memory / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}.json"
    try:
        remembered = json.loads(note.read_text("utf-8"))
        if remembered["stamp"] == stamp:
            return str(remembered["revision"])
    except (OSError, ValueError, KeyError):
        pass
    digests = [(str(path.relative_to(folder)), sha256_of(path)) for path in files]
    revision = hashlib.sha256(json.dumps(digests).encode()).hexdigest()[:8]
    try:
        memory.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"stamp": stamp, "revision": revision}), "utf-8")
    except OSError:
        pass  # a read-only cache: it is hashed again next time
    return revision
