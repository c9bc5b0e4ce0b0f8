"""`ragcore tune clip`: contrastive training of any open_clip model."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.datasets import Captioned, caption_recall
from ragcore.encoders import STARTER
from ragcore.errors import Cancelled
from ragcore.tuning.clip import batches as clip_batches
from ragcore.tuning.clip import losses as clip_losses
from ragcore.tuning.clip import start as clip_start
from ragcore.tuning.clip import towers as clip_towers
from ragcore.tuning.clip.data import Pairs, training_images
from ragcore.tuning.clip.recipe import ClipRecipe
from ragcore.tuning.recipe import read_recipe
from ragcore.tuning.run_folder import RunFolder
from ragcore.tuning.trainer import Average, Trainer, TrainingPlan, half_cosine, warm_up
from ragcore.types import CancelToken, ProgressCallback

if TYPE_CHECKING:
    from torch import Tensor

    from ragcore.settings import Settings


@dataclass(frozen=True, slots=True)
class ClipReport:
    """What a run did. `metrics` are those of the kept weights on dev; `start` before training."""

    model: str
    output: str
    epochs: int
    steps: int
    best_epoch: int
    metrics: Mapping[str, float]
    start: Mapping[str, float]
    seconds: float
    trained_weights: int
    stopped_early: bool = False
    resumed: bool = False


def tune_clip(
    recipe: str | Path | ClipRecipe,
    *,
    settings: Settings,
    pairs: Pairs | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    resume: bool = True,
) -> ClipReport:
    """Train as the recipe says; write the log, curves, checkpoint and model into its `output`.

    `pairs` of (image's path or bytes, caption or captions) take the place of the recipe's
    training data, for example those of a collection. The kept weights are those of the best
    evaluation on dev (mean of all six recalls). A run that was stopped goes on from its last
    finished epoch unless `resume` is False.

    Raises UsageError for a wrong recipe or data, or a checkpoint of another recipe; Cancelled
    if `cancel` was set (the last finished epoch is kept).
    """
    read = read_recipe(recipe, ClipRecipe)
    run = _ClipRun(read, settings, pairs, progress, cancel)
    return run.train(resume)


class _ClipRun(Trainer):
    """One training run: model, data, optimizer."""

    def __init__(
        self,
        recipe: ClipRecipe,
        settings: Settings,
        pairs: Pairs | None,
        progress: ProgressCallback | None,
        cancel: CancelToken | None,
    ) -> None:
        import torch

        from ragcore.models import place

        folder = RunFolder(recipe.path(recipe.output))
        self.recipe, self.settings = recipe, settings
        self.train_items, self.dev_items = training_images(recipe, settings, pairs)
        self.per_epoch = max(1, len(self.train_items) // self._batch_size)
        plan = TrainingPlan(steps=recipe.epochs * self.per_epoch, key=recipe.key())
        super().__init__(plan, folder, progress=progress, cancel=cancel)
        self.device = place(settings, "convolution").device
        self.loaded = clip_start.load_start(recipe, settings)
        self.model: Any = self.loaded.model
        self.chosen = clip_towers.set_trainable(self.model, recipe)
        clip_start.set_apart(self.loaded, recipe, True)
        self.members = clip_start.members(recipe)
        self.model.to(self.device)
        self.use(
            torch.optim.AdamW(
                list(clip_towers.decay_groups(self.chosen, recipe.weight_decay)),
                lr=recipe.learning_rate,
                betas=(0.9, 0.98),
            )
        )
        if recipe.average:
            self.average = Average([p for _, p in self.chosen], recipe.average)
        self.best_weights = _detached(self.chosen)
        self.best, self.best_epoch = -1.0, 0
        self.start: dict[str, float] = {}  # scores before the first step
        self.metrics: dict[str, float] = {}
        self.total = 0.0  # of the epoch's losses

    @property
    def _batch_size(self) -> int:
        return min(self.recipe.batch_size, len(self.train_items))

    def train(self, resume: bool) -> ClipReport:
        if not resume:
            self.folder.clear()
        resumed = self.resume()
        self.train_set, self.dev_set = self._inputs()
        if not self.start:
            self.start = self._evaluate()
            self.folder.log(step=0, epoch=0, **self.start)
        self.run()
        output = self._save()
        return ClipReport(
            model=self.recipe.model,
            output=str(output),
            epochs=self.epoch,
            steps=self.step,
            best_epoch=self.best_epoch,
            metrics=self.metrics,
            start=self.start,
            seconds=round(self.seconds, 1),
            trained_weights=sum(p.numel() for _, p in self.chosen),
            stopped_early=self.epoch < self.recipe.epochs,
            resumed=resumed,
        )

    @property
    def epoch(self) -> int:
        """Epochs that are finished."""
        return self.step // self.per_epoch

    def _inputs(self) -> tuple[clip_batches.Inputs, clip_batches.Inputs]:
        from ragcore.encoders import image_size

        recipe, size = self.recipe, image_size(self.model.visual)
        if not recipe.cache_features:

            def pixels(items: Sequence[Captioned]) -> clip_batches.PixelInputs:
                return clip_batches.PixelInputs(
                    items,
                    self.loaded,
                    size,
                    recipe.augment,
                    self.device,
                    recipe.workers,
                    recipe.seed,
                )

            return pixels(self.train_items), pixels(self.dev_items)
        cache = clip_batches.FeatureCache(
            self.loaded,
            clip_towers.split_towers(self.model),
            self.settings,
            self.folder.path,
            recipe.features_key(),
            size,
            recipe.augment,
            recipe.seed,
            recipe.workers,
            self.progress,
            self.cancel,
        )
        dropout = recipe.feature_dropout
        return (
            cache.inputs("train", self.train_items, views=recipe.cache_views, dropout=dropout),
            cache.inputs("dev", self.dev_items, views=1, dropout=dropout),
        )

    def done(self) -> float:
        """1 as well where no evaluation was better for too long."""
        waited = (self.epoch - self.best_epoch) // self.recipe.eval_every
        stopped = bool(self.recipe.patience) and waited >= self.recipe.patience
        return 1.0 if stopped else super().done()

    def rate(self) -> float:
        """Linear warm-up, then a half cosine to zero."""
        return warm_up(self.step, self.recipe.warmup_steps) * half_cosine(
            self.step / self.plan.steps
        )

    def _begin_epoch(self) -> None:
        self.rng = random.Random(f"{self.recipe.seed} {self.epoch}")
        self.order = list(range(len(self.train_items)))
        self.rng.shuffle(self.order)
        clip_towers.freeze_statistics(self.model)
        self.total = 0.0

    def backward(self) -> float:
        index = self.step % self.per_epoch
        if not index:
            self._begin_epoch()
        rows = self.order[index * self._batch_size : (index + 1) * self._batch_size]
        picks = [self.rng.randrange(len(self.train_items[row].captions)) for row in rows]
        data = self.train_set
        if isinstance(data, clip_batches.PixelInputs):
            data.step = self.step
        size = self.recipe.micro_batch or len(rows)
        chunks = [slice(start, start + size) for start in range(0, len(rows), size)]

        def images(part: int) -> Tensor:
            with self._autocast():
                return _unit(data.images(rows[chunks[part]], random_views=True))

        def texts(part: int) -> Tensor:
            with self._autocast():
                return _unit(data.texts(rows[chunks[part]], picks[chunks[part]]))

        if len(chunks) == 1:
            loss = self._loss(images(0), texts(0))
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            loss = clip_losses.cached_gradients([images, texts], len(chunks), self._loss)
        value = float(loss.detach())
        self.total += value
        return value

    def after_update(self) -> None:
        import torch

        super().after_update()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))

    def _loss(self, images: Tensor, texts: Tensor) -> Tensor:
        if self.members > 1:
            pairs = zip(images.chunk(self.members, -1), texts.chunk(self.members, -1), strict=True)
            losses = [self._pair_loss(_unit(one), _unit(other)) for one, other in pairs]
            total: Tensor = sum(losses[1:], losses[0])
            return total / self.members
        return self._pair_loss(images, texts)

    def _pair_loss(self, images: Tensor, texts: Tensor) -> Tensor:
        scale = self.model.logit_scale.exp()
        if self.recipe.loss == "siglip":
            return clip_losses.siglip_loss(images, texts, scale, self.model.logit_bias)
        return clip_losses.clip_loss(images, texts, scale, smoothing=self.recipe.label_smoothing)

    def _autocast(self) -> Any:
        import torch

        # bfloat16's range makes a gradient scaler unnecessary
        return torch.autocast("cuda", torch.bfloat16) if self.device == "cuda" else nullcontext()

    def after_step(self) -> None:
        """At the end of an epoch: log, evaluate, keep the best, write the checkpoint."""
        if self.step % self.per_epoch:
            return
        recipe, epoch = self.recipe, self.epoch
        row: dict[str, Any] = {"step": self.step, "epoch": epoch}
        row["loss"] = round(self.total / self.per_epoch, 5)
        row["learning_rate"] = recipe.learning_rate * self.rate()
        row["logit_scale"] = float(self.model.logit_scale.detach().exp())
        if epoch % recipe.eval_every == 0 or epoch == recipe.epochs:
            with self.by_the_clock(), _swapped(self.chosen, self.average):
                metrics = self._evaluate()
                if (score := sum(metrics.values())) > self.best:
                    self.best, self.best_epoch, self.metrics = score, epoch, metrics
                    self.best_weights = _detached(self.chosen)
            row |= metrics
        self.folder.log(**row)
        self.save()

    def _evaluate(self) -> dict[str, float]:
        """Recalls on dev, both ways."""
        import torch

        data = self.dev_set
        self.model.eval()
        size = 64 if not self.recipe.cache_features else 1024
        pairs = [(i, c) for i, item in enumerate(self.dev_items) for c in range(len(item.captions))]
        rows = range(len(self.dev_items))
        with torch.inference_mode():
            images = torch.cat(
                [_unit(data.images(part, False)).cpu() for part in _parts(rows, size)]
            )
            texts = torch.cat(
                [
                    _unit(data.texts([i for i, _ in part], [c for _, c in part])).cpu()
                    for part in _parts(pairs, size)
                ]
            )
        owner = [i for i, _ in pairs]
        return caption_recall(images.cpu().numpy(), texts.cpu().numpy(), owner)

    # --- what is stored ---

    def stop(self) -> None:
        """Steps of an epoch that is not finished are not kept."""
        raise Cancelled(f"cancelled after {self.epoch} epochs, which are kept")

    def state(self) -> dict[str, Any]:
        import torch

        return {
            "weights": _detached(self.chosen),
            "average": self.average.values if self.average else None,
            "best_weights": self.best_weights,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "start": self.start,
            "metrics": self.metrics,
            "random": torch.get_rng_state(),
        }

    def load_state(self, saved: Mapping[str, Any]) -> None:
        import torch

        with torch.no_grad():
            for name, parameter in self.chosen:
                parameter.copy_(saved["weights"][name])
        if self.average:
            self.average.values = [value.to(self.device) for value in saved["average"]]
        self.best_weights = saved["best_weights"]
        self.best, self.best_epoch = saved["best"], saved["best_epoch"]
        self.start, self.metrics = saved["start"], saved["metrics"]
        torch.set_rng_state(saved["random"])

    def _save(self) -> Path:
        import torch

        with torch.no_grad():
            for name, parameter in self.chosen:
                parameter.copy_(self.best_weights[name])
        if self.recipe.mode == "lora":
            clip_towers.merge_lora(self.model)
        if self.recipe.model == STARTER:
            clip_start.finish_starter(self.loaded, self.train_set, len(self.train_items))
        clip_start.set_apart(self.loaded, self.recipe, False)
        recalls = {way: [f"{way}@{k}" for k in (1, 5, 10)] for way in ("t2i", "i2t")}
        self.folder.draw_curves({"loss": ["loss"], **recalls})
        weights = {name: value.detach().cpu() for name, value in self.model.state_dict().items()}
        return clip_start.save_model(self.folder.path / "model", self.loaded, weights, self.recipe)


def _detached(chosen: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in chosen}


@contextmanager
def _swapped(chosen: Sequence[tuple[str, Any]], average: Average | None) -> Iterator[None]:
    """Within the block the weights have their averages, if there are any."""
    import torch

    own = [parameter.detach().clone() for _, parameter in chosen] if average else []

    def put(values: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for (_, parameter), value in zip(chosen, values, strict=False):
                parameter.copy_(value)

    put(average.values if average else [])
    try:
        yield
    finally:
        put(own)


def _parts(rows: Sequence[Any], size: int) -> Iterator[Any]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _unit(vectors: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.normalize(vectors.float(), dim=-1)
