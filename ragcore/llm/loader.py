"""The language model of the chosen profile, made once per process and shared."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import UsageError
from ragcore.weights import ModelRef, WeightStore, load_profile

if TYPE_CHECKING:
    from ragcore.llm.base import LLM
    from ragcore.settings import Settings

_made: dict[tuple[str, ...], Any] = {}
_lock = threading.RLock()


def load_llm(settings: Settings) -> LLM:
    """The profile's LLM; weights are fetched now if they are not there, and loaded on first use.

    Raises UsageError if the profile has none, ModelUnavailable if the weights cannot be had.
    """
    reference = load_profile(settings).llm
    if reference is None:
        raise UsageError(f"profile {settings.profile} has no LLM")
    key = (
        reference.name,
        reference.kind,
        repr(sorted(reference.options.items())),
        str(settings.home),
        str(settings.weights_cache),
        f"{settings.device} {settings.precision} {settings.threads}",
    )
    with _lock:
        if key not in _made:
            _made[key] = _make(reference, settings)
        llm: LLM = _made[key]
        return llm


def unload_llms() -> int:
    """Free the memory of all models that nobody is using; returns how many were freed."""
    with _lock:
        return sum(bool(llm.unload()) for llm in _made.values() if hasattr(llm, "unload"))


def loaded_llms() -> list[tuple[str, int]]:
    """(name, bytes of weights) of every LLM in memory."""
    with _lock:
        sizes = [(llm.name, llm.memory()) for llm in _made.values() if hasattr(llm, "memory")]
    return [(name, size) for name, size in sizes if size]


def resolve_model(name: str, settings: Settings) -> Path:
    """The folder of a model given as a path or as a name of the weights registry."""
    path = Path(name).expanduser()
    if (path / "config.json").exists():
        return path
    if path.is_absolute() or name.startswith("."):
        raise UsageError(f"{name} holds no model (config.json is missing)")
    return WeightStore(settings).ensure(name)


def _make(reference: ModelRef, settings: Settings) -> Any:
    options = dict(reference.options)
    if reference.kind == "openai":
        from ragcore.llm.openai_llm import OpenAILLM

        return OpenAILLM(**{"model": reference.name, **options})
    from ragcore.encoders.device import place
    from ragcore.llm.adapters import AdapterStore
    from ragcore.llm.transformers_llm import TransformersLLM

    folder = WeightStore(settings).ensure(reference.name)
    return TransformersLLM(
        folder,
        name=reference.name,
        placement=place(settings),
        adapters=AdapterStore(settings).find,
        **options,
    )
