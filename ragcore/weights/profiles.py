"""Profiles: named sets of models, as TOML (ragcore/weights/profiles/ or a file of the user's).

name = "mine"
[text_encoder]
weights = "hub:BAAI/bge-small-en-v1.5"     # or a registry name, or "local:FOLDER"
kind = "sentence-transformers"
options = { query_prompt = "query: " }
passage_tokens = 300                       # left out: what the model reads, up to 476
[reranker]
weights = "ms-marco-minilm-l12"
kind = "onnx"
search = false                             # only for answers, and for `search --rerank`
optional = true                            # go without it where it cannot be fetched
[llm]
weights = "local:~/models/mine.gguf"
kind = "llama.cpp"
[llm.otherwise]                            # where that one cannot be had or run
weights = "smollm2-135m-instruct"
kind = "transformers"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ragcore import extensions
from ragcore.errors import UsageError
from ragcore.renamed import with_current_names
from ragcore.weights.registry import find_entry

if TYPE_CHECKING:
    from ragcore.extensions import Group
    from ragcore.settings import Settings

# The registry's group in which each part's kind is looked up.
GROUPS: Mapping[str, Group] = MappingProxyType(
    {
        "text_encoder": "text_encoders",
        "image_text_encoder": "image_text_encoders",
        "reranker": "rerankers",
        "span_reader": "span_readers",
        "llm": "llms",
        "vision_llm": "llms",
        "transcriber": "transcribers",
        "diffusion": "diffusers",
    }
)
_DEPRECATED = {"picture_llm": "vision_llm"}  # earlier names of tables
# Kinds of what a diffusion model uses.
_HELPERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"controlnet": ("diffusers",), "condition": ("depth-estimation", "pose-estimation")}
)


@dataclass(frozen=True, slots=True)
class ModelRef:
    """One model of a profile: weights by `name`, run by `kind`, with that kind's `options`.

    `also` are further weights that it uses, such as an LLM's adapters; `passage_tokens` is how
    long the passages are that a text encoder is to be given (0: what it reads); `otherwise` is
    the model to take where this one cannot be had. A reranker that is not `for_search` reranks
    searches only where they ask for it; without one that is `optional`, everything works.
    """

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    group: Group | None = field(default=None, compare=False)  # of the registry
    passage_tokens: int = 0
    otherwise: ModelRef | None = None
    for_search: bool = True
    optional: bool = False

    @property
    def needs_weights(self) -> bool:
        """Whether `name` names weights; else it is any name, for example a server's model."""
        return bool(self._declared("needs_weights", True))

    @property
    def extra(self) -> str:
        """The extra of ragcore that runs it; empty: none is needed, or it is a plug-in's affair."""
        return str(self._declared("extra", ""))

    def _declared(self, name: str, default: Any) -> Any:
        """What its kind's factory says of itself."""
        if self.group is None:
            return default
        return getattr(extensions.find(self.group, self.kind).load(), name, default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A named set of models. A part that is None is switched off."""

    name: str
    description: str = ""
    text_encoder: ModelRef | None = None
    image_text_encoder: ModelRef | None = None
    reranker: ModelRef | None = None
    span_reader: ModelRef | None = None
    llm: ModelRef | None = None
    vision_llm: ModelRef | None = None
    transcriber: ModelRef | None = None
    diffusion: ModelRef | None = None
    controlnets: Mapping[str, ModelRef] = field(default_factory=dict)  # by condition
    conditions: Mapping[str, ModelRef] = field(default_factory=dict)  # what takes them, likewise

    def parts(self) -> Iterator[tuple[str, ModelRef]]:
        """Every model with its part's name ("controlnet.canny", "condition.depth")."""
        for part in GROUPS:
            reference = getattr(self, part)
            if reference is not None:
                yield part, reference
        for condition, reference in self.controlnets.items():
            yield f"controlnet.{condition}", reference
        for condition, reference in self.conditions.items():
            yield f"condition.{condition}", reference


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")
    weights: str
    kind: str
    options: dict[str, Any] = {}
    also: list[str] = []


class _TextEncoder(_Model):
    passage_tokens: int = Field(default=0, ge=0, le=8192)


class _Reranker(_Model):
    search: bool = True
    optional: bool = False


class _LLM(_Model):
    otherwise: _Model | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    description: str = ""
    text_encoder: _TextEncoder | None = None
    image_text_encoder: _Model | None = None
    reranker: _Reranker | None = None
    span_reader: _Model | None = None
    llm: _LLM | None = None
    vision_llm: _Model | None = None
    transcriber: _Model | None = None
    diffusion: _Model | None = None
    controlnets: dict[str, _Model] = {}
    conditions: dict[str, _Model] = {}

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, values: Any) -> Any:
        return with_current_names(values, _DEPRECATED, "the profile's table")


def profile_names() -> list[str]:
    """The profiles that come with ragcore."""
    folder = resources.files("ragcore.weights").joinpath("profiles")
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name != "__init__.py")


def load_profile(settings: Settings) -> Profile:
    """The profile that `settings.profile` names: one of ours, or the path of a TOML file.

    Raises UsageError for an unknown profile, key, kind or weights.
    """
    chosen = settings.profile
    if chosen in profile_names():
        resource = resources.files("ragcore.weights").joinpath("profiles", f"{chosen}.toml")
        return parse_profile(resource.read_text("utf-8"), where=f"profile {chosen}")
    path = Path(chosen).expanduser()
    if path.suffix != ".toml":
        known = ", ".join(profile_names())
        raise UsageError(f"unknown profile {chosen!r}: use {known} or the path of a TOML file")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"profile {path} cannot be read: {error}") from error
    return parse_profile(text, where=str(path), base=path.absolute().parent)


def parse_profile(text: str, *, where: str, base: Path | None = None) -> Profile:
    """A profile from TOML text. `base` is what relative "local:" folders are relative to."""
    try:
        file = _File.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise UsageError(f"{where}: {_first_problem(error)}") from error

    def reference(part: str, model: _Model | None) -> ModelRef | None:
        return None if model is None else _reference(part, model, where, base)

    def by_condition(part: str, models: dict[str, _Model]) -> Mapping[str, ModelRef]:
        found = {kind: _reference(part, model, where, base) for kind, model in models.items()}
        return MappingProxyType(found)

    return Profile(
        name=file.name,
        description=file.description,
        text_encoder=reference("text_encoder", file.text_encoder),
        image_text_encoder=reference("image_text_encoder", file.image_text_encoder),
        reranker=reference("reranker", file.reranker),
        span_reader=reference("span_reader", file.span_reader),
        llm=reference("llm", file.llm),
        vision_llm=reference("vision_llm", file.vision_llm),
        transcriber=reference("transcriber", file.transcriber),
        diffusion=reference("diffusion", file.diffusion),
        controlnets=by_condition("controlnet", file.controlnets),
        conditions=by_condition("condition", file.conditions),
    )


def _reference(part: str, model: _Model, where: str, base: Path | None) -> ModelRef:
    group = GROUPS.get(part)
    kinds = extensions.names(group) if group else _HELPERS[part]
    if model.kind not in kinds:
        known = ", ".join(kinds)
        raise UsageError(f"{where}: {part} has unknown kind {model.kind!r}: use {known}")
    name, also = _absolute(model.weights, base), tuple(_absolute(one, base) for one in model.also)
    other = model.otherwise if isinstance(model, _LLM) else None
    reference = ModelRef(
        name,
        model.kind,
        MappingProxyType(model.options),
        also,
        group,
        model.passage_tokens if isinstance(model, _TextEncoder) else 0,
        None if other is None else _reference(part, other, where, base),
        model.search if isinstance(model, _Reranker) else True,
        isinstance(model, _Reranker) and model.optional,
    )
    try:
        for weights in (name, *also):
            find_entry(weights)
    except UsageError as error:
        try:
            needed = reference.needs_weights
        except extensions.ExtensionError:  # reported when the model is requested: the others work
            return reference
        if needed:
            raise UsageError(f"{where}: {part}: {error}") from error
    return reference


def _absolute(name: str, base: Path | None) -> str:
    if base is None or not name.startswith("local:"):
        return name
    return f"local:{base / Path(name.removeprefix('local:')).expanduser()}"


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}"
    return f"{key}: {problem['msg'][0].lower()}{problem['msg'][1:]}"
