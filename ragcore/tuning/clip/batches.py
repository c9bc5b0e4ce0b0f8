"""Batches of matching images and captions: from pixels, or from cached tower features."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ragcore.datasets import Captioned
from ragcore.errors import Cancelled
from ragcore.files import atomic_write
from ragcore.tuning.clip.recipe import Augmentation
from ragcore.types import CancelToken, Progress, ProgressCallback

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

    from ragcore.encoders import LoadedClip
    from ragcore.settings import Settings
    from ragcore.tuning.clip.towers import SplitTowers

LOW_SIDES = (32, 40, 48, 64, 96)


class Inputs(Protocol):
    """What the training loop feeds on.

    `images` and `texts` encode rows into vectors [n, d]; `features` gives what the image tower
    makes of them [m, f], in all kept versions.
    """

    def images(self, rows: Sequence[int], random_views: bool) -> Tensor: ...

    def texts(self, rows: Sequence[int], picks: Sequence[int]) -> Tensor: ...

    def features(self, rows: Sequence[int]) -> Tensor: ...


def augment(image: Image, size: tuple[int, int], how: Augmentation, rng: random.Random) -> Image:
    """One random version of an image, `size` (height, width) pixels, RGB."""
    from PIL import Image as Images
    from PIL import ImageEnhance, ImageOps

    height, width = size
    scale = rng.uniform(*how.crop_scale)
    ratio = rng.uniform(0.75, 1.33)
    w = min(image.width, max(1, round((scale * image.width * image.height * ratio) ** 0.5)))
    h = min(image.height, max(1, round((scale * image.width * image.height / ratio) ** 0.5)))
    left, top = rng.randint(0, image.width - w), rng.randint(0, image.height - h)
    box = (left, top, left + w, top + h)
    image = image.resize((width, height), Images.Resampling.BICUBIC, box=box)
    if rng.random() < how.flip:
        image = ImageOps.mirror(image)
    if rng.random() < how.low_resolution:
        side = rng.choice(LOW_SIDES)
        image = image.resize((side, side), Images.Resampling.BICUBIC)
        image = image.resize((width, height), Images.Resampling.BICUBIC)
    if how.jitter:
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            image = enhance(image).enhance(rng.uniform(1 - how.jitter, 1 + how.jitter))
    if rng.random() < how.gray:
        image = ImageOps.grayscale(image).convert("RGB")
    return image


@dataclass(slots=True)
class PixelInputs:
    """Decodes, augments and encodes again at every step."""

    items: Sequence[Captioned]
    loaded: LoadedClip
    size: tuple[int, int]
    how: Augmentation
    device: str
    workers: int
    seed: int
    step: int = 0

    def images(self, rows: Sequence[int], random_views: bool) -> Tensor:
        model: Any = self.loaded.model
        return self._encoded(rows, random_views, model.encode_image)

    def _encoded(
        self, rows: Sequence[int], random_views: bool, encode: Callable[[Tensor], Tensor]
    ) -> Tensor:
        import torch

        def one(row: int) -> Tensor:
            image = self.items[row].open()
            if random_views:
                rng = random.Random(f"{self.seed} {self.step} {row}")
                image = augment(image, self.size, self.how, rng)
            return self.loaded.preprocess(image)

        with ThreadPoolExecutor(self.workers) as pool:
            batch = torch.stack(list(pool.map(one, rows)))
        out: Tensor = encode(batch.to(self.device))
        return out

    def features(self, rows: Sequence[int]) -> Tensor:
        import torch

        model: Any = self.loaded.model
        parts = [rows[start : start + 64] for start in range(0, len(rows), 64)]
        return torch.cat([self._encoded(part, False, model.visual.trunk) for part in parts])

    def texts(self, rows: Sequence[int], picks: Sequence[int]) -> Tensor:
        captions = [self.items[row].captions[pick] for row, pick in zip(rows, picks, strict=True)]
        model: Any = self.loaded.model
        out: Tensor = model.encode_text(self.loaded.tokenize(captions).to(self.device))
        return out


@dataclass(slots=True)
class CachedInputs:
    """Features of frozen towers: images [views, n, f] in half precision, captions [m, w].

    View 0 is the image as it is. `first` is the first caption's row of each image.
    """

    views: torch.Tensor
    captions: torch.Tensor
    first: Sequence[int]
    towers: SplitTowers
    feature_dropout: float = 0.0

    def images(self, rows: Sequence[int], random_views: bool) -> Tensor:
        import torch

        index = torch.as_tensor(rows)
        view = torch.zeros_like(index)
        if random_views:
            view = torch.randint(len(self.views), index.shape)
        features = self.views[view, index].float()
        if random_views and self.feature_dropout:
            features = torch.nn.functional.dropout(features, self.feature_dropout)
        out: Tensor = self.towers.image_head(features)
        return out

    def features(self, rows: Sequence[int]) -> Tensor:
        import torch

        index = torch.as_tensor(list(rows))
        return self.views[:, index].flatten(0, 1).float()

    def texts(self, rows: Sequence[int], picks: Sequence[int]) -> Tensor:
        import torch

        index = torch.as_tensor([self.first[r] + p for r, p in zip(rows, picks, strict=True)])
        features = self.captions[index].float()
        if self.towers.text_head.training and self.feature_dropout:
            features = torch.nn.functional.dropout(features, self.feature_dropout / 2)
        out: Tensor = self.towers.text_head(features)
        return out


@dataclass(slots=True)
class FeatureCache:
    """Runs frozen towers over a set once and keeps the features in `folder`."""

    loaded: LoadedClip
    towers: SplitTowers
    settings: Settings
    folder: Path
    key: str
    size: tuple[int, int]
    how: Augmentation
    seed: int
    workers: int
    progress: ProgressCallback | None = None
    cancel: CancelToken | None = None

    def inputs(
        self, name: str, items: Sequence[Captioned], *, views: int, dropout: float
    ) -> CachedInputs:
        """Features of the set called `name`, read back if they were kept before."""
        import torch
        from safetensors.torch import load_file, save_file

        path = self.folder / f"features-{name}-{self.key}.safetensors"
        if path.is_file():
            stored = load_file(path)
        else:
            stacked = torch.stack([self._view(name, items, view) for view in range(views)])
            stored = {"views": stacked, "captions": self._captions(name, items)}
            with atomic_write(path) as part:
                save_file(stored, part)
        first, total = [], 0
        for item in items:
            first.append(total)
            total += len(item.captions)
        return CachedInputs(stored["views"], stored["captions"], first, self.towers, dropout)

    def _view(self, name: str, items: Sequence[Captioned], view: int) -> torch.Tensor:
        import torch

        run = self._image_body()

        def one(row: int) -> torch.Tensor:
            image = items[row].open()
            if view:
                rng = random.Random(f"{self.seed} {view} {row}")
                image = augment(image, self.size, self.how, rng)
            return self.loaded.preprocess(image)

        features, step = [], 16
        with ThreadPoolExecutor(self.workers) as pool:
            for start in range(0, len(items), step):
                self._report(f"{name} images, view {view}", start, len(items))
                rows = range(start, min(start + step, len(items)))
                features.append(run(torch.stack(list(pool.map(one, rows)))).half())
        return torch.cat(features)

    def _image_body(self) -> Callable[[torch.Tensor], torch.Tensor]:
        import torch

        from ragcore.encoders import clip_openvino

        device = next(self.towers.image_body.parameters()).device
        self.towers.image_body.eval()
        compiled = None
        if device.type == "cpu":
            compiled = clip_openvino.compile_image_tower(
                self.towers.image_body, size=self.size, settings=self.settings
            )
        if compiled is not None:
            fast = compiled
            return lambda batch: torch.from_numpy(fast(batch.numpy()))

        def run(batch: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                out: torch.Tensor = self.towers.image_body(batch.to(device)).cpu()
            return out

        return run

    def _captions(self, name: str, items: Sequence[Captioned]) -> torch.Tensor:
        import torch

        from ragcore.encoders import starter_clip

        texts = [caption for item in items for caption in item.captions]
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        rows: list[torch.Tensor] = [torch.empty(0)] * len(texts)
        model: Any = self.loaded.model
        pad = model.text.config.pad_token_id
        device = next(model.text.parameters()).device
        model.eval()
        with torch.inference_mode():
            for start in range(0, len(order), 256):
                self._report(f"{name} captions", start, len(order))
                chosen = order[start : start + 256]
                ids = starter_clip.trim(self.loaded.tokenize([texts[i] for i in chosen]), pad)
                out = self.towers.text_body(ids.to(device)).half().cpu()
                for index, row in zip(chosen, out, strict=True):
                    rows[index] = row
        return torch.stack(rows)

    def _report(self, stage: str, done: int, total: int) -> None:
        if self.cancel is not None and self.cancel.cancelled:
            raise Cancelled("cancelled while features were being cached: nothing of them is kept")
        if self.progress is not None:
            self.progress(Progress(stage=stage, done=done, total=total))
