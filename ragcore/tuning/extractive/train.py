"""Training of the extractive reader: spans and passages, over several windows at once."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ragcore.errors import Cancelled, UsageError
from ragcore.tuning.extractive.data import Exercise, Exercises, split_articles
from ragcore.tuning.extractive.recipe import ExtractiveRecipe
from ragcore.tuning.recipe import read_recipe
from ragcore.tuning.run_folder import RunFolder
from ragcore.types import CancelToken, Progress, ProgressCallback

if TYPE_CHECKING:
    import torch

    from ragcore.settings import Settings


@dataclass(frozen=True, slots=True)
class ReaderReport:
    """What a run did. `loss` is the mean of the last 50 steps; `held_out` are the scores of
    `ragcore.tuning.extractive.scores` on articles that were not trained on."""

    base: str
    output: str
    steps: int
    questions: int
    tokens: int
    seconds: float
    loss: float
    trained_weights: int
    held_out: Mapping[str, float]
    resumed: bool = False


def tune_reader(
    recipe: str | Path | ExtractiveRecipe,
    *,
    settings: Settings,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
    resume: bool = True,
) -> ReaderReport:
    """Train as the recipe says; write log, curves, checkpoint and model into its `output`.

    A run that was stopped goes on from its last checkpoint unless `resume` is False, and ends
    with the same weights as one that was not, where the recipe has no `max_minutes`.

    Raises UsageError for a wrong recipe or data, or a checkpoint of another recipe;
    ModelUnavailable for a missing base; Cancelled if `cancel` was set (a checkpoint is kept).
    """
    read = read_recipe(recipe, ExtractiveRecipe)
    return _Run(read, settings, progress, cancel or CancelToken()).train(resume)


@dataclass(slots=True)
class _State:
    """What a checkpoint holds besides tensors."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    held_out: dict[str, float] = field(default_factory=dict)


class _Run:
    """One training run: frozen base, reader, optimizer."""

    def __init__(
        self,
        recipe: ExtractiveRecipe,
        settings: Settings,
        progress: ProgressCallback | None,
        cancel: CancelToken,
    ) -> None:
        import torch

        from ragcore.encoders.extractive import Base, Reader, Shape, WindowMaker, base_weights
        from ragcore.models.device import place
        from ragcore.weights import WeightStore

        self.recipe, self.progress, self.cancel = recipe, progress, cancel
        self.folder = RunFolder(recipe.path(recipe.output))
        self.state = _State()
        placed = place(settings)
        self.device, self.precision = placed.device, placed.precision
        path = recipe.path(recipe.base)
        weights = path if (path / "config.json").is_file() else None
        self.base_folder = weights or WeightStore(settings).ensure(recipe.base)
        try:
            self.shape = Shape.of_base(
                recipe.base, self.base_folder, lower=recipe.frozen_layers, window=recipe.window
            )
        except ValueError as error:
            raise UsageError(f"recipe: base: {error}") from error
        lower, upper = base_weights(self.base_folder, self.shape)
        self.base = Base(self.shape)
        self.base.load_state_dict(lower)
        self.base.to(self.device).eval()
        torch.manual_seed(recipe.seed)
        self.reader = Reader(self.shape)
        self.reader.load_state_dict(upper, strict=False)
        self.reader.to(self.device)
        self.maker = WindowMaker(self.base_folder, recipe.window)
        train, self.held_out = split_articles(recipe)
        self.others = train
        self.exercises = Exercises(train, self.maker, recipe)
        if not len(self.exercises):
            raise UsageError("the training data have fewer questions than one batch")
        self.averaged = {k: v.detach().clone() for k, v in self.reader.state_dict().items()}
        self.steps = max(1, round(recipe.epochs * len(self.exercises)))
        self.known: dict[int, torch.Tensor] = {}
        heads = [*self.reader.span.parameters(), *self.reader.passage.parameters()]
        upper_layers = [self.reader.segments, *self.reader.layers.parameters()]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": upper_layers, "base_rate": recipe.learning_rate},
                {"params": heads, "base_rate": recipe.head_learning_rate},
            ],
            betas=(0.9, 0.98),
            weight_decay=recipe.weight_decay,
        )

    def train(self, resume: bool) -> ReaderReport:
        saved = self.folder.load_checkpoint() if resume else None
        if saved is not None and saved["recipe"] != self.recipe.key():
            raise UsageError(
                f"{self.folder.path} holds a run of another recipe: start again, or change output"
            )
        if saved is None:
            self.folder.clear()
        else:
            self.reader.load_state_dict(saved["reader"])
            self.averaged = {k: v.to(self.device) for k, v in saved["averaged"].items()}
            self.optimizer.load_state_dict(saved["optimizer"])
            self.state = _State(**saved["state"])
            self.folder.truncate_log(self.state.step)
        self._loop()
        return self._finish(saved is not None)

    # --- the loop ---

    def _done(self) -> float:
        """How much of the run is over, by steps or by the clock, in [0, 1]."""
        limit = self.recipe.max_minutes
        by_clock = self.state.seconds / 60 / limit if limit else 0.0
        return max(self.state.step / self.steps, by_clock)

    def _set_rates(self) -> None:
        """A warm-up, then a half cosine to zero over the whole run."""
        warm = min(1.0, (self.state.step + 1) / (self.recipe.warmup_steps + 1))
        factor = warm * (1 + math.cos(math.pi * min(1.0, self._done()))) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_rate"] * factor

    def _loop(self) -> None:
        r, state = self.recipe, self.state
        saved = scored = time.monotonic()
        while self._done() < 1:
            if self.cancel.cancelled:
                self._checkpoint()
                raise Cancelled(f"cancelled after {state.step} steps, which are kept")
            began = time.monotonic()
            self._set_rates()
            state.losses = [*state.losses[-49:], self._step()]
            state.step += 1
            state.seconds += time.monotonic() - began
            self._report_progress()
            if state.step % r.log_every == 0:
                self._log_step()
            if time.monotonic() - saved > 60 * r.checkpoint_minutes:
                self._checkpoint()
                saved = time.monotonic()
            if time.monotonic() - scored > 60 * r.score_minutes:
                self._score()
                scored = time.monotonic()

    def _step(self) -> float:
        """One batch of questions, each with its windows."""
        import torch

        self.reader.train()
        batch = self.exercises.batch(self.state.step)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16"):
            loss = self._loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.reader.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._average()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UsageError("the loss is not finite: lower the learning rates in the recipe")
        return value

    def _average(self) -> None:
        """A moving average over the last steps, or over all of them while they are few: what it
        holds is as good as weights at the end of a decayed run, at any time."""
        step = self.state.step + 1
        decay = min(self.recipe.average, step / (step + 9))
        for name, value in self.reader.state_dict().items():
            self.averaged[name].lerp_(value.detach(), 1 - decay)

    def _loss(self, batch: Sequence[Exercise]) -> torch.Tensor:
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        from ragcore.encoders.extractive import padded

        rows = [number for exercise in batch for number in exercise.windows]
        windows = [self.exercises.windows[number] for number in rows]
        asked = [self.maker.question(exercise.question) for exercise in batch]
        ids, padding = (t.to(self.device) for t in padded(asked))
        with torch.no_grad():
            states = self.base(ids, padding)
        owner = torch.tensor([at for at, e in enumerate(batch) for _ in e.windows])
        owner = owner.to(self.device)
        stacked, ignored = self._states(rows)
        starts, ends, passages = self.reader(states[owner], padding[owner], stacked, ignored)
        self.state.tokens += int((~padding[owner]).sum() + (~ignored).sum())
        allowed = torch.zeros_like(ignored)
        for at, window in enumerate(windows):
            allowed[at, window.first : window.first + len(window.offsets)] = True
        allowed[:, 0] = True
        starts = starts.float().masked_fill(~allowed, -torch.inf)
        ends = ends.float().masked_fill(~allowed, -torch.inf)
        first = 0
        losses, right = [], torch.zeros_like(passages)
        for exercise in batch:
            part = slice(first, first + len(exercise.windows))
            losses.append(span_loss(starts[part], ends[part], exercise.spans))
            right[first] = float(bool(exercise.spans))
            first = part.stop
        holds = binary_cross_entropy_with_logits(passages.float(), right)
        return torch.stack(losses).mean() + self.recipe.passage_weight * holds

    def _states(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The base's states of windows, stored in float16, and their padding.

        Each window is encoded by itself, so that its states don't depend on its batch.
        """
        import torch
        from torch.nn.utils.rnn import pad_sequence

        for number in rows:
            if number not in self.known:
                ids = torch.tensor([self.exercises.windows[number].ids], device=self.device)
                with torch.no_grad():
                    states = self.base(ids, torch.zeros_like(ids, dtype=torch.bool))
                self.known[number] = states[0].to("cpu", torch.float16)
        found = [self.known[number].float() for number in rows]
        lengths = torch.tensor([len(f) for f in found])
        padding = torch.arange(int(lengths.max()))[None] >= lengths[:, None]
        stacked = pad_sequence(found, batch_first=True)
        return stacked.to(self.device), padding.to(self.device)

    def _log_step(self) -> None:
        state, recent = self.state, self.state.losses[-self.recipe.log_every :]
        self.folder.log(
            step=state.step,
            loss=round(sum(recent) / len(recent), 4),
            learning_rate=self.optimizer.param_groups[0]["lr"],
            tokens=state.tokens,
            seconds=round(state.seconds, 1),
        )

    def _report_progress(self) -> None:
        if self.progress is None:
            return
        state = self.state
        total = max(state.step, round(state.step / max(self._done(), 1e-9)))
        rate = state.step / max(state.seconds, 1e-9)
        left = (total - state.step) / max(rate, 1e-9)
        self.progress(
            Progress("reader", state.step, total, rate, left, f"loss {state.losses[-1]:.3f}")
        )

    def _score(self) -> None:
        """Scores of the averaged weights."""
        from ragcore.encoders.extractive import Reader
        from ragcore.encoders.extractive_reader import ExtractiveReader
        from ragcore.tuning.extractive.scores import score_reader

        r = self.recipe
        averaged = Reader(self.shape)
        averaged.load_state_dict(self.averaged)
        self.state.held_out = score_reader(
            ExtractiveReader(self.shape, self.base, averaged.to(self.device), self.maker),
            self.held_out,
            self.others,
            limit=r.score_limit,
            seed=r.seed,
        )
        self.folder.log(step=self.state.step, **self.state.held_out)

    # --- what is stored ---

    def _checkpoint(self) -> None:
        self.folder.save_checkpoint(
            {
                "recipe": self.recipe.key(),
                "reader": self.reader.state_dict(),
                "averaged": self.averaged,
                "optimizer": self.optimizer.state_dict(),
                "state": dataclasses.asdict(self.state),
            }
        )

    def _finish(self, resumed: bool) -> ReaderReport:
        from ragcore.encoders.extractive_reader import save

        state = self.state
        self._score()
        self._checkpoint()
        save(self.folder.path / "model", self.shape, self.averaged)
        report = ReaderReport(
            base=self.recipe.base,
            output=str(self.folder.path / "model"),
            steps=state.step,
            questions=state.step * self.recipe.batch_size,
            tokens=state.tokens,
            seconds=round(state.seconds, 1),
            loss=round(sum(state.losses) / max(len(state.losses), 1), 4),
            trained_weights=sum(p.numel() for p in self.reader.parameters()),
            held_out=state.held_out,
            resumed=resumed,
        )
        scores = ["f1", "contains", "passage", "auc"]
        self.folder.draw_curves({"loss": ["loss"], "held out": scores, "rate": ["learning_rate"]})
        text = json.dumps(dataclasses.asdict(report), indent=2) + "\n"
        (self.folder.path / "report.json").write_text(text, "utf-8")
        return report


def span_loss(
    starts: torch.Tensor, ends: torch.Tensor, spans: Sequence[tuple[int, int]]
) -> torch.Tensor:
    """Negative log-probability of any of the `spans` (first and last token in the first window).

    `starts` and `ends` [windows, tokens] are normalized over all windows of the question. Without
    spans the first tokens of the windows, which stand for "no answer in this window", are right.
    """
    import torch

    start = starts.flatten().log_softmax(0).view_as(starts)
    end = ends.flatten().log_softmax(0).view_as(ends)
    if not spans:
        return -(start[:, 0].logsumexp(0) + end[:, 0].logsumexp(0))
    firsts = torch.tensor([first for first, _ in spans])
    lasts = torch.tensor([last for _, last in spans])
    return -(start[0, firsts] + end[0, lasts]).logsumexp(0)
