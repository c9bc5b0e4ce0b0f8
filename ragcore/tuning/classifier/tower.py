"""Training the backbone itself, all of it or by LoRA, from the linear layer of its features.

The linear layer is solved first and both are trained on together, so that the first steps do not
spoil the features (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features").
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragcore.encoders.backbones import Backbone, Tower, to_device
from ragcore.encoders.classifier import add_lora
from ragcore.errors import UnreadableFile, UsageError
from ragcore.tuning.classifier.head import Head
from ragcore.tuning.clip.towers import freeze_statistics
from ragcore.types import Progress, ProgressCallback

if TYPE_CHECKING:
    from torch import Tensor

    from ragcore.tuning.classifier.data import Examples
    from ragcore.tuning.classifier.recipe import ClassifierRecipe
    from ragcore.tuning.run_folder import RunFolder
    from ragcore.types import FloatArray, IdArray

_SAVE_EVERY = 30.0  # seconds between two checkpoints


@dataclass(slots=True)
class TowerRun:
    """One training of a tower: `way` is lora or full; `rows` index the examples.

    `key` names this run in the checkpoint. `check` raises Cancelled.
    """

    recipe: ClassifierRecipe
    examples: Examples
    backbone: Backbone
    way: str
    rows: IdArray
    head: Head
    key: str
    folder: RunFolder
    max_megapixels: int
    progress: ProgressCallback | None
    check: Callable[[], None]

    def train(self) -> TrainedTower:
        """Train to the end, from the last checkpoint of this very run if there is one.

        Raises UsageError if the loss is not finite or nothing can be adapted.
        """
        import torch

        torch.manual_seed(self.recipe.seed)
        tower, plan = self.backbone.tower(), self.recipe.tower
        tower.module.requires_grad_(self.way == "full")
        if self.way == "lora":
            lora = self.recipe.lora
            add_lora(tower, rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout)
        device = self.backbone.device
        tower.module.to(device)
        head = _linear(self.head).to(device)
        chosen = {n: p for n, p in tower.module.named_parameters() if p.requires_grad}
        rate = plan.learning_rate if self.way == "full" else plan.lora_learning_rate
        optimizer = torch.optim.AdamW(
            [
                {"params": list(chosen.values()), "lr": rate},
                {"params": list(head.parameters()), "lr": plan.head_learning_rate},
            ],
            weight_decay=plan.weight_decay,
        )
        state = _Loop(self, tower, head, chosen, optimizer, device)
        state.run()
        touched = {n: p for n, p in chosen.items() if n in state.touched}
        weights = {f"tower.{name}": value.detach().cpu() for name, value in touched.items()}
        weights |= {f"head.{name}": value.detach().cpu() for name, value in head.named_parameters()}
        trained = sum(value.numel() for value in weights.values())
        return TrainedTower(tower, head, weights, trained, state.step, device, state.before)

    def steps(self) -> int:
        """Steps of the whole training."""
        per_epoch = math.ceil(len(self.rows) / self.recipe.tower.batch_size)
        return min(self.recipe.tower.max_steps, self.recipe.tower.epochs * per_epoch)


@dataclass(frozen=True, slots=True)
class TrainedTower:
    """A tower and its linear layer after training; `weights` are those that were trained.

    `before`: seconds, and those of all cores, that were spent before the run was resumed.
    """

    tower: Tower
    head: Any
    weights: dict[str, Tensor]
    trained_weights: int
    steps: int
    device: str
    before: tuple[float, float] = (0.0, 0.0)

    def logits(
        self, examples: Examples, rows: IdArray, max_megapixels: int, check: Callable[[], None]
    ) -> FloatArray:
        """float32 [rows, classes]."""
        import numpy as np

        weight = self.head.weight.detach().cpu().numpy()
        bias = self.head.bias.detach().cpu().numpy()
        parts = [np.zeros((0, len(weight)), np.float32)]
        for start in range(0, len(rows), 64):
            check()
            items = [_item(examples, row, max_megapixels) for row in rows[start : start + 64]]
            parts.append(self.tower.encode(items, self.device) @ weight.T + bias)
        return np.concatenate(parts)


class _Loop:
    """The steps, with what a checkpoint needs."""

    def __init__(
        self,
        run: TowerRun,
        tower: Tower,
        head: Any,
        chosen: dict[str, Any],
        optimizer: Any,
        device: str,
    ) -> None:
        self.of, self.tower, self.head, self.chosen = run, tower, head, chosen
        self.optimizer, self.device = optimizer, device
        self.step = 0
        self.touched: set[str] = set()
        self.before = (0.0, 0.0)
        self._resume()
        self._began = (time.monotonic(), time.process_time())

    def run(self) -> None:
        total, saved, began, first = self.of.steps(), time.monotonic(), time.monotonic(), self.step
        rates = [group["lr"] for group in self.optimizer.param_groups]
        freeze_statistics(self.tower.module)
        while self.step < total:
            self.of.check()
            warm = min(1.0, (self.step + 1) / (self.of.recipe.tower.warmup_steps + 1))
            factor = warm * (1 + math.cos(math.pi * self.step / total)) / 2
            for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            loss = self._step(self._batch(self.step))
            self.step += 1
            self.of.folder.log(run=self.of.key, step=self.step, loss=round(loss, 5))
            if self.of.progress is not None:
                speed = (self.step - first) / max(1e-6, time.monotonic() - began)
                left = (total - self.step) / speed
                self.of.progress(Progress(self.of.way, self.step, total, speed, left))
            if time.monotonic() - saved > _SAVE_EVERY:
                self._save()
                saved = time.monotonic()
        if not self.touched:
            self.touched = set(self.chosen)

    def _batch(self, step: int) -> IdArray:
        """The rows of a step: every epoch goes through all of them in an order of its own."""
        import numpy as np

        size, rows = self.of.recipe.tower.batch_size, self.of.rows
        per_epoch = math.ceil(len(rows) / size)
        epoch, at = divmod(step, per_epoch)
        order = np.random.default_rng((self.of.recipe.seed, epoch)).permutation(rows)
        batch: IdArray = order[at * size : (at + 1) * size]
        return batch

    def _step(self, rows: IdArray) -> float:
        import torch
        from torch.nn import functional

        examples, plan = self.of.examples, self.of.recipe.tower
        rng = random.Random(f"{self.of.recipe.seed} {self.step}")
        items = [_item(examples, row, self.of.max_megapixels) for row in rows]
        if examples.modality == "image":
            items = [varied(image, rng, plan.crop, plan.flip) for image in items]
        inputs = to_device(self.tower.prepare(items), self.device)
        wanted = torch.from_numpy(examples.labels[rows]).to(self.device)
        self.optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(self.head(self.tower.forward(inputs)), wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        if not self.touched:  # parts that the vectors do not depend on get no gradient
            self.touched = {n for n, p in self.chosen.items() if p.grad is not None}
        self.optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UsageError("the loss is not finite: lower the learning rates in the recipe")
        return value

    def _save(self) -> None:
        import torch

        self.of.folder.save_checkpoint(
            {
                "run": self.of.key,
                "step": self.step,
                "tower": {n: p.detach() for n, p in self.chosen.items()},
                "head": self.head.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "touched": sorted(self.touched),
                "seconds": self.before[0] + time.monotonic() - self._began[0],
                "cpu_seconds": self.before[1] + time.process_time() - self._began[1],
                "random": torch.get_rng_state(),
            }
        )

    def _resume(self) -> None:
        import torch

        saved = self.of.folder.load_checkpoint()
        if saved is None or saved["run"] != self.of.key:
            return
        with torch.no_grad():
            for name, parameter in self.chosen.items():
                parameter.copy_(saved["tower"][name])
        self.head.load_state_dict(saved["head"])
        self.optimizer.load_state_dict(saved["optimizer"])
        for group, rate in zip(self.optimizer.param_groups, self._rates(), strict=True):
            group["lr"] = rate
        torch.set_rng_state(saved["random"])
        self.step, self.touched = saved["step"], set(saved["touched"])
        self.before = (saved["seconds"], saved["cpu_seconds"])

    def _rates(self) -> tuple[float, float]:
        plan = self.of.recipe.tower
        tower = plan.learning_rate if self.of.way == "full" else plan.lora_learning_rate
        return tower, plan.head_learning_rate


def varied(image: Any, rng: random.Random, crop: float, flip: float) -> Any:
    """A part of an image, at least `crop` of its area, mirrored with probability `flip`."""
    from PIL import Image

    share = math.sqrt(rng.uniform(crop, 1.0))
    width = max(1, round(image.width * share))
    height = max(1, round(image.height * share))
    left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    image = image.crop((left, top, left + width, top + height))
    if rng.random() < flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image


def _linear(head: Head) -> Any:
    import torch

    layer = torch.nn.Linear(head.weight.shape[1], head.weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head.weight))
        layer.bias.copy_(torch.from_numpy(head.bias))
    return layer


def _item(examples: Examples, row: int, max_megapixels: int) -> Any:
    """The text, or the opened image, of one example."""
    example = examples.items[int(row)]
    if examples.modality == "text":
        return example.text
    try:
        return example.open(max_megapixels)
    except UnreadableFile as error:
        raise UnreadableFile(
            f"{example.name} was readable before and is not now: {error}"
        ) from None
