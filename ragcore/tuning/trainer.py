"""The loop that every training shares: rates, clock, checkpoints, resume, cancel, processes.

One loop of its own, not `accelerate`'s: its checkpoints are several files replaced one by one,
objects of other classes are unpickled with `weights_only=False`, and random states that cannot be
restored are logged and skipped; a run here resumes to the same weights or not at all. Its
processes average their gradients, where ours sum those of answers of different lengths, and it
has no schedule by the clock.
"""

from __future__ import annotations

import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ragcore.errors import Cancelled, UsageError
from ragcore.tuning.run_folder import RunFolder
from ragcore.types import CancelToken, Progress, ProgressCallback

if TYPE_CHECKING:
    from torch import Tensor

_RECENT = 50  # losses that a report's mean is taken over


class TimedRecipe(Protocol):
    """A recipe that limits the time of its run."""

    max_minutes: float | None
    clip_norm: float
    checkpoint_minutes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """How long a training runs, by steps or by the clock, whichever is over first.

    A checkpoint of another `key` is refused; None: any is taken. `clip_norm` None: gradients are
    not clipped. `checkpoint_seconds` None: the task saves when it likes.
    """

    steps: int
    key: str | None
    max_minutes: float | None = None
    clip_norm: float | None = None
    checkpoint_seconds: float | None = None

    @classmethod
    def of(cls, recipe: TimedRecipe, steps: int, key: str | None) -> TrainingPlan:
        """The plan of a recipe that limits its time, and says how often to save."""
        return cls(
            steps=steps,
            key=key,
            max_minutes=recipe.max_minutes,
            clip_norm=recipe.clip_norm,
            checkpoint_seconds=60 * recipe.checkpoint_minutes,
        )


class Trainer(ABC):
    """Trains until its plan is over. A task says what a step is and what a checkpoint holds."""

    stage = "train"  # of progress

    def __init__(
        self,
        plan: TrainingPlan,
        folder: RunFolder,
        *,
        progress: ProgressCallback | None = None,
        cancel: CancelToken | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.plan, self.folder = plan, folder
        self.progress, self.cancel = progress, cancel or CancelToken()
        self.processes = processes or Processes()
        self.step, self.seconds = 0, 0.0
        self.losses: list[float] = []  # the last ones
        self.optimizer: Any = None
        self.average: Average | None = None
        self.weights: list[Any] = []
        self._rates: list[float] = []

    # --- what a task says ---

    @abstractmethod
    def backward(self) -> float | None:
        """The gradients of the step numbered `self.step`.

        Returns its loss; None: the task looks at it itself, when it logs.
        """

    @abstractmethod
    def rate(self) -> float:
        """What the learning rates are multiplied by in the next step."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What a checkpoint holds besides step, clock, losses and optimizer."""

    @abstractmethod
    def load_state(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state` returned. Calls `optimize` if that was not done before."""

    @abstractmethod
    def after_step(self) -> None:
        """Called at the end of a step, off the clock: logs, and now and then evaluations."""

    def after_update(self) -> None:
        """Called when the weights have changed and the step is counted."""
        if self.average is not None:
            self.average.update(self.step)

    # --- the loop ---

    def optimize(
        self,
        groups: Sequence[tuple[Sequence[Any], float]],
        *,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.98),
        fused: bool | None = None,
    ) -> None:
        """AdamW over groups of (weights, learning rate)."""
        import torch

        self.use(
            torch.optim.AdamW(
                [{"params": list(weights), "lr": rate} for weights, rate in groups],
                betas=betas,
                weight_decay=weight_decay,
                fused=fused,
            )
        )

    def use(self, optimizer: Any) -> None:
        """Train by this optimizer; its learning rates are what `rate` multiplies."""
        self.optimizer = optimizer
        self._rates = [group["lr"] for group in optimizer.param_groups]
        self.weights = [weight for group in optimizer.param_groups for weight in group["params"]]

    def done(self) -> float:
        """How much of the run is over, by steps or by the clock, from 0 on."""
        plan = self.plan
        by_steps = self.step / plan.steps if plan.steps else 1.0
        return max(by_steps, self.seconds / 60 / plan.max_minutes if plan.max_minutes else 0.0)

    def run(self) -> None:
        """Take the steps that are left.

        Raises Cancelled when `cancel` is set (a checkpoint is kept), UsageError for a loss that is
        not finite.
        """
        saved = time.monotonic()
        self._first, self._here = self.step, 0.0
        while self.done() < 1:
            if self.cancel.cancelled:
                self.stop()
                raise Cancelled(f"cancelled after {self.step} steps, which are kept")
            self._began = time.monotonic()
            self._take_step()
            self.after_update()
            self._tick()
            self.report()
            self.after_step()
            every = self.plan.checkpoint_seconds
            if every is not None and time.monotonic() - saved > every:
                self.save()
                saved = time.monotonic()

    def stop(self) -> None:
        """Called before a cancelled run ends."""
        self.save()

    def _take_step(self) -> None:
        import torch

        self.set_rates()
        loss = self.backward()
        loss = self.processes.sum(self.weights, loss)
        if self.plan.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.weights, self.plan.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if loss is None:
            return
        if not math.isfinite(loss):
            raise UsageError("the loss is not finite: lower the learning rates in the recipe")
        self.losses = [*self.losses[1 - _RECENT :], loss]

    def set_rates(self) -> None:
        """The learning rates of the next step."""
        factor = self.rate()
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    @property
    def learning_rate(self) -> float:
        """That of the first group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def _tick(self) -> None:
        spent = time.monotonic() - self._began
        self._here += spent
        self.seconds = self.processes.agree(self.seconds + spent)
        self._began = time.monotonic()

    @property
    def is_first_step(self) -> bool:
        """Whether the step that was just taken is the first one of this process."""
        return self.step == self._first + 1

    def restart_clock(self) -> None:
        """Leave out the time since the clock last ran."""
        self._began = time.monotonic()

    @contextmanager
    def by_the_clock(self) -> Iterator[None]:
        """What is done within the block, in `after_step`, counts as time of the run."""
        self._began = time.monotonic()
        try:
            yield
        finally:
            self._tick()

    def report(self) -> None:
        """Report progress; what is left keeps to the limit of the clock."""
        if self.progress is None or self.processes.rank:
            return
        total = max(self.step, round(self.step / max(self.done(), 1e-9)))
        rate = (self.step - self._first) / max(self._here, 1e-9)
        left = (total - self.step) / max(rate, 1e-9)
        text = f"loss {self.losses[-1]:.3f}" if self.losses else ""
        self.progress(Progress(self.stage, self.step, total, rate, left, text))

    def recent_loss(self, count: int = _RECENT) -> float:
        """The mean of the last losses."""
        recent = self.losses[-count:]
        return sum(recent) / max(len(recent), 1)

    # --- checkpoints ---

    def save(self) -> None:
        """Write a checkpoint; a crash at any moment leaves the last whole one."""
        if self.processes.rank:
            return
        self.folder.save_checkpoint(
            {
                "key": self.plan.key,
                "step": self.step,
                "seconds": self.seconds,
                "losses": self.losses,
                "optimizer": self.optimizer.state_dict(),
                **self.state(),
            }
        )

    def checkpoint(self) -> dict[str, Any] | None:
        """The folder's checkpoint, if there is one. Raises UsageError for another recipe's."""
        saved = self.folder.load_checkpoint()
        if saved is not None and self.plan.key not in (None, saved.get("key")):
            raise UsageError(
                f"{self.folder.path} holds a run of another recipe: start again, or change output"
            )
        return saved

    def go_on(self, saved: Mapping[str, Any]) -> None:
        """Take up the run where a checkpoint left it."""
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.losses = saved["losses"]
        self.load_state(saved)
        self.optimizer.load_state_dict(saved["optimizer"])
        self.folder.truncate_log(self.step)

    def resume(self) -> bool:
        """Go on from the folder's checkpoint, if there is one; otherwise clear the folder.

        Raises UsageError for a checkpoint of another recipe.
        """
        saved = self.checkpoint()
        if saved is None:
            self.folder.clear()
            return False
        self.go_on(saved)
        return True


class Average:
    """Moving averages of weights. They warm up, so that the random start is soon forgotten."""

    def __init__(self, weights: Sequence[Tensor], decay: float) -> None:
        self.values = [weight.detach().clone() for weight in weights]
        self._weights = [weight.detach() for weight in weights]
        self._decay = decay

    def update(self, step: int) -> None:
        """Move towards the weights, by the more the fewer steps there were."""
        import torch

        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, self._weights, 1 - decay)


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes that train together; one by itself where there are no others."""

    rank: int = 0
    count: int = 1

    @classmethod
    def joined(cls) -> Processes:
        """Those that `torchrun` started, if it did."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        import torch
        from torch import distributed

        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return cls(distributed.get_rank(), count)

    def sum(self, weights: Sequence[Any], loss: float | None) -> float | None:
        """Sum the gradients of all processes in place, and their losses."""
        if self.count == 1 or loss is None:
            return loss
        import torch
        from torch import distributed

        flat = torch.cat([w.grad.flatten() for w in weights] + [weights[0].new_tensor([loss])])
        distributed.all_reduce(flat)
        position = 0
        for weight in weights:
            size = weight.numel()
            weight.grad.copy_(flat[position : position + size].view_as(weight))
            position += size
        return float(flat[-1])

    def agree(self, seconds: float) -> float:
        """The first process's clock: all must decay and stop at the same step."""
        if self.count == 1:
            return seconds
        import torch
        from torch import distributed

        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        clock = torch.tensor([seconds], dtype=torch.float64, device=device)
        distributed.broadcast(clock, 0)
        return float(clock)


def warm_up(step: int, steps: int) -> float:
    """A straight line over the first `steps`, then 1."""
    return min(1.0, (step + 1) / (steps + 1))


def half_cosine(done: float) -> float:
    """From 1 down to 0 as `done` goes from 0 to 1."""
    return (1 + math.cos(math.pi * min(1.0, done))) / 2
