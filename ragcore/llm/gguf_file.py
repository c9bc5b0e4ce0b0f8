"""What a GGUF file says of its model, read from its header; what is wrong with a broken one.

llama.cpp gives no reason when it cannot load a file, so the header is checked before it tries.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragcore.errors import ModelUnavailable, UsageError

_SIMPLE = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_UNKNOWN, _CONTROL = 2, 3  # token types that llama.cpp reads as marks, not as text
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


@dataclass(frozen=True, slots=True)
class GgufModel:
    """The header of a model's file.

    `shapes` are those of its weights as (rows, …, columns); `context_length` is in tokens; `bytes`
    counts all parts of a file that was split; `byte_level` is whether its tokens are of bytes, as
    in GPT-2 (else of SentencePiece).
    """

    path: Path
    architecture: str
    context_length: int
    heads: int
    kv_heads: int
    layers: int
    quantization: str
    byte_level: bool
    marks: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    bytes: int


def find_gguf(folder: Path, file: str = "") -> Path:
    """The GGUF file in `folder` called `file`, or the only one (of a split model the first part).

    `folder` may be a file itself. Projectors of vision models ("mmproj…") do not count. Raises
    ModelUnavailable if there is none, UsageError if there are several.
    """
    if folder.is_file():
        return folder
    if file:
        if not (folder / file).is_file():
            raise ModelUnavailable(f"{folder} has no file {file}")
        return folder / file
    found = sorted(p for p in folder.rglob("*.gguf") if not p.name.startswith("mmproj"))
    first = [p for p in found if (part := _PART.search(p.name)) is None or part[1] == "00001"]
    if not first:
        raise ModelUnavailable(f"{folder} has no GGUF file (.gguf)")
    if len(first) > 1:
        names = ", ".join(p.name for p in first[:5])
        raise UsageError(
            f'{folder} has several GGUF files: choose with the option file = "{names}"'
        )
    return first[0]


def read_gguf(path: Path) -> GgufModel:
    """Read and check a model's header. Raises ModelUnavailable, which says what is wrong."""
    parts = [path]
    if split := _PART.search(path.name):
        stem = path.name[: split.start()]
        numbers = range(1, int(split[2]) + 1)
        parts = [path.with_name(f"{stem}-{n:05d}-of-{split[2]}.gguf") for n in numbers]
    values: dict[str, Any] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for part in parts:
        found, tensors = _header(part)
        values = found | values
        shapes |= tensors
    architecture = values.get("general.architecture", "")
    if values.get("general.type", "model") != "model" or not shapes:
        kind = values.get("general.type", "file without weights")
        raise ModelUnavailable(f"{path} holds no model (it is a {kind})")
    number = {
        key: values.get(f"{architecture}.{key}", 0)
        for key in (
            "context_length",
            "block_count",
            "attention.head_count",
            "attention.head_count_kv",
        )
    }
    if not number["context_length"]:
        raise ModelUnavailable(f"{path} is damaged: it does not say how long a context it takes")
    heads = number["attention.head_count"]
    return GgufModel(
        path=path,
        architecture=architecture,
        context_length=int(number["context_length"]),
        heads=heads if isinstance(heads, int) else 0,
        kv_heads=kv if isinstance(kv := number["attention.head_count_kv"] or heads, int) else 0,
        layers=int(number["block_count"]),
        quantization=_quantization(values.get("general.file_type")),
        byte_level=values.get("tokenizer.ggml.model") == "gpt2",
        marks=_marks(values),
        shapes=shapes,
        bytes=sum(part.stat().st_size for part in parts),
    )


def read_vocabulary(path: Path) -> dict[str, int]:
    """The number of each token by its text as in the file, "▁" for a space in SentencePiece's."""
    values, _ = _header(path)
    return {text: i for i, text in enumerate(values.get("tokenizer.ggml.tokens", ()))}


def read_text_values(path: Path, names: Collection[str]) -> dict[str, str]:
    """What the header says under `names`, where it is text. Raises ModelUnavailable."""
    values, _ = _header(path)
    return {name: values[name] for name in names if isinstance(values.get(name), str)}


def _marks(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Texts of the control tokens, which stand for no text, the longest first."""
    tokens = values.get("tokenizer.ggml.tokens", ())
    kinds = values.get("tokenizer.ggml.token_type", ())
    found = {t for t, kind in zip(tokens, kinds, strict=False) if kind in (_UNKNOWN, _CONTROL)}
    return tuple(sorted(found - {""}, key=len, reverse=True))


def _quantization(kind: int | None) -> str:
    import gguf

    try:
        name = str(gguf.LlamaFileType(kind).name)
    except ValueError:
        return "GGUF"
    return name.removeprefix("MOSTLY_").removeprefix("ALL_")


def _header(path: Path) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    try:
        with path.open("rb") as stream:
            if not path.stat().st_size:
                raise ModelUnavailable(f"{path} is empty")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data).read()
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror}") from error


class _Reader:
    """Reads one header from the start of a file."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path, self._data, self._at = path, data, 0

    def read(self) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
        if self._data[:4] != b"GGUF":
            raise ModelUnavailable(f"{self._path} is not a GGUF file (it does not begin with GGUF)")
        self._at = 4
        try:
            version = self._number("I")
            if version not in (2, 3):
                raise self._damaged(f"version {version} is unknown")
            count, entries = self._number("Q"), self._number("Q")
            values = {}
            for _ in range(entries):
                name = self._text()
                values[name] = self._value(self._number("I"))
            shapes = {}
            end = 0
            for _ in range(count):
                name, shape, last = self._tensor()
                shapes[name] = shape
                end = max(end, last)
        except (struct.error, UnicodeDecodeError, MemoryError, OverflowError) as error:
            raise self._damaged("its header ends early, or is not one") from error
        alignment = int(values.get("general.alignment", 32))
        need = math.ceil(self._at / alignment) * alignment + end
        if len(self._data) < need:
            raise self._damaged(f"it has {len(self._data):,} of {need:,} bytes; download it again")
        return values, shapes

    def _damaged(self, why: str) -> ModelUnavailable:
        return ModelUnavailable(f"{self._path} is damaged: {why}")

    def _number(self, kind: str) -> Any:
        (value,) = struct.unpack_from(f"<{kind}", self._data, self._at)
        self._at += struct.calcsize(f"<{kind}")
        return value

    def _text(self) -> str:
        length = self._number("Q")
        raw = self._data[self._at : self._at + length]
        if len(raw) < length:
            raise struct.error("text beyond the end")
        self._at += length
        return raw.decode("utf-8", "replace")

    def _texts(self, count: int) -> list[str]:
        """Vocabularies have hundreds of thousands: no call for each."""
        unpack, data, at = struct.Struct("<Q").unpack_from, self._data, self._at
        texts = []
        for _ in range(count):
            (length,) = unpack(data, at)
            end = at + 8 + length
            texts.append(data[at + 8 : end].decode("utf-8", "replace"))
            at = end
        if at > len(data):
            raise struct.error("text beyond the end")
        self._at = at
        return texts

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            inner, count = self._number("I"), self._number("Q")
            if inner in _SIMPLE:
                found = struct.unpack_from(f"<{count}{_SIMPLE[inner]}", self._data, self._at)
                self._at += struct.calcsize(f"<{count}{_SIMPLE[inner]}")
                return found
            if inner == _STRING:
                return self._texts(count)
            return [self._value(inner) for _ in range(count)]
        if kind not in _SIMPLE:
            raise self._damaged(f"a value has the unknown type {kind}")
        return self._number(_SIMPLE[kind])

    def _tensor(self) -> tuple[str, tuple[int, ...], int]:
        """Name, shape, and where it ends in bytes from the start of the weights."""
        import gguf

        name = self._text()
        sides = [self._number("Q") for _ in range(self._number("I"))]
        kind, offset = self._number("I"), self._number("Q")
        try:
            block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
        except (ValueError, KeyError):  # a newer type: llama.cpp may know it
            return name, tuple(reversed(sides)), offset
        return name, tuple(reversed(sides)), offset + math.prod(sides) // block * size
