"""One network's training: steps, moving average, log, image strips, checkpoints, resume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragcore.errors import Cancelled, UsageError
from ragcore.tuning.diffusion.hardware import Hardware
from ragcore.tuning.run_folder import RunFolder
from ragcore.types import CancelToken, Progress, ProgressCallback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image
    from torch import Generator, Tensor

    from ragcore.tuning.diffusion.recipe import Stage

Loss = Callable[[Any, "Generator"], "tuple[Tensor, Mapping[str, Tensor]]"]


@dataclass(frozen=True, slots=True)
class StageReport:
    """What a stage did; `metrics` are those of the weights that it ends with."""

    steps: int
    seconds: float
    weights: int
    metrics: Mapping[str, float]
    resumed: bool = False


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a stage trains: everything that differs between networks.

    `loss` gets `forward` (the network itself if None), compiled where the recipe says so, and
    draws its batch with a generator that depends on seed and step only: a resumed run therefore
    sees the same batches. Its values stay on the device. `evaluate` and `image` see the
    averaged weights. With `best`, the name of a metric, the stage ends with the averaged weights
    that had most of it.
    """

    name: str
    network: Any
    loss: Loss
    evaluate: Callable[[], Mapping[str, float]]
    image: Callable[[], Image] | None = None
    forward: Any = None
    best: str = ""


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
        hardware: Hardware | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        import torch

        self.work, self.plan, self.folder = work, plan, folder
        self.key, self.seed = key, seed
        self.hardware = hardware or Hardware()
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
        self.best: tuple[float, list[Tensor]] | None = None
        self.step, self.seconds = 0, 0.0
        self._forward = work.network if work.forward is None else work.forward
        self._plain: Any = None
        if plan.compile and self.hardware.device == "cuda":
            self._plain, self._forward = self._forward, torch.compile(self._forward)

    def train(self, resume: bool = True) -> StageReport:
        """Train to the plan's end; the network is left with averaged weights."""
        resumed = self._resume() if resume else False
        if not resumed:
            self.folder.clear()
            with self.averaged():
                self.folder.log(step=0, **self._evaluate())
        self.work.network.train()
        self._steps()
        with self._final():
            metrics = dict(self._evaluate())
        self.work.network.eval()
        return StageReport(
            self.step,
            round(self.seconds, 1),
            sum(p.numel() for p in self.weights),
            metrics,
            resumed,
        )

    def _steps(self) -> None:
        totals: dict[str, Tensor] = {}
        began, first, before = time.monotonic(), self.step, self.seconds
        while not self._done():
            if self.cancel is not None and self.cancel.cancelled:
                self._checkpoint()
                raise Cancelled(f"cancelled after {self.step} steps, which are kept")
            for name, value in self._one_step().items():
                totals[name] = totals[name] + value if name in totals else value
            if self.step == first + 1:
                began = time.monotonic()  # the first step compiles, which the limit leaves out
            self.seconds = before + time.monotonic() - began
            self._report(first, time.monotonic() - began)
            if self.step % self.plan.log_every == 0:
                self._log(totals)
                totals = {}
            self._now_and_then()

    def _done(self) -> bool:
        return self._fraction() >= 1

    def _fraction(self) -> float:
        """How much of the run is over, by steps or by the clock, whichever is further."""
        plan = self.plan
        done = self.step / plan.steps if plan.steps else 1.0
        return max(done, self.seconds / (60 * plan.max_minutes)) if plan.max_minutes else done

    def _one_step(self) -> Mapping[str, Tensor]:
        import torch

        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        loss, values = self._loss(self.hardware.rng(self.seed * 1_000_003 + self.step))
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.step += 1
        # the average warms up, so that the random start is soon forgotten
        decay = min(self.plan.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.weights, 1 - decay)
        return {"loss": loss.detach(), **values}

    def _loss(self, rng: Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Loss and gradients; what cannot be compiled here is run as it stands."""
        import torch

        self.optimizer.zero_grad(set_to_none=True)
        if self._plain is None:
            return self._backward(rng)
        try:
            return self._backward(rng)
        except torch._dynamo.exc.TorchDynamoException as error:
            self.folder.log(step=self.step, not_compiled=" ".join(str(error).split())[:300])
            self._forward, self._plain = self._plain, None
            return self._loss(self.hardware.rng(self.seed * 1_000_003 + self.step))

    def _backward(self, rng: Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        with self.hardware.arithmetic():
            loss, values = self.work.loss(self._forward, rng)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss, values

    def _learning_rate(self) -> float:
        """Linear warm-up, constant, then linear to zero over the last part of the run."""
        plan = self.plan
        warm = min(1.0, (self.step + 1) / (plan.warmup + 1))
        left = (1 - self._fraction()) / max(1e-6, plan.cooldown)
        return plan.learning_rate * warm * max(0.02, min(1.0, left))

    def _log(self, totals: Mapping[str, Tensor]) -> None:
        """Write means since the last line: the only place where the device is waited for."""
        means = {name: float(value) / self.plan.log_every for name, value in totals.items()}
        if not math.isfinite(means["loss"]):
            raise UsageError(f"the loss of the {self.work.name} is not finite: lower learning_rate")
        rounded = {name: round(value, 6) for name, value in means.items()}
        self.folder.log(step=self.step, seconds=round(self.seconds, 1), **rounded)

    def _now_and_then(self) -> None:
        last = self._done()
        if last or self.step % self.plan.image_every == 0:
            with self.averaged():
                metrics = self._evaluate()
                self.folder.log(step=self.step, **metrics)
                if self.work.best:
                    self._keep_best(metrics[self.work.best])
                if self.work.image is not None:
                    strip = self.work.image()
                    strip.save(self.folder.path / f"strip-{self.step:06d}.png")
            self._draw()
        if last or self.step % self.plan.save_every == 0:
            self._checkpoint()

    def _evaluate(self) -> Mapping[str, float]:
        with self.hardware.arithmetic():
            return self.work.evaluate()

    def _draw(self) -> None:
        texts = {"step", "seconds", "not_compiled"}
        names = sorted({k for row in self.folder.rows() for k in row} - texts)
        self.folder.draw_curves({name: [name] for name in names})

    def _keep_best(self, value: float) -> None:
        if self.best is None or value > self.best[0]:
            self.best = (value, [p.clone() for p in self.average])

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block the network has the averaged weights and is in evaluation mode."""
        import torch

        own = [p.detach().clone() for p in self.weights]
        self.work.network.eval()
        try:
            self._put(self.average)
            with torch.no_grad():
                yield
        finally:
            self._put(own)
            self.work.network.train()

    @contextmanager
    def _final(self) -> Iterator[None]:
        """The network gets the weights that it ends with, and keeps them."""
        import torch

        self.work.network.eval()
        self._put(self.average if self.best is None else self.best[1])
        with torch.no_grad():
            yield

    def _put(self, values: list[Tensor]) -> None:
        import torch

        with torch.no_grad():
            for parameter, value in zip(self.weights, values, strict=True):
                parameter.copy_(value)

    def _checkpoint(self) -> None:
        self.folder.save_checkpoint(
            {
                "key": self.key,
                "weights": [p.detach() for p in self.weights],
                "average": self.average,
                "best": list(self.best) if self.best is not None else None,
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "seconds": self.seconds,
            }
        )

    def _resume(self) -> bool:
        saved = self.folder.load_checkpoint()
        if saved is None:
            return False
        if saved["key"] != self.key:
            raise UsageError(
                f"{self.folder.path} holds a run of another recipe: start again, or change output"
            )
        self._put(saved["weights"])
        device = self.hardware.device
        self.average = [value.to(device) for value in saved["average"]]
        if saved["best"] is not None:
            self.best = (saved["best"][0], [value.to(device) for value in saved["best"][1]])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.folder.truncate_log(self.step)
        return True

    def _report(self, first: int, elapsed: float) -> None:
        """Tell progress; the time that is left keeps to the limit of the clock."""
        if self.progress is None:
            return
        rate = (self.step - first) / max(1e-6, elapsed)
        left = (self.plan.steps - self.step) / rate if rate else None
        if self.plan.max_minutes and left is not None:
            left = min(left, 60 * self.plan.max_minutes - self.seconds)
        self.progress(Progress(self.work.name, self.step, self.plan.steps, rate, left))
