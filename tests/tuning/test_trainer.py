"""The loop that all trainings share, on one linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from ragcore.errors import Cancelled, UsageError
from ragcore.tuning.run_folder import RunFolder
from ragcore.tuning.trainer import Average, Trainer, TrainingPlan, half_cosine, warm_up
from ragcore.types import CancelToken, Progress


class Line(Trainer):
    """Fits y = 3 x; each step's batch follows from its number."""

    def __init__(self, folder: Path, *, scale: float = 1.0, **more: Any) -> None:
        how = {name: more.pop(name) for name in ("progress", "cancel") if name in more}
        super().__init__(
            TrainingPlan(**{"steps": 12, "key": "a", **more}), RunFolder(folder), **how
        )
        self.layer = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(self.layer.weight)
        self.scale = scale
        self.optimize([(list(self.layer.parameters()), 0.1)], weight_decay=0.0)
        self.average = Average(self.weights, 0.9)

    def rate(self) -> float:
        return warm_up(self.step, 2) * half_cosine(self.done())

    def backward(self) -> float:
        x = torch.rand(8, 1, generator=torch.Generator().manual_seed(self.step))
        loss = ((self.layer(x) - 3 * x) ** 2).mean() * self.scale
        loss.backward()
        return float(loss.detach())

    def after_step(self) -> None:
        self.folder.log(step=self.step, rate=self.learning_rate)

    def state(self) -> dict[str, Any]:
        assert self.average is not None
        return {"weight": self.layer.weight.detach(), "average": self.average.values}

    def load_state(self, saved: Mapping[str, Any]) -> None:
        assert self.average is not None
        with torch.no_grad():
            self.layer.weight.copy_(saved["weight"])
        self.average.values = saved["average"]


def test_a_stopped_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = Line(tmp_path / "whole")
    whole.run()
    cancel = CancelToken()

    def stop(step: Progress) -> None:
        if step.done == 5:
            cancel.cancel()

    with pytest.raises(Cancelled, match="after 5 steps, which are kept"):
        Line(tmp_path / "parts", progress=stop, cancel=cancel).run()
    rest = Line(tmp_path / "parts")
    assert rest.resume()
    assert rest.step == 5
    rest.run()
    assert torch.equal(whole.layer.weight, rest.layer.weight)
    assert whole.average is not None
    assert rest.average is not None
    assert torch.equal(whole.average.values[0], rest.average.values[0])
    assert whole.losses == rest.losses
    assert whole.losses[-1] < whole.losses[0]
    assert rest.folder.rows() == whole.folder.rows()


def test_rates_rise_and_fall(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.run()
    rates = [row["rate"] for row in line.folder.rows()]
    assert rates[0] == pytest.approx(0.1 / 3)
    assert max(rates) == rates[2]
    assert rates[-1] < 0.005


def test_the_clock_ends_a_run(tmp_path: Path) -> None:
    line = Line(tmp_path, steps=10**9, max_minutes=1e-4)
    line.run()
    assert 1 <= line.step < 10**6
    assert line.seconds >= 6e-3


def test_what_is_refused(tmp_path: Path) -> None:
    line = Line(tmp_path)
    assert not line.resume()
    line.run()
    line.save()
    with pytest.raises(UsageError, match="another recipe"):
        Line(tmp_path, key="b").resume()
    with pytest.raises(UsageError, match="not finite"):
        Line(tmp_path / "wild", scale=float("inf")).run()


def test_gradients_are_clipped(tmp_path: Path) -> None:
    line = Line(tmp_path, clip_norm=1e-3, steps=1)
    norms = []
    line.optimizer.register_step_pre_hook(
        lambda *_: norms.append(float(line.layer.weight.grad.norm()))
    )
    line.run()
    assert norms == [pytest.approx(1e-3, rel=1e-2)]
