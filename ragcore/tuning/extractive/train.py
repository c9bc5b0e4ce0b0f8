"""Training of the extractive reader: spans and passages, over several windows at once."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragcore.errors import UsageError
from ragcore.tuning.extractive.data import Exercise, Exercises, split_articles
from ragcore.tuning.extractive.recipe import ExtractiveRecipe
from ragcore.tuning.recipe import read_recipe
from ragcore.tuning.run_folder import RunFolder
from ragcore.tuning.trainer import Average, Trainer, TrainingPlan, half_cosine, warm_up
from ragcore.types import CancelToken, ProgressCallback

if TYPE_CHECKING:
    import torch

    from ragcore.settings import Settings


@dataclass(frozen=True, slots=True)
class ReaderReport:
    """What a run did.

    `loss` is the mean of the last 50 steps; `held_out` are the scores of
    `ragcore.tuning.extractive.scores` on articles that were not trained on.
    """

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
    return _ReaderRun(read, settings, progress, cancel or CancelToken()).train(resume)


class _ReaderRun(Trainer):
    """One training run: frozen base, reader, optimizer."""

    stage = "reader"

    def __init__(
        self,
        recipe: ExtractiveRecipe,
        settings: Settings,
        progress: ProgressCallback | None,
        cancel: CancelToken,
    ) -> None:
        import torch

        from ragcore.encoders.extractive import (
            FrozenLayers,
            Shape,
            SpanHead,
            WindowMaker,
            base_weights,
        )
        from ragcore.models import place
        from ragcore.weights import WeightStore

        self.recipe = recipe
        self.tokens = 0
        self.scores: dict[str, float] = {}
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
        self.base = FrozenLayers(self.shape)
        self.base.load_state_dict(lower)
        self.base.to(self.device).eval()
        torch.manual_seed(recipe.seed)
        self.reader = SpanHead(self.shape)
        self.reader.load_state_dict(upper, strict=False)
        self.reader.to(self.device)
        self.maker = WindowMaker(self.base_folder, recipe.window)
        train, self.held_out = split_articles(recipe)
        self.others = train
        self.exercises = Exercises(train, self.maker, recipe)
        if not len(self.exercises):
            raise UsageError("the training data have fewer questions than one batch")
        self.known: dict[int, torch.Tensor] = {}
        steps = max(1, round(recipe.epochs * len(self.exercises)))
        plan = TrainingPlan.of(recipe, steps, recipe.key())
        folder = RunFolder(recipe.path(recipe.output))
        super().__init__(plan, folder, progress=progress, cancel=cancel)
        self.averaged = Average(list(self.reader.state_dict().values()), recipe.average)
        heads = [*self.reader.span.parameters(), *self.reader.passage.parameters()]
        upper_layers = [self.reader.segments, *self.reader.layers.parameters()]
        self.optimize(
            [(upper_layers, recipe.learning_rate), (heads, recipe.head_learning_rate)],
            weight_decay=recipe.weight_decay,
        )

    def train(self, resume: bool) -> ReaderReport:
        if not resume:
            self.folder.clear()
        resumed = self.resume()
        self._scored = time.monotonic()
        self.run()
        return self._finish(resumed)

    def rate(self) -> float:
        """A warm-up, then a half cosine to zero over the whole run."""
        return warm_up(self.step, self.recipe.warmup_steps) * half_cosine(self.done())

    def backward(self) -> float:
        """One batch of questions, each with its windows."""
        import torch

        self.reader.train()
        batch = self.exercises.batch(self.step)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16"):
            loss = self._loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def after_update(self) -> None:
        self.averaged.update(self.step - 1)

    def after_step(self) -> None:
        r = self.recipe
        if self.step % r.log_every == 0:
            self.folder.log(
                step=self.step,
                loss=round(self.recent_loss(r.log_every), 4),
                learning_rate=self.learning_rate,
                tokens=self.tokens,
                seconds=round(self.seconds, 1),
            )
        if time.monotonic() - self._scored > 60 * r.score_minutes:
            self._score()
            self._scored = time.monotonic()

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
        self.tokens += int((~padding[owner]).sum() + (~ignored).sum())
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

    def _score(self) -> None:
        """Scores of the averaged weights."""
        from ragcore.encoders import ExtractiveReader
        from ragcore.encoders.extractive import SpanHead
        from ragcore.tuning.extractive.scores import score_reader

        r = self.recipe
        averaged = SpanHead(self.shape)
        averaged.load_state_dict(self._averaged_state())
        self.scores = score_reader(
            ExtractiveReader(self.shape, self.base, averaged.to(self.device), self.maker),
            self.held_out,
            self.others,
            limit=r.score_limit,
            seed=r.seed,
        )
        self.folder.log(step=self.step, **self.scores)

    def _averaged_state(self) -> dict[str, torch.Tensor]:
        """A moving average over the last steps, or over all of them while they are few.

        What it holds is as good as weights at the end of a decayed run, at any time.
        """
        return dict(zip(self.reader.state_dict(), self.averaged.values, strict=True))

    # --- what is stored ---

    def state(self) -> dict[str, Any]:
        return {
            "reader": self.reader.state_dict(),
            "averaged": self._averaged_state(),
            "tokens": self.tokens,
            "scores": self.scores,
        }

    def load_state(self, saved: Mapping[str, Any]) -> None:
        self.reader.load_state_dict(saved["reader"])
        names = self.reader.state_dict()
        self.averaged.values = [saved["averaged"][name].to(self.device) for name in names]
        self.tokens, self.scores = saved["tokens"], saved["scores"]

    def _finish(self, resumed: bool) -> ReaderReport:
        from ragcore.encoders import save_extractive

        self._score()
        self.save()
        save_extractive(self.folder.path / "model", self.shape, self._averaged_state())
        report = ReaderReport(
            base=self.recipe.base,
            output=str(self.folder.path / "model"),
            steps=self.step,
            questions=self.step * self.recipe.batch_size,
            tokens=self.tokens,
            seconds=round(self.seconds, 1),
            loss=round(self.recent_loss(), 4),
            trained_weights=sum(p.numel() for p in self.reader.parameters()),
            held_out=self.scores,
            resumed=resumed,
        )
        scores = ["f1", "contains", "passage", "auc"]
        self.folder.draw_curves({"loss": ["loss"], "held out": scores, "rate": ["learning_rate"]})
        self.folder.write_report(dataclasses.asdict(report))
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
