"""Images and texts into one space with any open_clip model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from ragcore.encoders.clip_models import STARTER, ClipSource, LoadedClip, find_clip, load_clip
from ragcore.encoders.options import may_be_quick
from ragcore.encoders.quick_text import are_few
from ragcore.encoders.zero_shot import ZeroShotCalibration, parse_calibration, text_weights
from ragcore.errors import UsageError
from ragcore.models import ModelMemory, Space, Weights, folder_bytes, module_bytes, pick_device
from ragcore.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image

    from ragcore.encoders.starter_text import StarterText
    from ragcore.types import FloatArray

Backend = Literal["auto", "torch", "openvino"]


class OpenClipEncoder:
    """An `ImageTextEncoder` over an open_clip model.

    `model` is a name as `ragcore.encoders.clip_models.find_clip` takes it. On a GPU the model
    runs in half precision (bfloat16 or float16) and channels-last; on a CPU in float32, its
    image tower through OpenVINO where that is installed (`backend="auto"`), which gives the
    same vectors several times faster. Images are resized in threads while the model works
    on the batch before. One object may be used from several threads.

    >>> encoder = OpenClipEncoder("starter-clip")            # doctest: +SKIP
    >>> encoder.encode_texts(["a dog on a beach"]).shape     # doctest: +SKIP
    (1, 512)

    Raises UsageError for an unknown model, ModelUnavailable where its weights cannot be had,
    RagcoreError if a GPU is asked for (`settings.device = "cuda"`) and there is none.
    """

    def __init__(
        self,
        model: str = STARTER,
        *,
        settings: Settings | None = None,
        batch_size: int = 0,
        backend: Backend = "auto",
        loaded: LoadedClip | None = None,
        memory: ModelMemory | None = None,
    ) -> None:
        if batch_size < 0:
            raise UsageError("batch_size must be 1 or more (0: chosen by the device)")
        self._name = model
        self._settings = settings or Settings()
        self._batch_size = batch_size
        self._backend = backend
        self._given = loaded
        memory = memory or ModelMemory()
        self.weights: Weights[_Parts] = memory.weights(
            self._load,
            part="image_text_encoder",
            name=model,
            device=self._device,
            size=self._expected_bytes,
            measure=_Parts.bytes,
        )
        # the text side alone, without torch: a search by words needs no image tower
        self._text_weights: Weights[StarterText] = memory.weights(
            self._load_texts,
            part="image_text_encoder",
            name=model,
            precision="float32 (numpy, texts only)",
            measure=lambda text: text.bytes,
        )

    @cached_property
    def source(self) -> ClipSource:
        return find_clip(self._name, settings=self._settings)

    @property
    def space(self) -> Space:
        source = self.source
        return Space(f"{source.name}@{source.revision}", "image", source.dimension)

    @property
    def batch_size(self) -> int:
        """Images a step; on a CPU small batches keep the activations in its caches."""
        return self._batch_size or (16 if self._device() == "cpu" else 256)

    @property
    def runs_on(self) -> str:
        """What runs where, for `ragcore doctor`: for example "cpu float32 (openvino)"."""
        self.warm_up()
        return f"{self.weights.device} {self.weights.precision}"

    @property
    def logit_scale(self) -> float:
        """The inverse temperature that the model was trained with (for probabilities)."""
        model: Any = self.network
        return float(model.logit_scale.detach().exp())

    @property
    def network(self) -> Any:
        """The model itself, in torch, whatever runs the image tower: gradients go through it."""
        with self.weights.lease() as parts:
            return parts.loaded.model

    @cached_property
    def calibration(self) -> ZeroShotCalibration:
        """How cosines become label probabilities: the folder's zero_shot.json, if it has one."""
        folder = self.source.folder
        path = folder / "zero_shot.json" if folder and not self._given else None
        if path is not None and path.is_file():
            return parse_calibration(json.loads(path.read_text("utf-8")))
        return ZeroShotCalibration(1 / self.logit_scale)

    def warm_up(self) -> None:
        """Load the weights now instead of at first use."""
        with self.weights.lease():
            pass

    def encode_images(self, images: Sequence[Image]) -> FloatArray:
        """Return float32 [n, d], L2-normalized. Other modes than RGB are converted."""
        import numpy as np

        if not images:
            return np.zeros((0, self.space.dimension), np.float32)
        with self.weights.lease() as parts:
            batches = self._batches(images, parts.loaded.preprocess)
            vectors = [parts.embed(batch) for batch in batches]
        return _normalized(np.concatenate(vectors))

    def prepare(self, images: Sequence[Image]) -> list[torch.Tensor]:
        """The model's input batches [b, 3, h, w] for images, as `encode_prepared` takes them."""
        with self.weights.lease() as parts:
            return list(self._batches(images, parts.loaded.preprocess))

    def encode_prepared(self, batches: Sequence[torch.Tensor]) -> FloatArray:
        """As `encode_images`, from prepared batches: the bare model, for measuring."""
        import numpy as np

        with self.weights.lease() as parts:
            return _normalized(np.concatenate([parts.embed(batch) for batch in batches]))

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 [n, d], L2-normalized. Longer texts than the model takes are cut."""
        import numpy as np

        if not texts:
            return np.zeros((0, self.space.dimension), np.float32)
        if self._name == STARTER and not self._given and not self.weights.loaded:
            quick = may_be_quick(self._settings) and are_few(texts)
        else:
            quick = False
        vectors = self._quick_vectors(texts) if quick else self._text_vectors(texts)
        factors = text_weights(texts, self.calibration)
        if factors is not None:
            vectors = _normalized(vectors) * factors
        return _normalized(vectors)

    def _quick_vectors(self, texts: Sequence[str]) -> FloatArray:
        with self._text_weights.lease() as text:
            return text.encode(texts)

    def _text_vectors(self, texts: Sequence[str]) -> FloatArray:
        """Float32 [n, d], not normalized."""
        import numpy as np
        import torch

        # batches of like lengths: less padding; results go back to the order given
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = np.empty((len(texts), self.space.dimension), np.float32)
        step = max(64, self.batch_size)
        with self.weights.lease() as parts, torch.inference_mode():
            model: Any = parts.loaded.model
            for start in range(0, len(order), step):
                chosen = order[start : start + step]
                ids = parts.trim(parts.loaded.tokenize([texts[i] for i in chosen]))
                out = model.encode_text(ids.to(parts.device))
                vectors[chosen] = out.float().cpu().numpy()
        return vectors

    def _batches(
        self, images: Sequence[Image], preprocess: Callable[[Image], torch.Tensor]
    ) -> Iterator[torch.Tensor]:
        """Batches [b, 3, h, w], the next one prepared in threads while one is being used."""
        import torch

        size = self.batch_size
        with ThreadPoolExecutor(max_workers=2 if self._device() == "cpu" else 8) as pool:

            def prepare(start: int) -> list[Future[torch.Tensor]]:
                chosen = images[start : start + size]
                return [pool.submit(lambda im: preprocess(_rgb(im)), image) for image in chosen]

            ahead = prepare(0)
            for start in range(size, len(images) + size, size):
                current, ahead = ahead, prepare(start)
                yield torch.stack([future.result() for future in current])

    def _device(self) -> str:
        return pick_device(self._settings)

    def _load_texts(self) -> StarterText:
        from ragcore.encoders.starter_clip import load_starter_text

        return load_starter_text(self._settings)

    def _load(self) -> _Parts:
        self._text_weights.unload()  # their work is done from here on
        loaded = self._given or load_clip(self._name, settings=self._settings)
        parts = _Parts(loaded, self._settings, self._backend, self._ir_name)
        precision = str(parts.dtype).removeprefix("torch.")
        self.weights.precision = f"{precision} ({'openvino' if parts.compiled else 'torch'})"
        return parts

    def _expected_bytes(self) -> int:
        folder = None if self._given else self.source.folder
        return folder_bytes(folder) if folder is not None else 0

    @property
    def _ir_name(self) -> str:
        return "" if self._given else f"{self.source.name}@{self.source.revision}"


class _Parts:
    """What is in memory once the model is loaded."""

    def __init__(self, loaded: LoadedClip, settings: Settings, backend: str, ir: str) -> None:
        import torch

        self.loaded = loaded
        self.device = pick_device(settings)
        self.dtype = _precision(settings, self.device)
        if settings.threads and self.device == "cpu":
            torch.set_num_threads(settings.threads)
        model: Any = loaded.model
        model.to(self.device, self.dtype, memory_format=torch.channels_last)
        self.compiled: Callable[[np.ndarray], np.ndarray] | None = None
        if self.device == "cpu" and self.dtype == torch.float32 and backend != "torch":
            from ragcore.encoders import clip_openvino

            visual: Any = loaded.model.visual
            self.compiled = clip_openvino.compile_image_tower(
                visual,
                size=image_size(visual),
                settings=settings,
                name=ir,
                required=backend == "openvino",
            )

    def bytes(self) -> int:
        """Of the model, and of the compiled copy of its image tower."""
        model: Any = self.loaded.model
        return module_bytes(model) + (module_bytes(model.visual) if self.compiled else 0)

    def embed(self, batch: torch.Tensor) -> FloatArray:
        import torch

        if self.compiled is not None:
            return self.compiled(batch.numpy())
        model: Any = self.loaded.model
        with torch.inference_mode():
            batch = batch.to(self.device, self.dtype, memory_format=torch.channels_last)
            out: FloatArray = model.encode_image(batch).float().cpu().numpy()
        return out

    def trim(self, ids: torch.Tensor) -> torch.Tensor:
        """Drop all-padding columns where attention is masked (transformers' text towers)."""
        from ragcore.encoders.starter_clip import trim

        config: Any = getattr(getattr(self.loaded.model, "text", None), "config", None)
        pad = getattr(config, "pad_token_id", None)
        return ids if pad is None else trim(ids, pad)


def image_size(visual: Any) -> tuple[int, int]:
    """Height and width in pixels that an open_clip image tower takes."""
    size = getattr(visual, "image_size", 224)
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _precision(settings: Settings, device: str) -> torch.dtype:
    import torch

    if settings.precision != "auto":
        dtype: torch.dtype = getattr(torch, settings.precision)
        return dtype
    # convolutions gain nothing from bfloat16 on CPUs
    return torch.float16 if device == "cuda" else torch.float32


def _rgb(image: Image) -> Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _normalized(vectors: FloatArray) -> FloatArray:
    import numpy as np

    vectors = vectors.astype(np.float32, copy=False)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: FloatArray = vectors / np.maximum(lengths, 1e-12)
    return unit
