"""The image maker: a request in, progress with previews, images with their recipe out."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ragcore.diffusion import request as asked
from ragcore.diffusion.base import Diffuser, LoraDiffuser
from ragcore.diffusion.hub_conditions import ConditionModels
from ragcore.diffusion.images import as_png, recipe_of, square
from ragcore.diffusion.request import GuidanceRequest, ImagineRequest
from ragcore.errors import Cancelled, RagcoreError, UsageError
from ragcore.types import CancelToken

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from ragcore.diffusion.guidance import ClipView
    from ragcore.diffusion.sampling import ControlInput, DenoisingPlan, Guidance

    Pixels = NDArray[np.uint8]

NO_CLIP = "text guidance need an image-text encoder, and the profile has none"
NO_LORA = "{} takes no LoRA: Stable Diffusion does"
_LOOK_EVERY = 0.2  # seconds between two looks at a token while another image is made
_LARGEST = 4  # times the side of the training images
ClipSource = Callable[[], "AbstractContextManager[tuple[ClipView, Callable[[str], Tensor]]]"]


@dataclass(frozen=True, slots=True)
class ImagineStep:
    """One step is done. `preview` is RGB uint8 [n, h, w, 3], decoded only where wanted."""

    number: int
    total: int
    preview: Pixels | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """A PNG with its recipe as a text chunk; `recipe` is the same as plain values."""

    png: bytes = field(repr=False)
    seed: int
    recipe: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Imagined:
    """What came out. `notes` say what was cut to a limit; `conditions` are PNGs, as used."""

    images: tuple[GeneratedImage, ...]
    model: str
    seconds: float
    steps: int
    notes: tuple[str, ...] = ()
    conditions: tuple[bytes, ...] = field(default=(), repr=False)


class Imaginer:
    """Makes images with a `Diffuser`. Safe to use from several threads at once.

    `clip` leases the image tower and the text encoder of CLIP guidance while they are needed;
    without it text guidance is refused. `conditions` are models that take conditions from images.

    Example:
        >>> imaginer = Imaginer(model)                                   # doctest: +SKIP
        >>> made = imaginer.imagine(ImagineRequest(prompt="red apple"))  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Diffuser,
        *,
        clip: ClipSource | None = None,
        conditions: ConditionModels | None = None,
        max_megapixels: int = 100,
    ) -> None:
        self.model = model
        self.max_megapixels = max_megapixels  # of images that are given
        self._clip = clip
        self.conditions = conditions or ConditionModels()

    @property
    def styles(self) -> tuple[str, ...]:
        """Words that can be given as a request's style."""
        return self.model.card.styles

    @property
    def class_names(self) -> list[str]:
        """Names that class guidance takes."""
        return self.model.classifier.class_names

    def check(self, request: ImagineRequest) -> int:
        """Raise now what `imagine` would raise before its first step: errors as for `stream`.

        Returns the images' size, in pixels a side.
        """
        job = _Job(self, request, self._clip, None, ExitStack())
        for one in request.guidance:
            if one.kind == "class":
                self.model.classifier.class_rows(one.name)
            elif job.clip is None:
                raise UsageError(NO_CLIP)
        if request.loras and not isinstance(self.model, LoraDiffuser):
            raise UsageError(NO_LORA.format(self.model.card.name))
        return job.size

    def imagine(
        self,
        request: ImagineRequest,
        *,
        on_step: Callable[[ImagineStep], None] | None = None,
        preview_every: int = 0,
        cancel: CancelToken | None = None,
    ) -> Imagined:
        """Make the request's images. Errors as for `stream`."""
        for event in self.stream(request, preview_every=preview_every, cancel=cancel):
            if isinstance(event, Imagined):
                return event
            if on_step is not None:
                on_step(event)
        raise RagcoreError("no image was made")  # never: the stream ends with one

    def stream(
        self,
        request: ImagineRequest,
        *,
        preview_every: int = 0,
        cancel: CancelToken | None = None,
    ) -> Iterator[ImagineStep | Imagined]:
        """Every step as it is done, at last the images.

        Raises UsageError for a wrong size, style, class or control, UnreadableFile for a broken
        image, ModelUnavailable where a network is missing, Cancelled between two steps.
        """
        began = time.monotonic()
        with self.model.in_use(), ExitStack() as leases:
            job = _Job(self, request, self._clip, cancel, leases)
            with loras_on(self.model, request, cancel):
                yield from job.run(preview_every)
                made = job.result(began)
        yield made


@contextmanager
def loras_on(
    model: Diffuser, request: ImagineRequest, cancel: CancelToken | None = None
) -> Iterator[None]:
    """Within the block the model has the request's LoRA weights on, and nobody else's.

    Raises UsageError for a model that takes none, or a file that does not fit, Cancelled while
    another image has the model.
    """
    if not isinstance(model, LoraDiffuser):
        if request.loras:
            raise UsageError(NO_LORA.format(model.card.name))
        yield
        return
    while not model.exclusive.acquire(timeout=_LOOK_EVERY):
        if cancel is not None and cancel.cancelled:
            raise Cancelled("cancelled before the first step")
    try:
        model.set_loras([(lora.path, lora.weight) for lora in request.loras])
        yield
    finally:
        model.exclusive.release()


class _Job:
    """One request on its way: everything is checked before the first step."""

    def __init__(
        self,
        maker: Imaginer,
        request: ImagineRequest,
        clip: ClipSource | None,
        cancel: CancelToken | None,
        leases: ExitStack,
    ) -> None:
        model = maker.model
        self.model, self.clip, self.cancel, self._leases = model, clip, cancel, leases
        self._extract = maker.conditions.extract
        self._square = partial(square, max_megapixels=maker.max_megapixels)
        self.notes: list[str] = []
        self.size = _checked_size(model, request.size)
        self.style = _checked_style(model, request.style)
        seed = secrets.randbelow(2**31) if request.seed is None else request.seed
        self.request = replace(request, seed=seed, style=self.style)
        self.seeds = [(seed + number) % (asked.MOST_SEED + 1) for number in range(request.count)]
        start = request.start_image
        self.start = None if start is None else self._square(start, self.size, "start image")
        self.conditions = [self._condition(control) for control in request.controls]
        self.scale = asked.limited(request.scale, asked.MOST_SCALE, "scale", self.notes)
        self.latents: Tensor | None = None

    def run(self, preview_every: int) -> Iterator[ImagineStep]:
        import torch

        from ragcore.diffusion.sampling import denoise

        model, request = self.model, self.request
        scheduler = model.scheduler(request.sampler)
        scheduler.set_timesteps(request.steps)
        plan = self._plan(scheduler)
        with torch.no_grad():
            latents, timesteps = self._begin(scheduler)
        if not len(timesteps):
            self.latents = latents
            return
        for step in denoise(model.denoiser, scheduler, latents, timesteps, plan):
            self.latents = step.latents
            wanted = preview_every and step.number % preview_every == 0 and step.number < step.total
            preview = self._decoded(step.clean) if wanted else None
            yield ImagineStep(step.number, step.total, preview)

    def result(self, began: float) -> Imagined:
        assert self.latents is not None
        pixels = self._decoded(self.latents)
        made = []
        for seed, image in zip(self.seeds, pixels, strict=True):
            recipe = recipe_of(
                self.request,
                seed=seed,
                size=self.size,
                model=self.model.card.name,
                start=self.start,
                conditions=self.conditions,
            )
            made.append(GeneratedImage(as_png(image, recipe), seed, recipe))
        return Imagined(
            images=tuple(made),
            model=self.model.card.name,
            seconds=round(time.monotonic() - began, 3),
            steps=self.request.steps,
            notes=tuple(self.notes),
            conditions=tuple(as_png(condition) for condition in self.conditions),
        )

    def _plan(self, scheduler: Any) -> DenoisingPlan:
        from ragcore.diffusion.sampling import DenoisingPlan

        request, count = self.request, self.request.count
        prompt = ", ".join(part for part in (request.prompt.strip(), self.style) if part)
        embeddings = self.model.embed_prompts([prompt, request.negative.strip()], self.size)
        return DenoisingPlan(
            prompt=embeddings.repeated(0, count),
            empty=embeddings.repeated(1, count),
            scale=self.scale,
            guidance=[self._guidance(one, scheduler) for one in request.guidance],
            controls=self._controls(),
            guess=request.guess,
            cancel=self.cancel,
        )

    def _begin(self, scheduler: Any) -> tuple[Tensor, Any]:
        """Noise (each image's from its own seed), or the noised start image; timesteps."""
        import torch

        from ragcore.diffusion.networks import as_tensor

        autoencoder = self.model.autoencoder
        side = self.size // autoencoder.factor
        shape = (1, autoencoder.channels, side, side)
        rng = [torch.Generator().manual_seed(seed) for seed in self.seeds]
        noise = torch.cat([torch.randn(shape, generator=one) for one in rng])
        noise = noise.to(self.model.device, self.model.dtype)
        timesteps = scheduler.timesteps
        if self.start is None:
            return noise * scheduler.init_noise_sigma, timesteps
        start = as_tensor(self.start[None]).to(self.model.device, self.model.dtype)
        clean = autoencoder.encode(start)
        clean = clean.expand(len(noise), -1, -1, -1)
        skipped = len(timesteps) - round(len(timesteps) * self.request.strength)
        timesteps = timesteps[skipped * getattr(scheduler, "order", 1) :]
        if not len(timesteps):
            self.notes.append("a strength this low leaves the start image as it is")
            return clean, timesteps
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(skipped)
        first = timesteps[:1].repeat(len(noise))
        return scheduler.add_noise(clean, noise, first), timesteps

    def _guidance(self, wanted: GuidanceRequest, scheduler: Any) -> Guidance:
        from ragcore.diffusion import guidance

        what = f"{wanted.kind}:{wanted.name}"
        scale = asked.limited(wanted.scale, asked.MOST_GUIDANCE, f"the scale of {what}", self.notes)
        if wanted.kind == "class":
            classifier = self.model.classifier
            return guidance.ClassifierGuidance(
                classifier, [classifier.class_rows(wanted.name)], scale
            )
        if self.clip is None:
            raise UsageError(NO_CLIP)
        view, encode = self._leases.enter_context(self.clip())
        return guidance.ClipGuidance(
            view,
            encode(wanted.name),
            self.model.autoencoder.decode,
            scheduler.alphas_cumprod.sqrt(),
            scale,
            seed=self.seeds[0],
        )

    def _condition(self, control: asked.ControlRequest) -> Pixels:
        if control.kind not in self.model.control_kinds:
            self.model.controlnet(control.kind)  # raises, naming those there are
        pixels = self._square(control.image, self.size, f"control {control.kind}")
        return pixels if control.ready else self._extract(control.kind, pixels)

    def _controls(self) -> list[ControlInput]:
        import torch

        from ragcore.diffusion.sampling import ControlInput

        inputs = []
        for control, pixels in zip(self.request.controls, self.conditions, strict=True):
            condition = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
            batch = condition.expand(self.request.count, -1, -1, -1).to(
                self.model.device, self.model.dtype
            )
            network = self.model.controlnet(control.kind)
            inputs.append(ControlInput(network, batch, control.weight, control.start, control.end))
        return inputs

    def _decoded(self, latents: Tensor) -> Pixels:
        import torch

        from ragcore.diffusion.networks import as_pixels

        with torch.no_grad():
            return as_pixels(self.model.autoencoder.decode(latents).cpu())


def _checked_size(model: Diffuser, size: int) -> int:
    """The side in pixels. Raises UsageError unless the networks can make it."""
    if not size:
        return model.card.size
    step, most = model.size_step, _LARGEST * model.card.size
    if size % step or not 2 * step <= size <= most:
        raise UsageError(
            f"{model.card.name} makes images of {2 * step} to {most} pixels a side in steps of "
            f"{step} (best {model.card.size}), not {size}"
        )
    return size


def _checked_style(model: Diffuser, style: str) -> str:
    wanted = " ".join(style.lower().replace("_", " ").split()).removesuffix(" style")
    if not wanted:
        return ""
    for known in model.card.styles:
        if known.removesuffix(" style") == wanted:
            return known
    names = ", ".join(known.removesuffix(" style") for known in model.card.styles)
    raise UsageError(f"unknown style {style!r}: {model.card.name} has {names}")
