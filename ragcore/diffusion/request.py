"""What can be asked of the image maker: plain data, checked before any model is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ragcore.diffusion.conditions import CONDITIONS
from ragcore.errors import UsageError

ImageInput = str | Path | bytes

SAMPLERS = ("dpm++", "ddim", "euler")
MOST_STEPS = 1000
MOST_COUNT = 64
MOST_SCALE = 30.0  # classifier-free guidance beyond this only saturates colors
MOST_GUIDANCE = 1000.0
MOST_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class GuidanceRequest:
    """`kind` "class" with a class's name, or "text" with words; the gradient times `scale`."""

    kind: str
    name: str
    scale: float

    def __post_init__(self) -> None:
        if self.kind not in ("class", "text"):
            raise UsageError(
                f"unknown guidance {self.kind!r}: use class:NAME:SCALE or text:WORDS:SCALE"
            )
        if not self.name.strip():
            raise UsageError(
                f"the {self.kind} guidance has no {'name' if self.kind == 'class' else 'words'}"
            )
        _finite("the guidance scale", self.scale, 0.0)

    @classmethod
    def parse(cls, text: str) -> GuidanceRequest:
        """From `class:NAME:SCALE` or `text:WORDS:SCALE`; NAME and WORDS may hold colons."""
        kind, _, rest = text.partition(":")
        name, colon, scale = rest.rpartition(":")
        if not colon or not name:
            raise UsageError(f"guidance {text!r}: write class:NAME:SCALE or text:WORDS:SCALE")
        return cls(kind.strip(), name.strip(), _number(scale, f"guidance {text!r}: the scale"))

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{self.scale:g}"


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """An image that a ControlNet follows.

    The condition of that `kind` is taken from the image, unless `ready` says that it is one
    already. `weight` multiplies the ControlNet's outputs; it works from `start` to `end`,
    fractions of the steps.
    """

    kind: str
    image: ImageInput = field(repr=False)
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    ready: bool = False

    def __post_init__(self) -> None:
        if self.kind not in CONDITIONS:
            raise UsageError(f"unknown condition {self.kind!r}: use one of {', '.join(CONDITIONS)}")
        _finite("a control's weight", self.weight, 0.0)
        if self.weight > 10:
            raise UsageError(f"a control's weight must be at most 10, not {self.weight:g}")
        if not 0 <= self.start < self.end <= 1:
            raise UsageError(
                f"a control works from START to END with 0 <= START < END <= 1, "
                f"not {self.start:g}-{self.end:g}"
            )

    @classmethod
    def parse(cls, text: str, *, ready: bool = False) -> ControlRequest:
        """From `KIND:FILE[:WEIGHT[:START-END]]`; FILE may hold colons."""
        kind, _, rest = text.partition(":")
        if not rest:
            raise UsageError(f"control {text!r}: write KIND:FILE[:WEIGHT[:START-END]]")
        file, weight, start, end = rest, 1.0, 0.0, 1.0
        first, colon, last = file.rpartition(":")
        if colon and first and "-" in last and _is_number(last.partition("-")[0]):
            start = _number(last.partition("-")[0], f"control {text!r}: START")
            end = _number(last.partition("-")[2], f"control {text!r}: END")
            file = first
            first, colon, last = file.rpartition(":")
            if not colon or not _is_number(last):
                raise UsageError(f"control {text!r}: give the weight before START-END")
        if colon and first and _is_number(last):
            weight, file = float(last), first
        path = Path(file).expanduser()
        if not path.is_file():
            raise UsageError(f"control {kind}: no such file: {path}")
        return cls(kind.strip(), path, weight, start, end, ready)


@dataclass(frozen=True, slots=True)
class LoraRequest:
    """A low-rank adapter of the denoiser: a .safetensors file and how much it counts."""

    path: Path
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight) or abs(self.weight) > 10:
            raise UsageError(f"a LoRA's weight must be from -10 to 10, not {self.weight}")

    @classmethod
    def parse(cls, text: str) -> LoraRequest:
        """From `FILE[:WEIGHT]`; FILE may hold colons."""
        file, colon, last = text.rpartition(":")
        weighted = bool(colon) and bool(file) and _is_number(last)
        path = Path(file if weighted else text).expanduser()
        if not path.is_file():
            raise UsageError(f"LoRA: no such file: {path}")
        return cls(path, float(last) if weighted else 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagineRequest:
    """What to make. Only what differs from the model's usual needs to be given.

    `style` is one of the model's. `seed` None draws one; image number i of `count` has the
    seed `seed + i`. `size` is pixels a side, 0 the model's own. `scale` is that of
    classifier-free guidance: 0 ignores the prompt, 1 takes it as it is. With `start_image`
    sampling starts from it, noised by `strength` (0 keeps it, 1 forgets it). `guess` lets the
    controls work without a prompt. `loras` go with models of the Stable Diffusion family.

    Raises UsageError for values that cannot be.
    """

    prompt: str = ""
    negative: str = ""
    style: str = ""
    seed: int | None = None
    steps: int = 25
    size: int = 0
    count: int = 1
    scale: float = 3.0
    sampler: str = "dpm++"
    start_image: ImageInput | None = field(default=None, repr=False)
    strength: float = 0.6
    guidance: Sequence[GuidanceRequest] = ()
    controls: Sequence[ControlRequest] = ()
    guess: bool = False
    loras: Sequence[LoraRequest] = ()

    def __post_init__(self) -> None:
        _whole("steps", self.steps, 1, MOST_STEPS)
        _whole("count", self.count, 1, MOST_COUNT)
        if self.size:
            _whole("size", self.size, 1, 4096)
        if self.seed is not None:
            _whole("seed", self.seed, 0, MOST_SEED)
        _finite("scale", self.scale, 0.0)
        _finite("strength", self.strength, 0.0)
        if self.strength > 1:
            raise UsageError(f"strength must be from 0 to 1, not {self.strength:g}")
        if self.sampler not in SAMPLERS:
            raise UsageError(f"unknown sampler {self.sampler!r}: use {', '.join(SAMPLERS)}")
        for name in ("prompt", "negative", "style"):
            text = getattr(self, name)
            if not isinstance(text, str) or "\0" in text or len(text) > 2000:
                raise UsageError(f"{name} must be a text of at most 2,000 characters")


def limited(value: float, most: float, what: str, notes: list[str]) -> float:
    """`value`, at most `most`; what was cut is said in `notes`."""
    if value <= most:
        return value
    notes.append(f"{what} {value:g} was cut to {most:g}, the most that has any use")
    return most


def _finite(name: str, value: float, least: float) -> None:
    if not isinstance(value, int | float) or not math.isfinite(value) or value < least:
        raise UsageError(f"{name} must be a number of at least {least:g}, not {value}")


def _whole(name: str, value: int, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UsageError(f"{name} must be a whole number from {least} to {most:,}, not {value}")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _number(text: str, what: str) -> float:
    if not _is_number(text):
        raise UsageError(f"{what} is not a number: {text!r}")
    return float(text)
