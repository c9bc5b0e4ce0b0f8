"""One network's training: steps, moving average, log, image strips, checkpoints, resume."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragcore.errors import UsageError
from ragcore.tuning.diffusion.hardware import Hardware
from ragcore.tuning.run_folder import RunFolder
from ragcore.tuning.trainer import Average, Trainer, TrainingPlan, warm_up
from ragcore.types import CancelToken, ProgressCallback

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
class StageTask:
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


class StageRun(Trainer):
    """Trains one network as its part of the recipe says, into a folder of its own."""

    def __init__(
        self,
        work: StageTask,
        how: Stage,
        folder: RunFolder,
        *,
        key: str,
        seed: int,
        hardware: Hardware | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        import torch

        plan = TrainingPlan(steps=how.steps, key=key, max_minutes=how.max_minutes, clip_norm=1.0)
        super().__init__(plan, folder, progress=progress, cancel=cancel)
        self.work, self.how, self.seed, self.stage = work, how, seed, work.name
        self.hardware = hardware or Hardware()
        self.optimize(
            [([p for p in work.network.parameters() if p.requires_grad], how.learning_rate)],
            betas=(0.9, 0.99),
            weight_decay=how.weight_decay,
            fused=True,
        )
        self.average: Average = Average(self.weights, how.average)
        self.best: tuple[float, list[Tensor]] | None = None
        self.totals: dict[str, Tensor] = {}  # of what was not logged yet
        self._evaluated = 0  # after this step
        self._forward = work.network if work.forward is None else work.forward
        self._plain: Any = None
        if how.compile and self.hardware.device == "cuda":
            self._plain, self._forward = self._forward, torch.compile(self._forward)

    def train(self, resume: bool = True) -> StageReport:
        """Train to the plan's end; the network is left with averaged weights."""
        if not resume:
            self.folder.clear()
        resumed = self.resume()
        if not resumed:
            with self.averaged():
                self.folder.log(step=0, **self._evaluate())
        self.work.network.train()
        first = self.step
        self.run()
        if self.step > first and self._evaluated < self.step:
            self._log_evaluation()
        self.save()
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

    def rate(self) -> float:
        """Linear warm-up, constant, then linear to zero over the last part of the run."""
        left = (1 - self.done()) / max(1e-6, self.how.cooldown)
        return warm_up(self.step, self.how.warmup) * max(0.02, min(1.0, left))

    def backward(self) -> None:
        loss, values = self._loss(self._rng())
        for name, value in {"loss": loss.detach(), **values}.items():
            self.totals[name] = self.totals[name] + value if name in self.totals else value

    def _rng(self) -> Generator:
        return self.hardware.rng(self.seed * 1_000_003 + self.step)

    def after_update(self) -> None:
        super().after_update()
        if self.is_first_step:
            self.restart_clock()  # the first step compiles, which the limit leaves out

    def after_step(self) -> None:
        with self.by_the_clock():
            if self.step % self.how.log_every == 0:
                self._log()
            if self.step % self.how.image_every == 0:
                self._log_evaluation()
            if self.step % self.how.save_every == 0:
                self.save()

    def _loss(self, rng: Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Loss and gradients; what cannot be compiled here is run as it stands."""
        import torch

        if self._plain is None:
            return self._gradients(rng)
        try:
            return self._gradients(rng)
        except torch._dynamo.exc.TorchDynamoException as error:
            self.folder.log(step=self.step, not_compiled=" ".join(str(error).split())[:300])
            self._forward, self._plain = self._plain, None
            self.optimizer.zero_grad(set_to_none=True)
            return self._loss(self._rng())

    def _gradients(self, rng: Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        with self.hardware.arithmetic():
            loss, values = self.work.loss(self._forward, rng)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss, values

    def _log(self) -> None:
        """Write means since the last line: the only place where the device is waited for."""
        means = {name: float(value) / self.how.log_every for name, value in self.totals.items()}
        self.totals = {}
        if not math.isfinite(means["loss"]):
            raise UsageError(f"the loss of the {self.work.name} is not finite: lower learning_rate")
        rounded = {name: round(value, 6) for name, value in means.items()}
        self.folder.log(step=self.step, seconds=round(self.seconds, 1), **rounded)

    def _log_evaluation(self) -> None:
        self._evaluated = self.step
        with self.averaged():
            metrics = self._evaluate()
            self.folder.log(step=self.step, **metrics)
            if self.work.best:
                self._keep_best(metrics[self.work.best])
            if self.work.image is not None:
                strip = self.work.image()
                strip.save(self.folder.path / f"strip-{self.step:06d}.png")
        self._draw()

    def _evaluate(self) -> Mapping[str, float]:
        with self.hardware.arithmetic():
            return self.work.evaluate()

    def _draw(self) -> None:
        texts = {"step", "seconds", "not_compiled"}
        names = sorted({k for row in self.folder.rows() for k in row} - texts)
        self.folder.draw_curves({name: [name] for name in names})

    def _keep_best(self, value: float) -> None:
        if self.best is None or value > self.best[0]:
            self.best = (value, [p.clone() for p in self.average.values])

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block the network has the averaged weights and is in evaluation mode."""
        import torch

        own = [p.detach().clone() for p in self.weights]
        self.work.network.eval()
        try:
            self._put(self.average.values)
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
        self._put(self.average.values if self.best is None else self.best[1])
        with torch.no_grad():
            yield

    def _put(self, values: list[Tensor]) -> None:
        import torch

        with torch.no_grad():
            for parameter, value in zip(self.weights, values, strict=True):
                parameter.copy_(value)

    def state(self) -> dict[str, Any]:
        return {
            "weights": [p.detach() for p in self.weights],
            "average": self.average.values,
            "best": list(self.best) if self.best is not None else None,
        }

    def load_state(self, saved: Mapping[str, Any]) -> None:
        self._put(saved["weights"])
        device = self.hardware.device
        self.average.values = [value.to(device) for value in saved["average"]]
        if saved["best"] is not None:
            self.best = (saved["best"][0], [value.to(device) for value in saved["best"][1]])
