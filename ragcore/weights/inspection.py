"""What a model is, read from its files without loading it: task, dimension, length, template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Protocol

from ragcore.errors import ModelUnavailable, UsageError
from ragcore.weights.providers.hub import IGNORED_FILES

_MOST_JSON = 20 << 20  # bytes of one configuration file


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """What was found out about a model, and how a profile runs it.

    `part` is the profile's part; `dimension` of its vectors (0: it has none); `length` is the
    tokens that it reads (0: not said); `template`: it has a chat template (None: it needs none);
    `bytes` its weights as stored; `cache_bytes` what one prompt of `length` tokens takes besides.
    """

    weights: str
    part: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    architecture: str = ""
    dimension: int = 0
    length: int = 0
    template: bool | None = None
    bytes: int = 0
    cache_bytes: int = 0
    license: str = ""
    notes: tuple[str, ...] = ()


class ModelFiles(Protocol):
    """The files of one model: their sizes by path, and the JSON among them."""

    weights: str  # as a profile names it
    sizes: Mapping[str, int]
    license: str

    def json(self, path: str) -> dict[str, Any]:
        """Raises ModelUnavailable where it cannot be read, or is none."""
        ...


class FolderFiles:
    """A folder of the user's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.weights = f"local:{folder.absolute()}"
        self.sizes: Mapping[str, int] = {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in folder.rglob("*")
            if path.is_file()
        }
        self.license = ""

    def json(self, path: str) -> dict[str, Any]:
        return _parsed(self._folder / path, f"{self._folder / path}")


class HubFiles:
    """A model of the hub. Only its list of files and small JSON files are fetched."""

    def __init__(self, repo: str, revision: str = "") -> None:
        """Raises ModelUnavailable where the hub cannot be asked, or has no such model."""
        from huggingface_hub import HfApi

        self._repo = repo
        self.weights = f"hub:{repo}" + (f"@{revision}" if revision else "")
        try:
            info = HfApi().model_info(repo, revision=revision or "main")
            self._commit = info.sha or "main"
            tree = HfApi().list_repo_tree(repo, recursive=True, revision=self._commit)
            self.sizes: Mapping[str, int] = {
                leaf.path: int(getattr(leaf, "size", 0) or 0) for leaf in tree
            }
        except Exception as error:  # of whichever HTTP library huggingface_hub uses
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelUnavailable(f"{self.weights} cannot be looked up: {reason}") from error
        card = info.card_data
        self.license = str(getattr(card, "license", None) or "")
        if self.license == "other":
            self.license = str(getattr(card, "license_name", None) or "other")

    def json(self, path: str) -> dict[str, Any]:
        from huggingface_hub import hf_hub_download

        try:
            found = hf_hub_download(self._repo, path, revision=self._commit)
        except Exception as error:  # as above
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelUnavailable(f"{self.weights}: {path} cannot be fetched: {reason}") from error
        return _parsed(Path(found), f"{self.weights}: {path}")


def inspect_files(files: ModelFiles) -> ModelReport:
    """What these files are. GGUF files are inspected by `ragcore.llm`.

    Raises UsageError for what no part of a profile runs, ModelUnavailable for files that cannot
    be read.
    """
    sizes = files.sizes
    size = sum(
        bytes_ for path, bytes_ in sizes.items()
        if path.endswith(".safetensors") and not any(fnmatch(path, p) for p in IGNORED_FILES)
    )  # fmt: skip
    shared: dict[str, Any] = {"weights": files.weights, "license": files.license, "bytes": size}
    if "adapter_config.json" in sizes:
        raise UsageError(f"{files.weights} is a LoRA adapter: `ragcore adapters add` takes it")
    if "model_index.json" in sizes:
        index = files.json("model_index.json")
        return ModelReport(
            part="diffusion", kind="diffusers", architecture=str(index.get("_class_name", "")),
            **shared,
        )  # fmt: skip
    if "open_clip_config.json" in sizes:
        return _open_clip(files, shared)
    if "config.json" not in sizes:
        raise UsageError(
            f"{files.weights} has none of config.json, modules.json, open_clip_config.json, "
            "model_index.json and .gguf: it is no model that a profile can run"
        )
    if not size:
        raise UsageError(f"{files.weights} has no safetensors file: pickled weights are not read")
    config = files.json("config.json")
    if config.get("auto_map"):
        raise UsageError(f"{files.weights} runs code of its own (auto_map), which is never loaded")
    if "modules.json" in sizes:
        return _sentence_transformer(files, config, shared)
    return _transformer(files, config, shared)


def _open_clip(files: ModelFiles, shared: dict[str, Any]) -> ModelReport:
    config = files.json("open_clip_config.json").get("model_cfg") or {}
    text = config.get("text_cfg") or {}
    return ModelReport(
        part="image_text_encoder", kind="open_clip", architecture="CLIP",
        dimension=_number(config, "embed_dim"), length=_number(text, "context_length") or 77,
        **shared,
    )  # fmt: skip


def _sentence_transformer(
    files: ModelFiles, config: Mapping[str, Any], shared: dict[str, Any]
) -> ModelReport:
    dimension, length = _number(config, "hidden_size"), 0
    if "1_Pooling/config.json" in files.sizes:
        pooling = files.json("1_Pooling/config.json")
        dimension = _number(pooling, "word_embedding_dimension") or dimension
    for path in sorted(files.sizes):
        if path.endswith("_Dense/config.json"):
            dimension = _number(files.json(path), "out_features") or dimension
    if "sentence_bert_config.json" in files.sizes:
        length = _number(files.json("sentence_bert_config.json"), "max_seq_length")
    length = length or _number(config, "max_position_embeddings")
    notes = []
    if "config_sentence_transformers.json" in files.sizes:
        prompts = files.json("config_sentence_transformers.json").get("prompts") or {}
        if prompts:
            notes.append(f"its own prompts are used: {', '.join(sorted(map(str, prompts)))}")
    return ModelReport(
        part="text_encoder", kind="sentence-transformers", architecture=_architecture(config),
        dimension=dimension, length=length, notes=tuple(notes), **shared,
    )  # fmt: skip


def _transformer(
    files: ModelFiles, config: Mapping[str, Any], shared: dict[str, Any]
) -> ModelReport:
    architecture = _architecture(config)
    text = config.get("text_config") or config
    shared |= {"architecture": architecture, "length": _number(text, "max_position_embeddings")}
    if architecture.endswith("ForSequenceClassification"):
        outputs = config.get("id2label") or {}
        if _number(config, "num_labels", len(outputs)) > 1:
            raise UsageError(
                f"{files.weights} is a classifier with {len(outputs)} labels, no reranker: those "
                "have one output"
            )
        return ModelReport(part="reranker", kind="cross-encoder", **shared)
    if config.get("vision_config") and architecture.endswith(
        ("ForConditionalGeneration", "ForCausalLM")
    ):
        return ModelReport(
            part="vision_llm", kind="image-text-to-text", template=_template(files), **shared
        )
    if architecture.endswith("ForCausalLM"):
        template = _template(files)
        notes = () if template else ("it has no chat template: a base model, not tuned to answer",)
        return ModelReport(
            part="llm", kind="transformers", template=template, notes=notes,
            cache_bytes=_cache(text, shared["length"]), **shared,
        )  # fmt: skip
    raise UsageError(
        f"{files.weights} is a {architecture or 'model of an unknown kind'}: a profile runs chat "
        "models, vision models, sentence-transformers, cross-encoders, open_clip and diffusers"
    )


def _architecture(config: Mapping[str, Any]) -> str:
    names = config.get("architectures") or [""]
    return str(names[0])


def _template(files: ModelFiles) -> bool:
    if "chat_template.jinja" in files.sizes or "chat_template.json" in files.sizes:
        return True
    if "tokenizer_config.json" not in files.sizes:
        return False
    return bool(files.json("tokenizer_config.json").get("chat_template"))


def _cache(config: Mapping[str, Any], length: int) -> int:
    """Bytes of keys and values of one prompt of `length` tokens in 16 bits."""
    heads = _number(config, "num_attention_heads")
    width = _number(config, "head_dim") or (_number(config, "hidden_size") // max(1, heads))
    kept = _number(config, "num_key_value_heads") or heads
    return length * _number(config, "num_hidden_layers") * kept * width * 2 * 2


def _number(config: Mapping[str, Any], key: str, default: int = 0) -> int:
    value = config.get(key, default)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _parsed(path: Path, where: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_JSON:
            raise ModelUnavailable(f"{where} is too large for a configuration")
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"{where} cannot be read: {error}") from error
    if not isinstance(found, dict | list):
        raise ModelUnavailable(f"{where} is no configuration")
    return found if isinstance(found, dict) else {"modules": found}
