"""The language model of the chosen profile, made once per process and shared."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import ModelUnavailable, UsageError
from ragcore.weights import ModelRef, WeightStore, load_profile, refuse_remote_code

if TYPE_CHECKING:
    from ragcore.llm.base import LLM
    from ragcore.llm.picture_llm import PictureLLM
    from ragcore.llm.transformers_llm import TransformersLLM
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
    options = repr(sorted(reference.options.items()))
    key = (reference.name, reference.kind, options, *_where(settings))
    with _lock:
        if key not in _made:
            _made[key] = _make(reference, settings)
        llm: LLM = _made[key]
        return llm


def _where(settings: Settings) -> tuple[str, ...]:
    """What of the settings makes a model another one in memory."""
    return (
        str(settings.home),
        str(settings.weights_cache),
        f"{settings.device} {settings.precision} {settings.threads}",
    )


def load_picture_llm(settings: Settings, model: str = "") -> PictureLLM:
    """The profile's model for questions about pictures, or the one that `model` names.

    `model` is a name of the weights registry, "hub:OWNER/NAME", "local:FOLDER" or a folder: with
    a projector of ours, or a vision-language model in the hub's layout. Errors as `load_llm`.
    """
    reference = load_profile(settings).picture_llm
    if model:
        reference = _named_picture_llm(model, settings)
    if reference is None:
        raise UsageError(
            f"profile {settings.profile} has no model for questions about pictures; name one"
        )
    profile = load_profile(settings).name
    key = ("picture", reference.name, reference.kind, profile, *_where(settings))
    with _lock:
        if key not in _made:
            _made[key] = _make_picture_llm(reference, settings)
        llm: PictureLLM = _made[key]
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
        refuse_remote_code(path, name)
        return path
    if path.is_absolute() or name.startswith("."):
        raise UsageError(f"{name} holds no model (config.json is missing)")
    return WeightStore(settings).ensure(name)


def _named_picture_llm(model: str, settings: Settings) -> ModelRef:
    path = Path(model.removeprefix("local:")).expanduser()
    if path.is_dir():
        refuse_remote_code(path, str(path))
        name = f"local:{path.absolute()}"
        kind = "projector" if (path / "projector.json").is_file() else "image-text-to-text"
        return ModelRef(name, kind)
    if model.startswith(("local:", ".", "/", "~")):
        raise UsageError(f"no such folder: {path}")
    folder = WeightStore(settings).ensure(model)
    projector = (folder / "projector.json").is_file()
    return ModelRef(model, "projector" if projector else "image-text-to-text")


def _make_picture_llm(reference: ModelRef, settings: Settings) -> PictureLLM:
    from ragcore.encoders.device import place

    folder = WeightStore(settings).ensure(reference.name)
    shown = Path(reference.name).name if reference.name.startswith("local:") else reference.name
    if reference.kind == "image-text-to-text":
        from ragcore.llm.hub_vision import HubVisionLLM

        return HubVisionLLM(folder, name=shown, placement=place(settings))
    from ragcore.encoders.grid import TOWER, GridEncoder
    from ragcore.llm.picture_llm import ProjectedLLM
    from ragcore.llm.projector import read_config

    config = read_config(folder)
    if config.tower != TOWER:
        raise ModelUnavailable(f"{shown} reads pictures by {config.tower}; ragcore has {TOWER}")
    encoder = GridEncoder(config.side, settings=settings)
    return ProjectedLLM(folder, name=shown, llm=_base_of(config.base, settings), encoder=encoder)


def _base_of(name: str, settings: Settings) -> TransformersLLM:
    """The language model under a projector: the profile's where it is the same one."""
    from ragcore.llm.transformers_llm import TransformersLLM

    chosen = load_profile(settings).llm
    if chosen is not None and chosen.kind == "transformers" and chosen.name == name:
        llm = load_llm(settings)
        assert isinstance(llm, TransformersLLM)
        return llm
    path = Path(name).expanduser()
    reference = f"local:{path.absolute()}" if (path / "config.json").is_file() else name
    key = ("base", reference, str(settings.home), f"{settings.device} {settings.precision}")
    with _lock:
        if key not in _made:
            _made[key] = _make(ModelRef(reference, "transformers"), settings)
        made: TransformersLLM = _made[key]
        return made


def _make(reference: ModelRef, settings: Settings) -> Any:
    options = dict(reference.options)
    if reference.kind == "openai":
        from ragcore.llm.openai_llm import OpenAILLM

        try:
            return OpenAILLM(model=reference.name, **options)
        except TypeError as error:  # an option that it has not, or no url
            raise UsageError(f"llm {reference.name}: {error}") from error
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
