"""The composition root: makes, shares, lists and unloads every model of a process."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ragcore import extensions
from ragcore.errors import ModelUnavailable, UsageError
from ragcore.models.contracts import (
    LLM,
    ImageTextEncoder,
    Reranker,
    SpanReader,
    TextEncoder,
    Transcriber,
    VisionLLM,
)
from ragcore.models.memory import ModelMemory, device_budget
from ragcore.models.preparation import Preparation, Preparing
from ragcore.settings import Settings
from ragcore.weights import (
    ModelRef,
    Profile,
    WeightStatus,
    WeightStore,
    load_profile,
    profile_names,
    refuse_remote_code,
)

if TYPE_CHECKING:
    from ragcore.extensions import Group
    from ragcore.models.device import Family, Placement

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One model in memory. `bytes` counts its weights."""

    part: str
    name: str
    device: str
    precision: str
    bytes: int


@dataclass(frozen=True, slots=True)
class ModelContext:
    """What a model's factory is given besides its reference and options.

    `part` is the profile's part that is being made ("text_encoder", "llm"); `models` makes the
    other models that this one needs; weights that should share the device's memory with the
    others are made by `memory.weights`.
    """

    settings: Settings
    models: Models
    part: str

    @property
    def memory(self) -> ModelMemory:
        return self.models.memory

    def folder(self, name: str, *, file: str = "") -> Path:
        """The folder of the weights called `name`; they are fetched now if they are missing.

        `name` is one of the weights registry, "hub:OWNER/NAME" or "local:FOLDER"
        ("local:FILE.gguf": that file itself). `file` is the only one wanted of a model of the
        hub. Raises UsageError for an unknown name, ModelUnavailable if the weights cannot be
        fetched.
        """
        return WeightStore(self.settings).ensure(name, file=file)

    def revision(self, name: str) -> str:
        """Eight hex digits that identify the content of these weights, for names of spaces."""
        return WeightStore(self.settings).revision(name)

    def make(self, group: Group, reference: ModelRef, *, part: str) -> Any:
        """Another model that this one needs, shared by all that need it as `part`.

        Raises UsageError for an unknown kind, an option that its factory does not take, or a
        factory whose object does not fulfill the contract.
        """
        return self.models._make(group, reference, part=part)

    def placement(self, family: Family = "transformer") -> Placement:
        """Device, precision and threads for a model of this family. Raises UsageError."""
        from ragcore.models.device import place

        return place(self.settings, family)


def needs_extra(extra: str) -> Callable[[F], F]:
    """Decorates a factory whose models run only where this extra of ragcore is installed."""

    def declare(factory: F) -> F:
        factory.extra = extra  # type: ignore[attr-defined]
        return factory

    return declare


def no_weights(factory: F) -> F:
    """Decorates a factory whose models need no weights of the registry: servers, and programs.

    The profile's `weights` is then any name, for example the model's name on its server.
    """
    factory.needs_weights = False  # type: ignore[attr-defined]
    return factory


class Models:
    """The models of one settings' profile, made when first asked for and shared. Thread safe.

    Everything that needs a model asks here: one object for each reference and options, however
    many ask at once. Weights load at first use and give way to each other as `ModelMemory` says.

    Example:
        >>> models = Models(Settings())                                  # doctest: +SKIP
        >>> models.text_encoder().encode(["wing flutter"]).shape         # doctest: +SKIP
        (1, 384)
    """

    def __init__(
        self, settings: Settings | None = None, *, memory: ModelMemory | None = None
    ) -> None:
        """`memory` replaces the one whose budgets follow from the settings."""
        self.settings = settings or Settings()
        self.memory = memory or ModelMemory(lambda device: device_budget(device, self.settings))
        self._shared = _Shared()
        self._preparing = Preparing(self)
        self._without_reranker = False

    # --- the profile's models ------------------------------------------------------

    @cached_property
    def profile(self) -> Profile:
        """Raises UsageError for an unknown or wrong profile."""
        return load_profile(self.settings)

    def text_encoder(self) -> TextEncoder:
        """The profile's text encoder; its weights are fetched now if they are missing.

        Raises UsageError if the profile has none, ModelUnavailable if the weights cannot be
        fetched.
        """
        reference = self._required(self.profile.text_encoder, "text encoder")
        encoder: TextEncoder = self._make("text_encoders", reference, part="text_encoder")
        return encoder

    def image_text_encoder(self) -> ImageTextEncoder:
        """The profile's image-text encoder. Errors as for `text_encoder`."""
        reference = self._required(self.profile.image_text_encoder, "image-text encoder")
        encoder: ImageTextEncoder = self._make(
            "image_text_encoders", reference, part="image_text_encoder"
        )
        return encoder

    def reranker(self) -> Reranker | None:
        """The profile's reranker.

        None where it has none, or an optional one cannot be fetched, which is logged once. Raises
        ModelUnavailable if the weights of another cannot.
        """
        reference = self.profile.reranker
        if reference is None or self._without_reranker:
            return None
        try:
            reranker: Reranker = self._make("rerankers", reference, part="reranker")
        except ModelUnavailable as error:
            if not reference.optional:
                raise
            self._without_reranker = True
            log.warning("going on without %s, an optional model: %s", reference.name, error)
            return None
        return reranker

    def span_reader(self) -> SpanReader | None:
        """The profile's extractive reader; None where it has none.

        Raises ModelUnavailable if its weights cannot be fetched.
        """
        reference = self.profile.span_reader
        if reference is None:
            return None
        reader: SpanReader = self._make("span_readers", reference, part="span_reader")
        return reader

    def llm(self) -> LLM:
        """The profile's LLM, or the one that it names for where that cannot be had.

        Errors as for `text_encoder`.
        """
        llm: LLM = self._make("llms", self.llm_reference, part="llm")
        return llm

    @cached_property
    def llm_reference(self) -> ModelRef:
        """Which LLM the profile means on this machine; its weights are fetched now if need be."""
        reference = self._required(self.profile.llm, "LLM")
        if reference.otherwise is None:
            return reference
        return WeightStore(self.settings).fetch(reference)

    def vision_llm(self, name: str = "") -> VisionLLM:
        """The profile's model for questions about images, or the one that `name` names.

        `name` is one of the weights registry, "hub:OWNER/NAME", "local:FOLDER" or a folder: a
        projector of ours, or a vision-language model in the hub's layout. A profile without such
        a part uses its LLM if that is a VisionLLM. Errors as for `text_encoder`.
        """
        reference = self._named_vision_llm(name) if name else self.profile.vision_llm
        if reference is None:
            if self.profile.llm is not None and isinstance(llm := self.llm(), VisionLLM):
                return llm
            raise UsageError(
                f"profile {self.settings.profile} has no model for questions about images; name one"
            )
        vision: VisionLLM = self._make("llms", reference, part="vision_llm")
        return vision

    def transcriber(self) -> Transcriber | None:
        """The profile's transcriber of speech; None where it has none.

        Raises ModelUnavailable if its weights cannot be fetched.
        """
        reference = self.profile.transcriber
        if reference is None:
            return None
        transcriber: Transcriber = self._make("transcribers", reference, part="transcriber")
        return transcriber

    def diffuser(self) -> Any:
        """The profile's diffusion model, a `ragcore.diffusion.Diffuser`.

        Its weights load at the first image. Errors as for `text_encoder`.
        """
        reference = self.profile.diffusion
        if reference is None:
            raise UsageError(
                f"profile {self.settings.profile} makes no images: choose one with a diffusion "
                "model"
            )
        return self._make("diffusers", reference, part="diffusion")

    # --- any model -----------------------------------------------------------------

    def _make(self, group: Group, reference: ModelRef, *, part: str) -> Any:
        """The shared object for a reference, made by the factory registered under its kind."""
        options = repr(sorted(reference.options.items()))
        key = (group, part, reference.name, reference.kind, options, reference.also)

        def build() -> Any:
            extension = extensions.find(group, reference.kind)
            context = ModelContext(self.settings, self, part)
            made = extension.load()(reference, reference.options, context)
            contract = VisionLLM if part == "vision_llm" else _CONTRACTS.get(group)
            if contract is not None and (missing := _missing(made, contract)):
                raise UsageError(
                    f"{group} {reference.kind!r} of {extension.package} made a "
                    f"{type(made).__name__}, which has no {missing}: it is no {contract.__name__}"
                )
            return made

        return self._shared.get(key, build)

    def share(self, key: Hashable, build: Callable[[], T]) -> T:
        """What `build` makes, once for each key: parts that several models use."""
        made: T = self._shared.get(key, build)
        return made

    # --- memory --------------------------------------------------------------------

    def loaded(self) -> list[LoadedModel]:
        """The models whose weights are in memory now, the least recently used first."""
        found = [
            LoadedModel(weights.part, weights.name, weights.device, weights.precision, size)
            for weights in self.memory.loaded()
            if (size := weights.bytes)
        ]
        return found

    def unload(self, name: str | None = None) -> int:
        """Unload the model called `name`, or all, unless in use; return how many were unloaded.

        They load again when they are needed.
        """
        self._preparing.reset()
        return self.memory.unload(name)

    def close(self) -> None:
        """Unload everything that is not in use."""
        self.memory.unload()

    # --- fetching and loading before the first use ------------------------------------

    @property
    def preparation(self) -> Preparation:
        return self._preparing.state

    @property
    def damaged_weights(self) -> tuple[str, ...]:
        """Weights that the check after the start found to differ from their checksums."""
        return self._preparing.damaged

    def prepare(self) -> Preparation:
        """Fetch and load the search models in the background; a second call does nothing.

        After a failure the next call tries again.
        """
        return self._preparing.start()

    def profiles(self) -> list[str]:
        """The profiles that come with ragcore."""
        return profile_names()

    def weights(self) -> list[WeightStatus]:
        """Every known set of weights with its state, size and license."""
        return WeightStore(self.settings).status()

    def process_memory(self) -> int:
        """Bytes of memory that this process and its readers use."""
        import psutil

        process = psutil.Process()
        total = int(process.memory_info().rss)
        for child in process.children(recursive=True):
            try:
                total += int(child.memory_info().rss)
            except psutil.Error:  # it ended meanwhile
                continue
        return total

    def device(self) -> dict[str, str | int | float | bool]:
        """Device, precision and why; raises UsageError if the settings ask for what is missing."""
        from ragcore.models.device import describe

        return describe(self.settings)

    def _required(self, reference: ModelRef | None, what: str) -> ModelRef:
        if reference is None:
            raise UsageError(f"profile {self.settings.profile} has no {what}")
        return reference

    def _named_vision_llm(self, name: str) -> ModelRef:
        path = Path(name.removeprefix("local:")).expanduser()
        if path.is_dir():
            refuse_remote_code(path, str(path))
            name, folder = f"local:{path.absolute()}", path
        elif name.startswith(("local:", ".", "/", "~")):
            raise UsageError(f"no such folder: {path}")
        else:
            folder = WeightStore(self.settings).ensure(name)
        projector = (folder / "projector.json").is_file()
        return ModelRef(name, "projector" if projector else "image-text-to-text")


class _Shared:
    """One object for each key, built once however many threads ask for it at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._building: dict[Hashable, threading.RLock] = {}
        self._built: dict[Hashable, Any] = {}

    def get(self, key: Hashable, build: Callable[[], Any]) -> Any:
        with self._lock:
            if key in self._built:
                return self._built[key]
            own = self._building.setdefault(key, threading.RLock())
        with own:
            if key not in self._built:
                self._built[key] = build()
            return self._built[key]


_CONTRACTS: dict[str, type] = {
    "text_encoders": TextEncoder,
    "image_text_encoders": ImageTextEncoder,
    "rerankers": Reranker,
    "span_readers": SpanReader,
    "llms": LLM,
    "transcribers": Transcriber,
}


def _missing(made: Any, contract: type) -> str:
    """The first member of the contract that an object lacks.

    No property is evaluated: some load weights.
    """
    absent = object()
    for name in vars(contract):
        if not name.startswith("_") and inspect.getattr_static(made, name, absent) is absent:
            return name
    return ""
