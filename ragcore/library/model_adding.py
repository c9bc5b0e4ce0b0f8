"""Adding a model to the profile: inspected first, its license accepted once."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ragcore.errors import ModelUnavailable, UsageError
from ragcore.files import replace_private
from ragcore.weights import FolderFiles, HubFiles, ModelReport, inspect_files

if TYPE_CHECKING:
    from ragcore.settings import Settings

_HUB_HOSTS = ("huggingface.co", "hf.co")
_GGUF_ENCODERS = ("bert", "nomic-bert", "jina-bert-v2", "t5encoder", "gemma-embedding")
_SLOTS = 2  # prompts that llama.cpp has in memory, each of `length` tokens
_MOST_CONTEXT = 4096  # tokens of llama.cpp's default


@dataclass(frozen=True, slots=True)
class AddedModel:
    """What `ragcore models add` found, and wrote: `profile` is the file (None: nothing written).

    `need` and `free` are bytes of memory: its weights with one prompt, and what is free now on the
    device. `accepted` is whether its license was accepted before.
    """

    report: ModelReport
    need: int
    free: int
    accepted: bool
    profile: Path | None = None

    @property
    def fits(self) -> bool:
        return self.need <= self.free


def inspect_model(name: str, *, file: str = "") -> ModelReport:
    """What "hub:OWNER/NAME[@REVISION]", a hub address, a folder or a .gguf file is.

    `file` chooses among several GGUF files. Raises UsageError for a name that is none of these,
    ModelUnavailable for what cannot be read.
    """
    name, file = _hub_address(name, file)
    if name.startswith("hub:"):
        repo, _, revision = name.removeprefix("hub:").partition("@")
        files = HubFiles(repo, revision)
        ggufs = [path for path in files.sizes if path.endswith(".gguf")]
        if ggufs and ("config.json" not in files.sizes or file):
            return _hub_gguf(files, ggufs, file)
        return inspect_files(files)
    path = Path(name.removeprefix("local:")).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return _gguf(path)
    if path.is_dir():
        return inspect_files(FolderFiles(path))
    raise UsageError(
        f"{name!r} is no model: give hub:OWNER/NAME, a folder, a .gguf file, or the address of one"
    )


def _hub_address(name: str, file: str) -> tuple[str, str]:
    """A hub page's or file's address as hub:OWNER/NAME[@REVISION] and the file."""
    address = urlsplit(name)
    if address.scheme not in ("http", "https"):
        return name, file
    parts = [part for part in address.path.split("/") if part]
    if address.hostname not in _HUB_HOSTS or len(parts) < 2:
        raise UsageError(
            f"{name} is no model of the hub ({', '.join(_HUB_HOSTS)}): download the file and give "
            "its path"
        )
    revision = ""
    if len(parts) > 3 and parts[2] in ("resolve", "blob", "tree"):
        revision = "" if parts[3] == "main" else parts[3]
        file = file or "/".join(parts[4:])
    repo = "/".join(parts[:2])
    return f"hub:{repo}" + (f"@{revision}" if revision else ""), file


def _hub_gguf(files: HubFiles, ggufs: list[str], file: str) -> ModelReport:
    """A GGUF of the hub, by its list of files: its header is read when it is fetched."""
    first = [p for p in ggufs if not re.search(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", p)]
    first = [p for p in first if not Path(p).name.startswith("mmproj")]
    if not file:
        if len(first) > 1:
            names = ", ".join(first[:8])
            raise UsageError(f"{files.weights} has several GGUF files: choose by --file: {names}")
        file = first[0]
    elif file not in files.sizes:
        raise UsageError(f"{files.weights} has no file {file!r}: it has {', '.join(first[:8])}")
    stem = file.split("-00001-of-")[0]
    size = sum(bytes_ for path, bytes_ in files.sizes.items() if path.startswith(stem))
    return ModelReport(
        weights=files.weights, part="llm", kind="llama.cpp", options={"file": file},
        architecture="GGUF", bytes=size, license=files.license,
        notes=("length and template are in the file itself, and are checked when it is loaded",),
    )  # fmt: skip


def _gguf(path: Path) -> ModelReport:
    from ragcore.llm import read_gguf, read_text_values

    model = read_gguf(path)
    said = read_text_values(path, ("general.license", "tokenizer.chat_template"))
    if model.architecture in _GGUF_ENCODERS:
        raise UsageError(
            f"{path} is an encoder ({model.architecture}): start `llama-server --embeddings -m "
            f"{path.name}` and run `ragcore models use llama-server:NAME`"
        )
    length = min(model.context_length, _MOST_CONTEXT)
    template = bool(said.get("tokenizer.chat_template"))
    width = model.shapes.get("token_embd.weight", (0, 0))[-1] // max(1, model.heads)
    return ModelReport(
        weights=f"local:{path.absolute()}", part="llm", kind="llama.cpp",
        architecture=f"{model.architecture} {model.quantization}", length=model.context_length,
        template=template, bytes=model.bytes,
        cache_bytes=length * model.layers * model.kv_heads * width * 2 * 2 * _SLOTS,
        license=str(said.get("general.license") or ""),
        notes=() if template else ("it has no chat template: a base model, not tuned to answer",),
    )  # fmt: skip


# --- licenses -----------------------------------------------------------------------


class Licenses:
    """Licenses of models that were accepted, in `licenses.json` of the home."""

    def __init__(self, home: Path) -> None:
        self._path = home / "licenses.json"

    def accepted(self, report: ModelReport) -> bool:
        """Whether this model was accepted under the license that it has now."""
        row = self._read().get(report.weights)
        return isinstance(row, dict) and row.get("license") == report.license

    def accept(self, report: ModelReport) -> None:
        rows = self._read()
        when = datetime.now(UTC).isoformat(timespec="seconds")
        rows[report.weights] = {"license": report.license, "accepted": when}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_private(self._path, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ModelUnavailable(f"{self._path} cannot be read: {error}") from error
        return dict(found)


def free_memory(settings: Settings) -> int:
    """Bytes that a model may take now on the device of these settings."""
    from ragcore.models import device_budget, place

    device = place(settings, "transformer").device
    budget = device_budget(device, settings)
    return max(0, budget.free(0) - budget.headroom)


def quantized(report: ModelReport, quantization: str) -> ModelReport:
    """The report of the model loaded in "4bit" or "8bit" (empty: as it is).

    Raises UsageError for what cannot be quantized.
    """
    if not quantization:
        return report
    if report.kind not in ("transformers", "image-text-to-text"):
        raise UsageError(f"--quantize is for models of transformers, not of kind {report.kind}")
    bits = {"8bit": 8, "4bit": 4}[quantization]
    return replace(
        report,
        options={**report.options, "quantization": quantization},
        bytes=report.bytes * bits // 16,  # of weights stored in 16 bits
    )
