"""What makes ragcore's own language and vision models; registered as entry points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import ModelUnavailable, UsageError
from ragcore.models import LLM, ModelContext, VisionLLM, needs_extra, no_weights
from ragcore.weights import ModelRef

if TYPE_CHECKING:
    from ragcore.llm.llamacpp import LlamaCppLLM
    from ragcore.llm.transformers_llm import TransformersLLM


def transformers(
    reference: ModelRef, options: Mapping[str, Any], context: ModelContext
) -> TransformersLLM:
    """A chat model of transformers in this process, with LoRA adapters."""
    from ragcore.llm.adapters import AdapterStore
    from ragcore.llm.transformers_llm import TransformersLLM

    folder = context.folder(reference.name)
    try:
        return TransformersLLM(
            folder,
            name=reference.name,
            placement=context.placement(),
            adapters=AdapterStore(context.settings).find,
            memory=context.memory,
            **options,
        )
    except TypeError as error:  # an option that it does not take
        raise UsageError(f"llm {reference.name}: {error}") from error


@needs_extra("llamacpp")
def llama_cpp(
    reference: ModelRef, options: Mapping[str, Any], context: ModelContext
) -> LlamaCppLLM:
    """A GGUF model in this process, run by llama.cpp, with LoRA adapters."""
    from ragcore.llm.adapters import AdapterStore
    from ragcore.llm.llamacpp import LlamaCppLLM
    from ragcore.llm.llamacpp_server import has_gpu

    settings = context.settings
    if settings.device == "cuda" and not has_gpu():
        raise UsageError(
            "device is set to cuda and this build of xllamacpp has no GPU: install one with CUDA "
            "from https://xorbitsai.github.io/xllamacpp/whl, or set RAGCORE_DEVICE=auto"
        )
    chosen = {"threads": settings.threads, **options}
    try:
        return LlamaCppLLM(
            context.folder(reference.name, file=str(options.get("file", ""))),
            name=_shown(reference.name),
            cache=settings.weights_cache / ".gguf-adapters",
            adapters=AdapterStore(settings).find,
            gpu=settings.device != "cpu",
            memory=context.memory,
            **chosen,
        )
    except TypeError as error:  # an option that it does not take
        raise UsageError(f"llm {reference.name}: {error}") from error


@no_weights
def openai(reference: ModelRef, options: Mapping[str, Any], context: ModelContext) -> LLM:
    """A chat model behind OpenAI's protocol; with the option images it reads images, too."""
    from ragcore.llm.openai_llm import OpenAILLM
    from ragcore.llm.served_vision import OpenAIVisionLLM

    return _served(reference, options, OpenAIVisionLLM, OpenAILLM)


@no_weights
def ollama(reference: ModelRef, options: Mapping[str, Any], context: ModelContext) -> LLM:
    """A chat model of Ollama; with the option images it reads images, too."""
    from ragcore.llm.ollama_llm import OllamaLLM
    from ragcore.llm.served_vision import OllamaVisionLLM

    return _served(reference, options, OllamaVisionLLM, OllamaLLM)


def _served(
    reference: ModelRef, options: Mapping[str, Any], vision: type[LLM], words: type[LLM]
) -> LLM:
    chosen = dict(options)
    made: Any = vision if chosen.pop("images", False) else words
    try:
        llm: LLM = made(model=reference.name, **chosen)
    except TypeError as error:  # an option that it does not take, or no url
        raise UsageError(f"llm {reference.name}: {error}") from error
    return llm


def projector(reference: ModelRef, options: Mapping[str, Any], context: ModelContext) -> VisionLLM:
    """A language model that reads images through a projector of ours."""
    from ragcore.encoders import TOWER, GridEncoder
    from ragcore.llm.projector import read_config
    from ragcore.llm.vision_llm import ProjectedLLM

    _no_options(reference, options)
    folder = context.folder(reference.name)
    config, name = read_config(folder), _shown(reference.name)
    if config.tower != TOWER:
        raise ModelUnavailable(f"{name} reads images by {config.tower}; ragcore has {TOWER}")
    memory = context.memory
    encoder = GridEncoder(config.side, settings=context.settings, memory=memory)
    llm = _base_of(config.base, context)
    return ProjectedLLM(folder, name=name, llm=llm, encoder=encoder, memory=memory)


def image_text_to_text(
    reference: ModelRef, options: Mapping[str, Any], context: ModelContext
) -> VisionLLM:
    """A vision-language model in the hub's layout."""
    from ragcore.llm.hub_vision import HubVisionLLM

    try:
        return HubVisionLLM(
            context.folder(reference.name),
            name=_shown(reference.name),
            placement=context.placement(),
            memory=context.memory,
            **options,
        )
    except TypeError as error:  # an option that it does not take
        raise UsageError(f"vision_llm {reference.name}: {error}") from error


def _base_of(name: str, context: ModelContext) -> TransformersLLM:
    """The language model under a projector: the profile's where it is the same one."""
    from ragcore.llm.transformers_llm import TransformersLLM

    if context.models.profile.llm is not None and context.models.llm_reference.name == name:
        llm = context.models.llm()
        if isinstance(llm, TransformersLLM):
            return llm
    path = Path(name).expanduser()
    reference = f"local:{path.absolute()}" if (path / "config.json").is_file() else name
    base: TransformersLLM = context.make("llms", ModelRef(reference, "transformers"), part="llm")
    return base


def _shown(name: str) -> str:
    return Path(name).name if name.startswith("local:") else name


def _no_options(reference: ModelRef, options: Mapping[str, Any]) -> None:
    if options:
        raise UsageError(f"{reference.name}: a model of kind {reference.kind} takes no options")
