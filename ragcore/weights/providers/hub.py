"""Weights from the model hub, through huggingface_hub and its own cache.

HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE mean what they mean to every other program.
Only safetensors, ONNX, GGUF and text files are fetched: never a pickle.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import Cancelled, ModelUnavailable
from ragcore.weights.hashing import sha256_of
from ragcore.weights.providers.base import Fetched, Reporter
from ragcore.weights.providers.local import SAFE_SUFFIXES
from ragcore.weights.registry import Entry

if TYPE_CHECKING:
    from tqdm import tqdm

# "*" also matches "/" here. Exports for other runtimes would multiply the download.
_ALLOW = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
IGNORED_FILES = ("onnx/*", "openvino/*", "*.msgpack", "flax_*", "tf_*", "coreml/*")


class HubProvider:
    """Provider `hub`."""

    def locate(self, entry: Entry) -> Fetched | None:
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            folder = _snapshot(entry, local_files_only=True)
        except (LocalEntryNotFoundError, ValueError):
            return None
        if not _whole(folder, entry):
            return None
        return Fetched(folder, in_place=True, revision=folder.name)

    def fetch(self, entry: Entry, work: Path, report: Reporter) -> Fetched:
        from huggingface_hub import constants
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        where = f"{entry.repo}@{entry.revision}" if entry.revision else entry.repo
        try:
            folder = _snapshot(entry, tqdm_class=progress_bar(report))
        except Cancelled:
            raise
        except GatedRepoError as error:
            raise ModelUnavailable(
                f"{entry.name}: the hub asks you to accept the license of {where} "
                "and to log in (`hf auth login`)"
            ) from error
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise ModelUnavailable(f"{entry.name}: the hub has no model {where}") from error
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
            hint = (
                "HF_HUB_OFFLINE is set: unset it"
                if constants.HF_HUB_OFFLINE
                else "the model hub cannot be reached: go online"
            )
            raise ModelUnavailable(
                f"{entry.name}: {where} is not on this machine and {hint}, "
                "then run `ragcore models pull`"
            ) from error
        _check(entry, folder)
        return Fetched(folder, in_place=True, revision=folder.name)


def _snapshot(entry: Entry, **options: Any) -> Path:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        entry.repo,
        revision=entry.revision or None,
        allow_patterns=list(entry.patterns or _ALLOW),
        ignore_patterns=list(IGNORED_FILES),
        **options,
    )
    return Path(folder)


def _whole(folder: Path, entry: Entry) -> bool:
    if any(not (folder / path).is_file() for path in entry.files):
        return False
    return any(path.suffix in SAFE_SUFFIXES for path in folder.rglob("*"))


def _check(entry: Entry, folder: Path) -> None:
    if not _whole(folder, entry):
        raise ModelUnavailable(
            f"{entry.name}: {entry.repo} holds no {', '.join(SAFE_SUFFIXES)} file; "
            "choose a model that offers safetensors"
        )
    for path, expected in entry.files.items():
        if sha256_of(folder / path) != expected:
            raise ModelUnavailable(
                f"{entry.name}: {path} does not have the expected checksum; "
                f"run `ragcore models pull {entry.name}` again"
            )


def progress_bar(report: Reporter) -> type[tqdm]:
    """A tqdm class that shows nothing and passes byte counts to `report`."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # snapshot_download counts bytes twice: as received and as written. One is enough.
            description = str(kwargs.get("desc", ""))
            self._counts = kwargs.get("unit") == "B" and not description.startswith("Download")
            super().__init__(*args, **kwargs)

        def display(self, *args: Any, **kwargs: Any) -> None:
            return None

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            if self._counts:
                report.bytes("download", int(self.n), int(self.total or 0))
            else:
                report.check()
            return shown

    return Bar
