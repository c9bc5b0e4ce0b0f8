"""`ragcore tune clip`: contrastive training of any open_clip model."""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.datasets.image_metrics import caption_recall
from ragcore.datasets.image_sets import Captioned
from ragcore.encoders.clip_models import STARTER
from ragcore.errors import Cancelled, UsageError
from ragcore.tuning.clip import batches as clip_batches
from ragcore.tuning.clip import losses as clip_losses
from ragcore.tuning.clip import start as clip_start
from ragcore.tuning.clip import towers as clip_towers
from ragcore.tuning.clip.data import Pairs, training_images
from ragcore.tuning.clip.recipe import ClipRecipe
from ragcore.tuning.recipe import read_recipe
from ragcore.tuning.run_folder import RunFolder
from ragcore.types import CancelToken, Progress, ProgressCallback

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
    run = _Run(read, settings, pairs, progress, cancel)
    return run.train(resume)


@dataclass(slots=True)
class _State:
    """What a checkpoint holds besides tensors."""

    epoch: int = 0
    step: int = 0
    best: float = -1.0
    best_epoch: int = 0
    seconds: float = 0.0
    start: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


class _Run:
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

        from ragcore.models.device import place

        self.recipe, self.settings = recipe, settings
        self.progress, self.cancel = progress, cancel
        self.folder = RunFolder(recipe.path(recipe.output))
        self.train_items, self.dev_items = training_images(recipe, settings, pairs)
        self.device = place(settings, "convolution").device
        self.loaded = clip_start.load_start(recipe, settings)
        self.model: Any = self.loaded.model
        self.chosen = clip_towers.set_trainable(self.model, recipe)
        clip_start.set_apart(self.loaded, recipe, True)
        self.members = clip_start.members(recipe)
        self.model.to(self.device)
        self.optimizer = torch.optim.AdamW(
            list(clip_towers.decay_groups(self.chosen, recipe.weight_decay)),
            lr=recipe.learning_rate,
            betas=(0.9, 0.98),
        )
        self.average = _detached(self.chosen) if recipe.average else None
        self.best_weights = _detached(self.chosen)
        self.state = _State()
        self.per_epoch = max(1, len(self.train_items) // self._batch_size)

    @property
    def _batch_size(self) -> int:
        return min(self.recipe.batch_size, len(self.train_items))

    def train(self, resume: bool) -> ClipReport:
        resumed = self._resume() if resume else False
        if not resumed:
            self.folder.clear()
        train_set, dev_set = self._inputs()
        began, before = time.monotonic(), self.state.seconds
        if not self.state.start:
            self.state.start = self._evaluate(dev_set)
            self.folder.log(step=0, epoch=0, **self.state.start)
        stopped = False
        while self.state.epoch < self.recipe.epochs and not stopped:
            loss = self._epoch(train_set)
            self.state.epoch += 1
            self.state.seconds = before + time.monotonic() - began
            stopped = self._after_epoch(loss, dev_set)
        output = self._save(train_set)
        state = self.state
        return ClipReport(
            model=self.recipe.model,
            output=str(output),
            epochs=state.epoch,
            steps=state.step,
            best_epoch=state.best_epoch,
            metrics=state.metrics,
            start=state.start,
            seconds=round(state.seconds, 1),
            trained_weights=sum(p.numel() for _, p in self.chosen),
            stopped_early=stopped,
            resumed=resumed,
        )

    def _inputs(self) -> tuple[clip_batches.Inputs, clip_batches.Inputs]:
        from ragcore.encoders.image_text import image_size

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

    def _epoch(self, data: clip_batches.Inputs) -> float:
        rng = random.Random(f"{self.recipe.seed} {self.state.epoch}")
        order = list(range(len(self.train_items)))
        rng.shuffle(order)
        clip_towers.freeze_statistics(self.model)
        total = 0.0
        began = time.monotonic()
        for index in range(self.per_epoch):
            self._check_cancel()
            rows = order[index * self._batch_size : (index + 1) * self._batch_size]
            picks = [rng.randrange(len(self.train_items[row].captions)) for row in rows]
            total += self._step(data, rows, picks)
            self._report(index + 1, began)
        return total / self.per_epoch

    def _step(self, data: clip_batches.Inputs, rows: list[int], picks: list[int]) -> float:
        import torch

        rate = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if isinstance(data, clip_batches.PixelInputs):
            data.step = self.state.step
        self.optimizer.zero_grad(set_to_none=True)
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
        self.optimizer.step()
        self._after_step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UsageError("the loss is not finite: lower learning_rate in the recipe")
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))
        return value

    def _after_step(self) -> None:
        import torch

        self.state.step += 1
        if self.average is None:
            return
        # the average warms up, so that the random start is soon forgotten
        decay = min(self.recipe.average, (1 + self.state.step) / (10 + self.state.step))
        with torch.no_grad():
            for name, parameter in self.chosen:
                self.average[name].lerp_(parameter, 1 - decay)

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

    def _learning_rate(self) -> float:
        """Linear warm-up, then a half cosine to zero."""
        step, total = self.state.step, self.recipe.epochs * self.per_epoch
        warm = min(1.0, (step + 1) / (self.recipe.warmup_steps + 1))
        return self.recipe.learning_rate * warm * (1 + math.cos(math.pi * step / total)) / 2

    def _autocast(self) -> Any:
        import torch

        # bfloat16's range makes a gradient scaler unnecessary
        return torch.autocast("cuda", torch.bfloat16) if self.device == "cuda" else nullcontext()

    def _after_epoch(self, loss: float, dev_set: clip_batches.Inputs) -> bool:
        """Log, evaluate, keep the best, write the checkpoint; True if it is time to stop."""
        state, recipe = self.state, self.recipe
        row: dict[str, Any] = {"step": state.step, "epoch": state.epoch, "loss": round(loss, 5)}
        row["learning_rate"] = self._learning_rate()
        row["logit_scale"] = float(self.model.logit_scale.detach().exp())
        if state.epoch % recipe.eval_every == 0 or state.epoch == recipe.epochs:
            with _swapped(self.chosen, self.average):
                metrics = self._evaluate(dev_set)
                if (score := sum(metrics.values())) > state.best:
                    state.best, state.best_epoch, state.metrics = score, state.epoch, metrics
                    self.best_weights = _detached(self.chosen)
            row |= metrics
        self.folder.log(**row)
        self._checkpoint()
        waited = (state.epoch - state.best_epoch) // recipe.eval_every
        return bool(recipe.patience) and waited >= recipe.patience

    def _evaluate(self, data: clip_batches.Inputs) -> dict[str, float]:
        """Recalls on dev, both ways."""
        import torch

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

    def _checkpoint(self) -> None:
        import dataclasses

        self.folder.save_checkpoint(
            {
                "recipe": self.recipe.key(),
                "weights": _detached(self.chosen),
                "average": self.average,
                "best": self.best_weights,
                "optimizer": self.optimizer.state_dict(),
                "random": _random_state(),
                "state": dataclasses.asdict(self.state),
            }
        )

    def _resume(self) -> bool:
        import torch

        saved = self.folder.load_checkpoint()
        if saved is None:
            return False
        if saved["recipe"] != self.recipe.key():
            raise UsageError(
                f"{self.folder.path} holds a run of another recipe: start again, or change output"
            )
        with torch.no_grad():
            for name, parameter in self.chosen:
                parameter.copy_(saved["weights"][name])
        self.average, self.best_weights = saved["average"], saved["best"]
        self.optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["random"])
        self.state = _State(**saved["state"])
        self.folder.truncate_log(self.state.step)
        return True

    def _save(self, data: clip_batches.Inputs) -> Path:
        import torch

        with torch.no_grad():
            for name, parameter in self.chosen:
                parameter.copy_(self.best_weights[name])
        if self.recipe.mode == "lora":
            clip_towers.merge_lora(self.model)
        if self.recipe.model == STARTER:
            clip_start.finish_starter(self.loaded, data, len(self.train_items))
        clip_start.set_apart(self.loaded, self.recipe, False)
        recalls = {way: [f"{way}@{k}" for k in (1, 5, 10)] for way in ("t2i", "i2t")}
        self.folder.draw_curves({"loss": ["loss"], **recalls})
        weights = {name: value.detach().cpu() for name, value in self.model.state_dict().items()}
        return clip_start.save_model(self.folder.path / "model", self.loaded, weights, self.recipe)

    def _check_cancel(self) -> None:
        if self.cancel is not None and self.cancel.cancelled:
            raise Cancelled(f"cancelled after {self.state.epoch} epochs, which are kept")

    def _report(self, step: int, began: float) -> None:
        if self.progress is None:
            return
        rate = step / max(1e-6, time.monotonic() - began)
        done = self.state.epoch * self.per_epoch + step
        total = self.recipe.epochs * self.per_epoch
        self.progress(Progress("train", done, total, rate, (total - done) / rate))


def _detached(chosen: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in chosen}


class _swapped:  # noqa: N801 - reads as a statement where it is used
    """Within the block the parameters hold other values (the averaged ones)."""

    def __init__(self, chosen: list[tuple[str, Any]], other: Mapping[str, Tensor] | None) -> None:
        self.chosen, self.other = chosen, other

    def __enter__(self) -> None:
        self.own = _detached(self.chosen) if self.other is not None else {}
        self._put(self.other or {})

    def __exit__(self, *_: object) -> None:
        self._put(self.own)

    def _put(self, values: Mapping[str, Tensor]) -> None:
        import torch

        with torch.no_grad():
            for name, parameter in self.chosen:
                if name in values:
                    parameter.copy_(values[name])


def _parts(rows: Sequence[Any], size: int) -> Iterator[Any]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _unit(vectors: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.normalize(vectors.float(), dim=-1)


def _random_state() -> Tensor:
    import torch

    return copy.deepcopy(torch.get_rng_state())
