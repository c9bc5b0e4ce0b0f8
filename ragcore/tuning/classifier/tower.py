"""Training the backbone itself, all of it or by LoRA, from the linear layer of its features.

The linear layer is solved first and both are trained on together, so that the first steps do not
spoil the features (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features").
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragcore.encoders import Backbone, Tower, add_lora, to_device
from ragcore.errors import UnreadableFile
from ragcore.tuning.classifier.head import Head
from ragcore.tuning.clip.towers import freeze_statistics
from ragcore.tuning.trainer import Trainer, TrainingPlan, half_cosine, warm_up
from ragcore.types import ProgressCallback

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
        loop = _Loop(self, tower, head, chosen, device)
        loop.optimize(
            [(list(chosen.values()), rate), (list(head.parameters()), plan.head_learning_rate)],
            betas=(0.9, 0.999),
            weight_decay=plan.weight_decay,
        )
        loop.train()
        touched = {n: p for n, p in chosen.items() if n in (loop.touched or chosen)}
        weights = {f"tower.{name}": value.detach().cpu() for name, value in touched.items()}
        weights |= {f"head.{name}": value.detach().cpu() for name, value in head.named_parameters()}
        trained = sum(value.numel() for value in weights.values())
        return TrainedTower(tower, head, weights, trained, loop.step, device, loop.before)

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


class _Loop(Trainer):
    """The steps, with what a checkpoint needs."""

    def __init__(
        self, run: TowerRun, tower: Tower, head: Any, chosen: dict[str, Any], device: str
    ) -> None:
        plan = TrainingPlan(steps=run.steps(), key=run.key, checkpoint_seconds=_SAVE_EVERY)
        super().__init__(plan, run.folder, progress=run.progress)
        self.of, self.tower, self.head, self.chosen = run, tower, head, chosen
        self.device, self.stage = device, run.way
        self.touched: set[str] = set()
        self.before = (0.0, 0.0)
        self._started = (time.monotonic(), time.process_time())

    def train(self) -> None:
        """All steps, or those after the checkpoint, if it is of this very training."""
        saved = self.folder.load_checkpoint()
        if saved is not None and saved["key"] == self.plan.key:
            self.go_on(saved)
        freeze_statistics(self.tower.module)
        self._started = (time.monotonic(), time.process_time())
        self.run()

    def rate(self) -> float:
        """A warm-up, then a half cosine to zero."""
        return warm_up(self.step, self.of.recipe.tower.warmup_steps) * half_cosine(self.done())

    def backward(self) -> float:
        self.of.check()
        return self._gradients(self._batch(self.step))

    def after_step(self) -> None:
        self.folder.log(run=self.of.key, step=self.step, loss=round(self.losses[-1], 5))

    def _batch(self, step: int) -> IdArray:
        """The rows of a step: every epoch goes through all of them in an order of its own."""
        import numpy as np

        size, rows = self.of.recipe.tower.batch_size, self.of.rows
        per_epoch = math.ceil(len(rows) / size)
        epoch, at = divmod(step, per_epoch)
        order = np.random.default_rng((self.of.recipe.seed, epoch)).permutation(rows)
        batch: IdArray = order[at * size : (at + 1) * size]
        return batch

    def _gradients(self, rows: IdArray) -> float:
        import torch
        from torch.nn import functional

        examples, plan = self.of.examples, self.of.recipe.tower
        rng = random.Random(f"{self.of.recipe.seed} {self.step}")
        items = [_item(examples, row, self.of.max_megapixels) for row in rows]
        if examples.modality == "image":
            items = [varied(image, rng, plan.crop, plan.flip) for image in items]
        inputs = to_device(self.tower.prepare(items), self.device)
        wanted = torch.from_numpy(examples.labels[rows]).to(self.device)
        loss = functional.cross_entropy(self.head(self.tower.forward(inputs)), wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        if not self.touched:  # parts that the vectors do not depend on get no gradient
            self.touched = {n for n, p in self.chosen.items() if p.grad is not None}
        return float(loss.detach())

    def state(self) -> dict[str, Any]:
        import torch

        return {
            "tower": {n: p.detach() for n, p in self.chosen.items()},
            "head": self.head.state_dict(),
            "touched": sorted(self.touched),
            "all_seconds": self.before[0] + time.monotonic() - self._started[0],
            "cpu_seconds": self.before[1] + time.process_time() - self._started[1],
            "random": torch.get_rng_state(),
        }

    def load_state(self, saved: Mapping[str, Any]) -> None:
        import torch

        with torch.no_grad():
            for name, parameter in self.chosen.items():
                parameter.copy_(saved["tower"][name])
        self.head.load_state_dict(saved["head"])
        self.touched = set(saved["touched"])
        self.before = (saved["all_seconds"], saved["cpu_seconds"])
        torch.set_rng_state(saved["random"])


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
