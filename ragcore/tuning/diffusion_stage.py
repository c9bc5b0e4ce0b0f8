"""One network's training: steps, moving average, log, picture strips, checkpoints, resume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragcore.errors import Cancelled, UsageError
from ragcore.tuning.run_folder import RunFolder
from ragcore.types import CancelToken, Progress, ProgressCallback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image
    from torch import Generator, Tensor

    from ragcore.tuning.diffusion_recipe import Stage

Loss = Callable[["Generator"], "tuple[Tensor, Mapping[str, float]]"]


@dataclass(frozen=True, slots=True)
class StageReport:
    """What a stage did; `metrics` are those of the averaged weights at its end."""

    steps: int
    seconds: float
    weights: int
    metrics: Mapping[str, float]
    resumed: bool = False


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a stage trains: everything that differs between networks.

    `loss` draws its batch with the generator it is given, which depends on seed and step only:
    a resumed run therefore sees the same batches. `evaluate` and `picture` see the averaged
    weights.
    """

    name: str
    network: Any
    loss: Loss
    evaluate: Callable[[], Mapping[str, float]]
    picture: Callable[[], Image] | None = None


class StageRun:
    """Trains one network as its part of the recipe says, into a folder of its own."""

    def __init__(
        self,
        work: Work,
        plan: Stage,
        folder: RunFolder,
        *,
        key: str,
        seed: int,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        import torch

        self.work, self.plan, self.folder = work, plan, folder
        self.key, self.seed = key, seed
        self.progress, self.cancel = progress, cancel
        self.weights = [p for p in work.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.weights,
            lr=plan.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=plan.weight_decay,
            fused=True,
        )
        self.average = [p.detach().clone() for p in self.weights]
        self.step, self.seconds = 0, 0.0

    def train(self, resume: bool = True) -> StageReport:
        """Train to the plan's number of steps; the network is left with averaged weights."""
        resumed = self._resume() if resume else False
        if not resumed:
            self.folder.clear()
            with self.averaged():
                self.folder.log(step=0, **self.work.evaluate())
        self.work.network.train()
        totals: dict[str, float] = {}
        began, first, before = time.monotonic(), self.step, self.seconds
        while self.step < self.plan.steps:
            if self.cancel is not None and self.cancel.cancelled:
                self._checkpoint()
                raise Cancelled(f"cancelled after {self.step} steps, which are kept")
            values = self._one_step()
            for name, value in values.items():
                totals[name] = totals.get(name, 0.0) + value
            self.seconds = before + time.monotonic() - began
            self._report(first, time.monotonic() - began)
            if self.step % self.plan.log_every == 0:
                means = {k: round(v / self.plan.log_every, 6) for k, v in totals.items()}
                totals = {}
                self.folder.log(step=self.step, seconds=round(self.seconds, 1), **means)
            self._now_and_then()
        with self.averaged():
            metrics = dict(self.work.evaluate())
        self._keep_average()
        return StageReport(
            self.step,
            round(self.seconds, 1),
            sum(p.numel() for p in self.weights),
            metrics,
            resumed,
        )

    def _one_step(self) -> Mapping[str, float]:
        import torch

        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        dice = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        loss, values = self.work.loss(dice)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.step += 1
        # the average warms up, so that the random start is soon forgotten
        decay = min(self.plan.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.weights, 1 - decay)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UsageError(f"the loss of the {self.work.name} is not finite: lower learning_rate")
        return {"loss": value, **values}

    def _learning_rate(self) -> float:
        """Linear warm-up, constant, then linear to zero over the last part of the steps."""
        plan = self.plan
        warm = min(1.0, (self.step + 1) / (plan.warmup + 1))
        left = (plan.steps - self.step) / max(1.0, plan.cooldown * plan.steps)
        return plan.learning_rate * warm * max(0.02, min(1.0, left))

    def _now_and_then(self) -> None:
        last = self.step == self.plan.steps
        if last or self.step % self.plan.save_every == 0:
            self._checkpoint()
        if last or self.step % self.plan.picture_every == 0:
            with self.averaged():
                self.folder.log(step=self.step, **self.work.evaluate())
                if self.work.picture is not None:
                    strip = self.work.picture()
                    strip.save(self.folder.path / f"strip-{self.step:06d}.png")
            names = sorted({k for row in self.folder.rows() for k in row} - {"step", "seconds"})
            self.folder.draw_curves({name: [name] for name in names})

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block the network has the averaged weights and is in evaluation mode."""
        import torch

        own = [p.detach().clone() for p in self.weights]
        self.work.network.eval()
        try:
            self._keep_average()
            with torch.no_grad():
                yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.weights, own, strict=True):
                    parameter.copy_(value)
            self.work.network.train()

    def _keep_average(self) -> None:
        import torch

        with torch.no_grad():
            for parameter, value in zip(self.weights, self.average, strict=True):
                parameter.copy_(value)

    def _checkpoint(self) -> None:
        self.folder.save_checkpoint(
            {
                "key": self.key,
                "weights": [p.detach() for p in self.weights],
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "seconds": self.seconds,
            }
        )

    def _resume(self) -> bool:
        import torch

        saved = self.folder.load_checkpoint()
        if saved is None:
            return False
        if saved["key"] != self.key:
            raise UsageError(
                f"{self.folder.path} holds a run of another recipe: start anew, or change output"
            )
        with torch.no_grad():
            for parameter, value in zip(self.weights, saved["weights"], strict=True):
                parameter.copy_(value)
            for average, value in zip(self.average, saved["average"], strict=True):
                average.copy_(value)
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.folder.truncate_log(self.step)
        return True

    def _report(self, first: int, elapsed: float) -> None:
        if self.progress is None:
            return
        rate = (self.step - first) / max(1e-6, elapsed)
        left = (self.plan.steps - self.step) / rate if rate else None
        stage = self.work.name
        self.progress(Progress(stage, self.step, self.plan.steps, rate, left))
