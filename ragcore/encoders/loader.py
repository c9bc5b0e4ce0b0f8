"""The encoders of the chosen profile, made once per process and shared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragcore.encoders.base import ImageTextEncoder, Reranker, TextEncoder
from ragcore.encoders.options import first_line
from ragcore.errors import UsageError
from ragcore.weights import ModelRef, WeightStore, load_profile
from ragcore.weights.registry import find_entry

if TYPE_CHECKING:
    from ragcore.settings import Settings

_made: dict[tuple[str, ...], Any] = {}
_OPTIONAL_RERANKER = ModelRef("ms-marco-minilm-l12", "onnx")
_lock = threading.RLock()


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One model in memory. `bytes` counts its weights."""

    part: str
    name: str
    device: str
    precision: str
    bytes: int


def text_encoder(settings: Settings) -> TextEncoder:
    """The profile's text encoder; its weights are fetched now if they are not there.

    Raises UsageError if the profile has none, ModelUnavailable if the weights cannot be had.
    """
    reference = load_profile(settings).text_encoder
    if reference is None:
        raise UsageError(f"profile {settings.profile} has no text encoder")
    encoder: TextEncoder = _shared("text_encoder", reference, settings, _make_text_encoder)
    return encoder


def image_text_encoder(settings: Settings) -> ImageTextEncoder:
    """The profile's image-text encoder. Errors as for `text_encoder`."""
    reference = load_profile(settings).image_text_encoder
    if reference is None:
        raise UsageError(f"profile {settings.profile} has no image-text encoder")
    encoder: ImageTextEncoder = _shared(
        "image_text_encoder", reference, settings, _make_image_text_encoder
    )
    return encoder


def reranker(settings: Settings) -> Reranker | None:
    """The profile's reranker, or None where it has none."""
    reference = load_profile(settings).reranker
    if reference is None:
        return None
    made: Reranker = _shared("reranker", reference, settings, _make_reranker)
    return made


def evaluated_reranker(settings: Settings) -> Reranker:
    """The profile's reranker; where it has none, the starter's optional one, for comparison.

    Raises ModelUnavailable if its weights cannot be fetched.
    """
    found = reranker(settings)
    if found is None:
        made: Reranker = _shared("reranker", _OPTIONAL_RERANKER, settings, _make_reranker)
        return made
    return found


def loaded() -> list[LoadedModel]:
    """The models whose weights are in memory now."""
    with _lock:
        items = list(_made.items())
    models = []
    for (part, name, *_), model in items:
        if size := _bytes(model):
            placement = getattr(model, "placement", None)
            device = getattr(placement, "device", "") or str(getattr(model, "runs_on", ""))
            models.append(
                LoadedModel(part, name, device, getattr(placement, "precision", ""), size)
            )
    return models


def unload(name: str | None = None) -> int:
    """Forget the model called `name` (all without one); return how many were forgotten.

    Memory is freed when nobody uses them any more.
    """
    with _lock:
        chosen = [key for key in _made if name is None or key[1] == name]
        for key in chosen:
            del _made[key]
    if chosen:
        import gc

        import torch

        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return len(chosen)


def _shared(
    part: str,
    reference: ModelRef,
    settings: Settings,
    make: Callable[[ModelRef, Settings], Any],
) -> Any:
    key = (
        part,
        reference.name,
        reference.kind,
        repr(sorted(reference.options.items())),
        str(settings.weights_cache),
        f"{settings.device} {settings.precision} {settings.threads}",
    )
    with _lock:
        if key not in _made:
            _made[key] = make(reference, settings)
        return _made[key]


def _make_text_encoder(reference: ModelRef, settings: Settings) -> TextEncoder:
    if reference.kind == "openai":
        from ragcore.encoders.openai_text import OpenAITextEncoder

        return OpenAITextEncoder(model=reference.name, options=reference.options)
    from ragcore.encoders.device import place

    store = WeightStore(settings)
    folder = store.ensure(reference.name)
    revision = store.revision(reference.name)
    name = space_prefix(reference.name)
    if reference.kind == "onnx":
        from ragcore.encoders.onnx import OnnxTextEncoder

        return OnnxTextEncoder(
            folder,
            name=name,
            revision=revision,
            threads=settings.threads,
            options=reference.options,
        )
    from ragcore.encoders.text import SentenceTransformerEncoder

    return SentenceTransformerEncoder(
        folder,
        name=name,
        revision=revision,
        placement=place(settings),
        options=reference.options,
    )


def _make_image_text_encoder(reference: ModelRef, settings: Settings) -> ImageTextEncoder:
    from ragcore.encoders.image_text import OpenClipEncoder

    name = reference.name
    if (entry := find_entry(name)).provider == "hub":  # open_clip code knows hub models by id
        name = f"hub:{entry.repo}" + (f"@{entry.revision}" if entry.revision else "")
    try:
        return OpenClipEncoder(name, settings=settings, **reference.options)
    except TypeError as error:
        raise UsageError(f"{reference.name}: {first_line(error)}") from error


def _make_reranker(reference: ModelRef, settings: Settings) -> Reranker:
    folder = WeightStore(settings).ensure(reference.name)
    if reference.kind == "onnx":
        from ragcore.encoders.onnx import OnnxReranker

        return OnnxReranker(
            folder, name=reference.name, threads=settings.threads, options=reference.options
        )
    from ragcore.encoders.device import place
    from ragcore.encoders.reranker import CrossEncoderReranker

    return CrossEncoderReranker(
        folder, name=reference.name, placement=place(settings), options=reference.options
    )


def space_prefix(name: str) -> str:
    """The part of a space's name before "@": a hub model's own name, a local folder's name."""
    if name.startswith("local:"):
        return name.rstrip("/").rpartition("/")[2].removeprefix("local:") or "local"
    return name.removeprefix("hub:").partition("@")[0]


def _bytes(model: Any) -> int:
    memory = getattr(model, "memory", None)
    return int(memory()) if callable(memory) else 0
